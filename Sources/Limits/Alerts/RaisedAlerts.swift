import Metrics

/// How many alerts a transaction raised, by kind: for the metrics, once it is committed.
package struct RaisedAlerts: Sendable {
    private var counts: [AlertKind: Int] = [:]

    package init() {}

    init(_ kinds: [AlertKind]) {
        for kind in kinds { counts[kind, default: 0] += 1 }
    }

    package static func += (left: inout RaisedAlerts, right: RaisedAlerts) {
        left.counts.merge(right.counts, uniquingKeysWith: +)
    }

    /// Counts them in `turnpike_alerts_raised_total`.
    package func count() {
        for (kind, count) in counts { Self.counters[kind]?.increment(by: count) }
    }

    private static let counters: [AlertKind: Counter] = Dictionary(
        uniqueKeysWithValues: AlertKind.allCases.map { kind in
            (kind, Counter(label: "turnpike_alerts_raised_total", dimensions: [("kind", kind.rawValue)]))
        }
    )
}
