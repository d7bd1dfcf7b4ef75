import Metrics

/// How many alerts were raised.
enum AlertMetrics {
    private static let raised: [AlertKind: Counter] = Dictionary(
        uniqueKeysWithValues: AlertKind.allCases.map { kind in
            (kind, Counter(label: "turnpike_alerts_raised_total", dimensions: [("kind", kind.rawValue)]))
        }
    )

    /// Call it once they are committed.
    static func count(_ kinds: [AlertKind]) {
        for kind in kinds { raised[kind]?.increment() }
    }
}
