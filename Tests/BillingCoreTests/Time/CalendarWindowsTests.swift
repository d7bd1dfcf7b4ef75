import BillingCore
import TestSupport
import Testing

@Suite struct CalendarWindowsTests {
    private static let start = Instant(seconds: 315_532_800)  // 1980
    private static let end = Instant(seconds: 1_924_992_000)  // 2031

    private func windows(_ identifier: String) throws -> CalendarWindows {
        try CalendarWindows(zone: #require(Zone(identifier: identifier)))
    }

    @Test(
        arguments: [
            ("UTC", .minute, "2026-11-23T08:31:59.999999Z", "2026-11-23T08:31:00Z", "2026-11-23T08:32:00Z"),
            ("UTC", .hour, "2026-11-23T08:00:00Z", "2026-11-23T08:00:00Z", "2026-11-23T09:00:00Z"),
            ("Asia/Kolkata", .hour, "2026-11-23T08:15:00Z", "2026-11-23T07:30:00Z", "2026-11-23T08:30:00Z"),
            ("Asia/Kathmandu", .hour, "2026-11-23T08:15:00Z", "2026-11-23T08:15:00Z", "2026-11-23T09:15:00Z"),
            ("Europe/Berlin", .day, "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
            ("Europe/Berlin", .day, "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
            ("Europe/Berlin", .week, "2026-11-23T08:31:00Z", "2026-11-22T23:00:00Z", "2026-11-29T23:00:00Z"),
            ("Europe/Berlin", .week, "2026-11-22T22:59:59Z", "2026-11-15T23:00:00Z", "2026-11-22T23:00:00Z"),
            ("Europe/Berlin", .month, "2026-11-23T08:31:00Z", "2026-10-31T23:00:00Z", "2026-11-30T23:00:00Z"),
            ("UTC", .month, "2024-02-29T00:00:00Z", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"),
            // An hour that clocks repeat is two windows.
            ("America/New_York", .hour, "2026-11-01T05:30:00Z", "2026-11-01T05:00:00Z", "2026-11-01T06:00:00Z"),
            ("America/New_York", .hour, "2026-11-01T06:30:00Z", "2026-11-01T06:00:00Z", "2026-11-01T07:00:00Z"),
            // 02:00 goes back to 01:30, and forward to 02:30: half an hour each.
            ("Australia/Lord_Howe", .hour, "2026-04-04T15:15:00Z", "2026-04-04T15:00:00Z", "2026-04-04T15:30:00Z"),
            ("Australia/Lord_Howe", .hour, "2026-10-03T15:40:00Z", "2026-10-03T15:30:00Z", "2026-10-03T16:00:00Z"),
            // Midnight skipped; midnight repeated; a day that never was.
            ("Africa/Cairo", .day, "2026-04-24T12:00:00Z", "2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z"),
            ("America/St_Johns", .day, "2010-11-07T02:45:00Z", "2010-11-07T02:30:00Z", "2010-11-08T03:30:00Z"),
            ("Pacific/Apia", .day, "2011-12-30T09:59:59Z", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"),
            ("Pacific/Apia", .day, "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"),
            ("UTC", .lifetime, "2026-11-23T08:31:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"),
        ] as [(String, WindowKind, String, String, String)]
    )
    func `a window has the bounds of the local calendar`(
        identifier: String,
        kind: WindowKind,
        instant: String,
        start: String,
        end: String
    ) throws {
        let window = try windows(identifier).window(kind, containing: Instant(parsing: instant))
        #expect(try window == Interval(start: Instant(parsing: start), end: Instant(parsing: end)))
    }

    /// Walks the windows over a span and counts what breaks the tiling.
    private func faults(_ kind: WindowKind, _ windows: CalendarWindows, from start: Instant, to end: Instant) -> Int {
        var generator = SeededGenerator(seed: 50)
        var window = windows.window(kind, containing: start)
        var faults = window.contains(start) ? 0 : 1
        while window.end < end {
            let next = windows.window(kind, containing: window.end)
            if next.start != window.end || next.isEmpty { return faults + 1 }
            let inside = next.start.adding(microseconds: Int64.random(in: 0..<next.microseconds, using: &generator))
            if windows.window(kind, containing: inside) != next { faults += 1 }
            if windows.window(kind, containing: next.end.adding(microseconds: -1)) != next { faults += 1 }
            window = next
        }
        return faults
    }

    @Test(arguments: sampleZones, [WindowKind.day, .week, .month])
    func `days, weeks and months tile fifty years`(zone: Zone, kind: WindowKind) {
        #expect(faults(kind, CalendarWindows(zone: zone), from: Self.start, to: Self.end) == 0)
    }

    @Test(arguments: sampleZones)
    func `hours and minutes tile the hours around every change of fifty years`(zone: Zone) {
        let windows = CalendarWindows(zone: zone)
        for transition in zone.transitions(from: Self.start, to: Self.end) {
            let start = transition.adding(seconds: -7_000)
            #expect(faults(.hour, windows, from: start, to: transition.adding(seconds: 90_000)) == 0)
            #expect(
                faults(.minute, windows, from: transition.adding(seconds: -150), to: transition.adding(seconds: 150))
                    == 0
            )
            let hour = windows.window(.hour, containing: transition)
            #expect(hour.microseconds <= 3_600_000_000)
        }
    }

    @Test(arguments: sampleZones, [WindowKind.minute, .hour])
    func `hours and minutes tile a year before there were standard offsets, and ordinary ones`(
        zone: Zone,
        kind: WindowKind
    ) {
        var generator = SeededGenerator(seed: 51)
        let windows = CalendarWindows(zone: zone)
        for _ in 0..<500 {
            let start = Instant(seconds: Int64.random(in: -3_000_000_000...4_000_000_000, using: &generator))
            #expect(faults(kind, windows, from: start, to: start.adding(seconds: kind == .hour ? 10_800 : 180)) == 0)
        }
    }

    @Test(arguments: sampleZones, WindowKind.allCases.filter { $0 != .billingPeriod })
    func `the ends of time have windows`(zone: Zone, kind: WindowKind) {
        let windows = CalendarWindows(zone: zone)
        #expect(windows.window(kind, containing: .minimum).contains(.minimum))
        #expect(windows.window(kind, containing: .maximum).end == .maximum)
    }
}
