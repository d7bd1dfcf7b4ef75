import BillingCore
import Testing

@Suite struct CivilDateTests {
    @Test func `every day from the year 1 to 9999 follows the one before`() {
        var date = CivilDate(year: 1, month: 1, day: 1)
        var days: Int64 = -719_162
        var faults = 0
        while date.year < 10_000 {
            if date.daysSince1970 != days || CivilDate(daysSince1970: days) != date { faults += 1 }
            days += 1
            let length = CivilDate.length(ofMonth: date.month, year: date.year)
            if date.day < length {
                date = CivilDate(year: date.year, month: date.month, day: date.day + 1)
            } else if date.month < 12 {
                date = CivilDate(year: date.year, month: date.month + 1, day: 1)
            } else {
                date = CivilDate(year: date.year + 1, month: 1, day: 1)
            }
        }
        #expect(faults == 0)
        #expect(days == 2_932_897)
    }

    @Test(
        arguments: [
            ([2026, 1, 31], 1, [2026, 2, 28]), ([2024, 1, 31], 1, [2024, 2, 29]), ([2026, 1, 31], 2, [2026, 3, 31]),
            ([2024, 2, 29], 12, [2025, 2, 28]), ([2024, 2, 29], 48, [2028, 2, 29]),
            ([2026, 12, 15], 1, [2027, 1, 15]),
            ([2026, 3, 31], -1, [2026, 2, 28]), ([2026, 1, 1], -13, [2024, 12, 1]), ([1900, 1, 30], 1, [1900, 2, 28]),
        ] as [([Int64], Int64, [Int64])]
    )
    func `adding months clamps the day`(from: [Int64], months: Int64, to: [Int64]) {
        let date = CivilDate(year: from[0], month: from[1], day: from[2])
        #expect(date.adding(months: months) == CivilDate(year: to[0], month: to[1], day: to[2]))
    }
}
