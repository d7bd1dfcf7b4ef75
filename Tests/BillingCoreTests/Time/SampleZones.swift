import BillingCore

/// Zones that differ in everything a zone can differ in: hemisphere, odd offsets, 30-minute and suspended daylight
/// saving, changes at midnight, a skipped day, abolished and reintroduced rules.
let sampleZones: [Zone] = [
    "UTC", "America/New_York", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "America/Sao_Paulo",
    "Asia/Tehran",
    "Pacific/Apia", "Africa/Casablanca", "Pacific/Chatham", "America/St_Johns", "Asia/Kathmandu", "Africa/Cairo",
    "Europe/London", "America/Nuuk",
].compactMap(Zone.init(identifier:))

extension Zone {
    /// The instants in a span at which the zone's rules change.
    func transitions(from start: Instant, to end: Instant) -> [Instant] {
        var found: [Instant] = []
        var cursor = start
        var offset = localMicroseconds(at: start) - start.microseconds
        while cursor < end {
            let next = cursor.adding(seconds: 3_600)
            let nextOffset = localMicroseconds(at: next) - next.microseconds
            if nextOffset != offset { found.append(firstChange(after: cursor, through: next)) }
            (cursor, offset) = (next, nextOffset)
        }
        return found
    }

    private func firstChange(after start: Instant, through end: Instant) -> Instant {
        let offset = localMicroseconds(at: start) - start.microseconds
        var (before, after) = (start.microseconds / 1_000_000, end.microseconds / 1_000_000)
        while after - before > 1 {
            let middle = Instant(seconds: (before + after) / 2)
            if localMicroseconds(at: middle) - middle.microseconds == offset {
                before = (before + after) / 2
            } else {
                after = (before + after) / 2
            }
        }
        return Instant(seconds: after)
    }
}
