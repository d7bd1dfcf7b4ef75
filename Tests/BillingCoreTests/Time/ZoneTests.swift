import BillingCore
import TestSupport
import Testing

@Suite struct ZoneTests {
    /// Wall time in the form of an instant, so that a table can name it.
    private func wall(_ text: String) throws -> Int64 { try Instant(parsing: text + "Z").microseconds }

    @Test(arguments: [
        "UTC", "GMT", "Etc/UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Asia/Kolkata", "Asia/Calcutta",
        "US/Pacific", "Etc/GMT+5", "Europe/Kyiv", "America/Coyhaique",
    ])
    func `an IANA name is a zone`(identifier: String) throws {
        #expect(try #require(Zone(identifier: identifier)).identifier == identifier)
    }

    @Test(arguments: [
        "", "EST", "EST5", "PST", "EST5EDT", "CET", "GMT+5", "UTC+2", "GMT+0530", "Europe/Nowhere", "europe/berlin",
        "Europe/Berlin ", "SystemV/EST5", "posix/Europe/Berlin", "Etc/Unknown", "/", "Europe/", "Z", "+01:00",
        "Factory",
    ])
    func `anything else is none`(identifier: String) {
        #expect(Zone(identifier: identifier) == nil)
    }

    @Test(arguments: [
        // A plain time, a skipped one, one that occurs twice.
        ("America/New_York", "2026-07-01T12:00:00", "2026-07-01T16:00:00Z"),
        ("America/New_York", "2026-03-08T02:30:00", "2026-03-08T07:00:00Z"),
        ("America/New_York", "2026-11-01T01:30:00", "2026-11-01T05:30:00Z"),
        ("America/New_York", "2026-11-01T02:00:00", "2026-11-01T07:00:00Z"),
        // Half an hour of daylight saving.
        ("Australia/Lord_Howe", "2026-10-04T02:15:00", "2026-10-03T15:30:00Z"),
        ("Australia/Lord_Howe", "2026-04-05T01:45:00", "2026-04-04T14:45:00Z"),
        // A skipped midnight, a repeated one, and a skipped day.
        ("Africa/Cairo", "2026-04-24T00:00:00", "2026-04-23T22:00:00Z"),
        ("America/Sao_Paulo", "2018-11-04T00:00:00", "2018-11-04T03:00:00Z"),
        ("America/St_Johns", "2010-11-07T00:00:30", "2010-11-07T02:30:30Z"),
        ("Pacific/Apia", "2011-12-30T12:00:00", "2011-12-30T10:00:00Z"),
        ("Pacific/Apia", "2011-12-31T00:00:00", "2011-12-30T10:00:00Z"),
        ("Asia/Kathmandu", "2026-01-01T00:00:00", "2025-12-31T18:15:00Z"),
    ])
    func `a wall time is its earliest instant, or the end of the gap`(
        identifier: String,
        local: String,
        expected: String
    ) throws {
        let zone = try #require(Zone(identifier: identifier))
        #expect(try zone.instant(localMicroseconds: wall(local)) == Instant(parsing: expected))
    }

    @Test func `every sample zone is known`() {
        #expect(sampleZones.count == 15)
    }

    @Test(arguments: sampleZones)
    func `a wall time that exists is shown at its instant, and later wall times come no earlier`(zone: Zone) {
        var generator = SeededGenerator(seed: 40)
        let range = -10_000_000_000_000_000...10_000_000_000_000_000 as ClosedRange<Int64>
        for _ in 0..<2_000 {
            let instant = Instant(microseconds: Int64.random(in: range, using: &generator))
            let local = zone.localMicroseconds(at: instant)
            let resolved = zone.instant(localMicroseconds: local)
            #expect(zone.localMicroseconds(at: resolved) == local)
            #expect(resolved <= instant)
            let later = local + Int64.random(in: 0...172_800_000_000, using: &generator)
            #expect(zone.instant(localMicroseconds: later) >= resolved)
        }
    }

    @Test(arguments: sampleZones)
    func `the ends of time are mapped without trapping`(zone: Zone) {
        #expect(zone.instant(localMicroseconds: zone.localMicroseconds(at: .minimum)) == .minimum)
        #expect(zone.instant(localMicroseconds: zone.localMicroseconds(at: .maximum)) == .maximum)
    }
}
