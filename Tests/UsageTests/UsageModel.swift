import BillingCore

/// What a run's usage must come to, by arithmetic that shares nothing with the service: whole numbers, fixed offsets of
/// Berlin in autumn 2026, and one pass over every event that counts.
struct UsageModel {
    struct Event: Sendable {
        let id: String
        let source: String
        let subject: String
        /// Microseconds since 1970; nil sends none.
        let time: Int64?
        let milliseconds: Int64
        let worker: Int

        var sent: SentText {
            SentText(
                time: time.map { Instant(microseconds: $0).description },
                data: #"{"seconds":"\#(UsageModel.decimal(milliseconds, digits: 3))","worker":"w\#(worker)"}"#
            )
        }
    }

    struct SentText: Sendable {
        let time: String?
        let data: String
    }

    struct Counter: Hashable, CustomStringConvertible {
        let feature: String
        let period: Int
        let quantity: String
        let events: Int64

        var description: String { "\(feature)[\(period)] = \(quantity) of \(events)" }
    }

    static let now = seconds("2026-11-23T08:00:00Z")
    /// When the billing periods of a tenant begin.
    let periodStarts: [Int64]
    let events: [Event]

    static func seconds(_ text: String) -> Int64 { (try? Instant(parsing: text).microseconds) ?? 0 }

    /// A fixed-point number without trailing zeros.
    static func decimal(_ unscaled: Int64, digits: Int) -> String {
        var text = String(unscaled)
        text = String(repeating: "0", count: max(0, digits + 1 - text.count)) + text
        let point = text.index(text.endIndex, offsetBy: -digits)
        var fraction = String(text[point...])
        while fraction.hasSuffix("0") { fraction.removeLast() }
        return fraction.isEmpty ? String(text[..<point]) : "\(text[..<point]).\(fraction)"
    }

    private func period(of event: Event) -> Int? {
        periodStarts.lastIndex { $0 <= event.time ?? Self.now }
    }

    func counters() -> Set<Counter> {
        var result: Set<Counter> = []
        for index in periodStarts.indices {
            let own = events.filter { period(of: $0) == index }
            guard !own.isEmpty else { continue }
            let latest = own.max { ($0.time ?? Self.now, $0.id) < ($1.time ?? Self.now, $1.id) }
            let quantities = [
                ("seconds", Self.decimal(own.reduce(0) { $0 + $1.milliseconds }, digits: 3)),
                ("calls", String(own.count)),
                ("peak", Self.decimal(own.map(\.milliseconds).max() ?? 0, digits: 3)),
                ("level", Self.decimal(latest?.milliseconds ?? 0, digits: 3)),
                ("workers", String(Set(own.map(\.worker)).count)),
            ]
            for (feature, quantity) in quantities {
                result.insert(Counter(feature: feature, period: index, quantity: quantity, events: Int64(own.count)))
            }
        }
        return result
    }

    /// What is used of a daily quota on seconds, by the UTC time that the day begins at.
    func days(offsetHours: (Int64) -> Int64) -> [String: String] {
        var used: [String: Int64] = [:]
        for event in events {
            let time = event.time ?? Self.now
            let local = time + offsetHours(time) * 3_600_000_000
            let midnight = local - local % 86_400_000_000
            let start = midnight - offsetHours(midnight - offsetHours(midnight) * 3_600_000_000) * 3_600_000_000
            used[Instant(microseconds: start).description, default: 0] += event.milliseconds
        }
        return used.mapValues { Self.decimal($0, digits: 3) }
    }

    /// 1 a second up to 100, then 2 at once and 0.25 a second, rounded half away from zero to the cent.
    func charge(period index: Int) -> String {
        let total = events.filter { period(of: $0) == index }.reduce(0) { $0 + $1.milliseconds }
        let first = min(total, 100_000) * 100
        let rest = total > 100_000 ? (total - 100_000) * 25 + 200_000 : 0
        let cents = (first + rest + 500) / 1_000
        let text = Self.decimal(cents * 10 + 1, digits: 3)
        return String(text.dropLast())
    }
}
