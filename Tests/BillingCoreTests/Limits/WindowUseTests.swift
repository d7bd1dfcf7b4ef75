import TestSupport
import Testing

@testable import BillingCore

/// How far a limit is used, and where that leads.
@Suite struct WindowUseTests {
    private static let day = Interval(start: Instant(seconds: 0), end: Instant(seconds: 86_400))

    private static func use(
        _ used: String,
        held: String = "0",
        of amount: String = "100",
        in window: Interval = day,
        since countedFrom: Instant = .minimum
    ) throws -> WindowUse {
        let balance = LimitBalance(
            used: try FixedDecimal(parsing: used),
            held: try FixedDecimal(parsing: held),
            amount: try FixedDecimal(parsing: amount)
        )
        return WindowUse(balance, in: window, countedFrom: countedFrom)
    }

    @Test(arguments: [
        ("25", "100", "25"), ("1", "3", "33.333333333333"), ("2", "3", "66.666666666666"), ("150", "100", "150"),
        ("99.999999999999", "100", "99.999999999999"), ("0.000000000001", "3", "0.000000000033"),
        ("99999999999999999999999999", "1", nil), ("-1", "4", "-25"), ("5", "0", nil), ("0", "0", nil),
    ])
    func percentsAreCutOffAndNeverRoundedUp(used: String, amount: String, expected: String?) throws {
        #expect(try Self.use(used, of: amount).percent?.description == expected)
    }

    @Test(arguments: [
        (43_200, "50", "100"), (21_600, "10", "40"), (86_399, "86399", "86400"), (28_800, "1", "3"),
        // A third of the day less a second: 1 x 86400 / 28799.
        (28_799, "1", "3.000104170283"),
        // The first percent of a day is 864 seconds.
        (863, "1", nil), (864, "1", "100"), (86_400, "1", nil), (-1, "1", nil), (43_200, "0", "0"),
    ])
    func useIsProjectedLinearly(second: Int64, used: String, expected: String?) throws {
        let projected = try Self.use(used).projected(at: Instant(seconds: second))
        #expect(projected?.description == expected)
    }

    @Test func aWindowThatIsCountedInPartIsProjectedOverThatPart() throws {
        let noon = Instant(seconds: 43_200)
        let use = try Self.use("10", since: noon)
        #expect(use.countedSince == noon)
        #expect(use.projected(at: Instant(seconds: 43_200 + 10_800))?.description == "40")
        #expect(use.projected(at: Instant(seconds: 43_200 + 431)) == nil)
        #expect(use.projected(at: Instant(seconds: 43_100)) == nil)
    }

    @Test func allTimeHasNoEndToProjectTo() throws {
        #expect(try Self.use("10", in: .allTime).projected(at: Instant(seconds: 0)) == nil)
    }

    @Test func useThatReachesTheLimitExactlyIsForecastToReachIt() throws {
        let noon = Instant(seconds: 43_200)
        #expect(try Self.use("50").isProjectedToReach(at: noon))
        #expect(try !Self.use("49.999999999999").isProjectedToReach(at: noon))
        #expect(try !Self.use("0", of: "0").isProjectedToReach(at: noon))
        #expect(try Self.use("1", of: "0").isProjectedToReach(at: noon))
        #expect(try !Self.use("99").isProjectedToReach(at: Instant(seconds: 863)))
    }

    @Test func useWhoseProjectionLeavesTheRangeOfAQuantityIsForecastToReachTheLimit() throws {
        let most = "99999999999999999999999999.999999999999"
        let use = try Self.use("50000000000000000000000000", of: most)
        #expect(use.projected(at: Instant(seconds: 43_200)) == nil)
        #expect(use.isProjectedToReach(at: Instant(seconds: 43_200)))
        #expect(use.isProjectedToReach(at: Instant(seconds: 864)))
        #expect(!use.isProjectedToReach(at: Instant(seconds: 43_201)))
        #expect(!use.isProjectedToReach(at: Instant(seconds: 863)))
        #expect(!use.isProjectedToReach(at: Instant(seconds: 86_400)))
        #expect(try !Self.use(most, of: "1", in: .allTime).isProjectedToReach(at: Instant(seconds: 43_200)))
    }

    /// x n / d, cut off: the remainder is below d and gives x n back.
    @Test func fractionsAreExactButForTheRemainder() throws {
        var generator = SeededGenerator(seed: 29)
        for _ in 0..<5_000 {
            let value = FixedDecimal(uncheckedUnscaled: Int128(generator.next(upperBound: UInt64(1) << 62)))
            let numerator = UInt128(generator.next(upperBound: UInt64(1) << 50))
            let denominator = UInt128(1 + generator.next(upperBound: UInt64(1) << 50))
            let result = try #require(value.multiplied(byNumerator: numerator, denominator: denominator))
            let product = UInt128(value.unscaled) * numerator
            let rest = product - UInt128(result.unscaled) * denominator
            #expect(rest < denominator)
        }
        #expect(FixedDecimal.one.multiplied(byNumerator: 1, denominator: 0) == nil)
        #expect(FixedDecimal.one.multiplied(byNumerator: .max, denominator: 1) == nil)
    }
}
