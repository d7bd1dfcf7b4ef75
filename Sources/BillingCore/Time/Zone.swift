import Foundation

/// A time zone of the IANA database, by its name.
///
/// Offsets and transitions come from Foundation; everything else is integer arithmetic.
package struct Zone: Sendable {
    /// The IANA name, as given: `Europe/Berlin`, `UTC`.
    package let identifier: String
    private let timeZone: TimeZone

    /// Nil unless the name is `UTC`, `GMT` or an `Area/Location` of the IANA database in its exact spelling.
    ///
    /// Abbreviations and rules (`PST`, `EST5EDT`, `GMT+2`) are refused: they are ambiguous or know no daylight saving
    /// time.
    package init?(identifier: String) {
        if identifier == "UTC" {
            self = .utc
            return
        }
        guard Self.hasNameOfPlace(identifier), let timeZone = TimeZone(identifier: identifier),
            timeZone.identifier == identifier
        else { return nil }
        self.identifier = identifier
        self.timeZone = timeZone
    }

    private init(fixed timeZone: TimeZone) {
        identifier = "UTC"
        self.timeZone = timeZone
    }

    package static let utc = Zone(fixed: .gmt)

    /// The version of the time-zone data in use, such as `2026a`. Asking for it at start also keeps the data in a
    /// statically linked program, whose linker otherwise drops it: every `TimeZone(identifier:)` would then be nil.
    package static var dataVersion: String { TimeZone.timeZoneDataVersion }

    private static let areas: Set<String> = [
        "Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Brazil", "Canada", "Chile",
        "Etc", "Europe", "Indian", "Mexico", "Pacific", "US",
    ]

    private static func hasNameOfPlace(_ identifier: String) -> Bool {
        guard let slash = identifier.firstIndex(of: "/") else { return identifier == "GMT" }
        return areas.contains(String(identifier[..<slash]))
    }
}

extension Zone: Hashable {
    package static func == (left: Zone, right: Zone) -> Bool { left.identifier == right.identifier }
    package func hash(into hasher: inout Hasher) { hasher.combine(identifier) }
}

extension Zone {
    /// The local wall time at an instant: microseconds since 1970-01-01T00:00:00 on the local clock.
    package func localMicroseconds(at instant: Instant) -> Int64 {
        instant.microseconds + offsetMicroseconds(at: instant)
    }

    /// The date on the local calendar at an instant.
    package func localDate(at instant: Instant) -> CivilDate {
        CivilDate(at: Instant(microseconds: localMicroseconds(at: instant)))
    }

    /// The earliest instant at which the local clock shows the given wall time or a later one.
    ///
    /// For a wall time that occurs twice this is the earlier instant; for one that is skipped, the first instant after
    /// the gap. A later wall time never gives an earlier instant, which is what makes windows and periods tile.
    package func instant(localMicroseconds local: Int64) -> Instant {
        var start = Instant(microseconds: local - Self.reachMicroseconds)
        while true {
            let candidate = max(start, Instant(microseconds: local - offsetMicroseconds(at: start)))
            guard let transition = nextTransition(after: start), transition <= candidate else {
                return candidate
            }
            start = transition
        }
    }

    /// The same local time of day some days later: the earlier of two, and the first valid one after a gap.
    package func instant(_ start: Instant, addingDays days: Int) -> Instant {
        guard days != 0 else { return start }
        let microsecondsPerDay: Int64 = 86_400_000_000
        return instant(localMicroseconds: localMicroseconds(at: start) + Int64(days) * microsecondsPerDay)
    }

    /// East of UTC is positive.
    func offsetMicroseconds(at instant: Instant) -> Int64 {
        Int64(timeZone.secondsFromGMT(for: Self.date(instant))) * 1_000_000
    }

    /// The first instant after the given one at which the zone's rule changes; the offset may stay the same.
    func nextTransition(after instant: Instant) -> Instant? {
        guard let date = timeZone.nextDaylightSavingTimeTransition(after: Self.date(instant)) else { return nil }
        let transition = Instant(seconds: Int64(date.timeIntervalSince1970.rounded()))
        return transition > instant ? transition : nil
    }

    /// No offset in history is further from UTC than this.
    private static let reachMicroseconds: Int64 = 16 * 3_600 * 1_000_000

    /// The whole second, rounded down: transitions happen on whole seconds.
    private static func date(_ instant: Instant) -> Date {
        Date(timeIntervalSince1970: Double(instant.microseconds.flooredQuotient(dividingBy: 1_000_000)))
    }
}
