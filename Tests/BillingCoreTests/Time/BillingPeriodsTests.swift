import BillingCore
import TestSupport
import Testing

@Suite struct BillingPeriodsTests {
    private func periods(_ anchor: String, _ identifier: String, months: Int = 1) throws -> BillingPeriods {
        try BillingPeriods(
            anchor: Instant(parsing: anchor),
            zone: #require(Zone(identifier: identifier)),
            months: months
        )
    }

    @Test(
        arguments: [
            // The 31st: clamped, never drifting.
            (
                "2026-01-31T00:00:00Z", "UTC", 1,
                ["2026-01-31T00:00:00Z", "2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z", "2026-04-30T00:00:00Z"]
            ),
            // A leap day, by the year.
            (
                "2024-02-29T12:00:00Z", "UTC", 12,
                [
                    "2024-02-29T12:00:00Z", "2025-02-28T12:00:00Z", "2026-02-28T12:00:00Z", "2027-02-28T12:00:00Z",
                    "2028-02-29T12:00:00Z",
                ]
            ),
            // Local wall time is kept across both changes to daylight saving time.
            (
                "2026-02-15T08:00:00Z", "Europe/Berlin", 1,
                ["2026-02-15T08:00:00Z", "2026-03-15T08:00:00Z", "2026-04-15T07:00:00Z"]
            ),
            (
                "2026-10-01T00:00:00-04:00", "America/New_York", 1,
                ["2026-10-01T04:00:00Z", "2026-11-01T04:00:00Z", "2026-12-01T05:00:00Z"]
            ),
            // 02:30 does not exist on 8 March: the first valid instant after the gap, and back to 02:30 afterwards.
            (
                "2026-02-08T02:30:00-05:00", "America/New_York", 1,
                ["2026-02-08T07:30:00Z", "2026-03-08T07:00:00Z", "2026-04-08T06:30:00Z"]
            ),
            // 01:30 occurs twice on 1 November: the earlier.
            (
                "2026-10-01T01:30:00-04:00", "America/New_York", 1,
                ["2026-10-01T05:30:00Z", "2026-11-01T05:30:00Z", "2026-12-01T06:30:00Z"]
            ),
            // An anchor in the second 01:30 stays where it is.
            (
                "2026-11-01T01:30:00-05:00", "America/New_York", 1,
                ["2026-11-01T06:30:00Z", "2026-12-01T06:30:00Z"]
            ),
            // 30 December 2011 was skipped in Apia.
            (
                "2011-11-30T12:00:00-10:00", "Pacific/Apia", 1,
                ["2011-11-30T22:00:00Z", "2011-12-30T10:00:00Z", "2012-01-29T22:00:00Z"]
            ),
        ] as [(String, String, Int, [String])]
    )
    func `periods start at the anchor plus months`(
        anchor: String,
        identifier: String,
        months: Int,
        starts: [String]
    ) throws {
        let periods = try periods(anchor, identifier, months: months)
        for (index, start) in starts.enumerated() {
            #expect(try periods.interval(index).start == Instant(parsing: start), "period \(index)")
        }
    }

    @Test(arguments: sampleZones)
    func `periods tile fifty years from any anchor, keeping day and wall time`(zone: Zone) async throws {
        var generator = SeededGenerator(seed: 60)
        for round in 0..<40 {
            await Task.yield()
            let seconds = Int64.random(in: 315_532_800...1_700_000_000, using: &generator)
            let months = [1, 1, 3, 12][round % 4]
            let anchor = Instant(microseconds: seconds * 1_000_000 + Int64(round))
            let periods = BillingPeriods(anchor: anchor, zone: zone, months: months)
            let anchorDay = CivilDate(daysSince1970: localDay(of: anchor, zone)).day
            var end = anchor
            for index in 0..<(600 / months) {
                let interval = periods.interval(index)
                try #require(interval.start == end && !interval.isEmpty)
                let inside = interval.start.adding(
                    microseconds: Int64.random(in: 0..<interval.microseconds, using: &generator)
                )
                #expect(periods.index(containing: interval.start) == index)
                #expect(periods.index(containing: inside) == index)
                #expect(periods.index(containing: interval.end.adding(microseconds: -1)) == index)
                let date = CivilDate(daysSince1970: localDay(of: interval.start, zone))
                let length = CivilDate.length(ofMonth: date.month, year: date.year)
                let startsAtWallTime =
                    zone.localMicroseconds(at: interval.start).quotientAndRemainder(dividingBy: 86_400_000_000)
                    .remainder
                    == zone.localMicroseconds(at: anchor).quotientAndRemainder(dividingBy: 86_400_000_000).remainder
                if startsAtWallTime { #expect(date.day == min(anchorDay, length)) }
                end = interval.end
            }
        }
    }

    private func localDay(of instant: Instant, _ zone: Zone) -> Int64 {
        zone.localMicroseconds(at: instant) / 86_400_000_000
    }

    @Test func `a period that has begun goes on when clocks are set back into the month before`() throws {
        // St. John's set 00:01 on 1 November 2009 back to 23:01 on 31 October.
        let periods = try periods("2009-10-01T00:00:00-02:30", "America/St_Johns")
        let start = try Instant(parsing: "2009-11-01T02:30:00Z")
        #expect(periods.interval(1).start == start)
        #expect(periods.index(containing: start) == 1)
        #expect(periods.index(containing: start.adding(seconds: 900)) == 1)
    }

    @Test func `there is no period before the anchor`() throws {
        let periods = try periods("2026-01-31T00:00:00Z", "UTC")
        #expect(try periods.index(containing: Instant(parsing: "2026-01-30T23:59:59.999999Z")) == nil)
        #expect(try periods.index(containing: Instant(parsing: "2026-01-31T00:00:00Z")) == 0)
    }

    @Test func `the ends of time do not trap`() throws {
        let periods = try periods("2026-01-31T00:00:00Z", "Europe/Berlin")
        #expect(periods.interval(.max).start == .maximum)
        #expect(periods.interval(.min).start == .minimum)
        #expect(periods.interval(200_000) == Interval(start: .maximum, end: .maximum))
        let last = try #require(periods.index(containing: .maximum))
        #expect(periods.interval(last).end == .maximum && !periods.interval(last).isEmpty)
    }
}
