import BillingCore

/// Two charged features that one event can feed: their charges add up, which is allowed and seldom meant.
struct ChargeOverlap: Sendable, Equatable {
    /// Position of the later one in `charges`.
    let index: Int
    let feature: String
    let other: String
    let eventType: String

    /// All pairs of a plan's charges whose meters read the same event type, unless their filters exclude each other.
    static func find(in charges: [Charge], features: [FeatureID: MeteredFeature]) -> [ChargeOverlap] {
        let metered = charges.map { features[$0.featureID] }
        var overlaps: [ChargeOverlap] = []
        for (index, later) in metered.enumerated() {
            for earlier in metered[..<index] {
                guard let later, let earlier else { continue }
                let eventType = later.meter.definition.eventType
                guard eventType == earlier.meter.definition.eventType, !areDisjoint(earlier, later) else { continue }
                overlaps.append(
                    ChargeOverlap(
                        index: index,
                        feature: later.feature.key,
                        other: earlier.feature.key,
                        eventType: eventType
                    )
                )
            }
        }
        return overlaps
    }

    private static func areDisjoint(_ left: MeteredFeature, _ right: MeteredFeature) -> Bool {
        let rightFilters = conditions(of: right)
        return conditions(of: left).contains { name, condition in
            rightFilters.contains { $0.name == name && excludes(condition, $0.condition) }
        }
    }

    /// The conditions of feature and meter by the property they look at. A class has no property of its own: it is
    /// comparable only within one meter.
    private static func conditions(of metered: MeteredFeature) -> [(name: String, condition: ValueFilter.Condition)] {
        let definition = metered.meter.definition
        let ownDimensions = Dictionary(definition.dimensions.map { ($0.name, $0.property) }) { first, _ in first }
        let fromFeature = metered.feature.filters.map { filter in
            (ownDimensions[filter.name] ?? "class of \(metered.meter.id)", filter.condition)
        }
        return fromFeature + definition.filters.map { ($0.name, $0.condition) }
    }

    private static func excludes(_ left: ValueFilter.Condition, _ right: ValueFilter.Condition) -> Bool {
        switch (left, right) {
        case (.among(let left), .among(let right)): left.isDisjoint(with: right)
        case (.among(let values), .notAmong(let refused)), (.notAmong(let refused), .among(let values)):
            values.isSubset(of: refused)
        case (.exists(let left), .exists(let right)): left != right
        case (.among, .exists(let expected)), (.exists(let expected), .among): !expected
        default: false
        }
    }
}
