import BillingCore

/// Two charged features that one event can feed: their charges add up, which is allowed and seldom meant.
struct ChargeOverlap: Sendable, Equatable {
    /// Position of the later one in `charges`.
    let index: Int
    let feature: String
    let other: String
    let eventType: String

    /// How many are told at most.
    static let maximumCount = 100

    /// The pairs of a plan's charges whose meters read the same event type, unless their filters exclude each other;
    /// the first of them where they are many.
    static func find(in charges: [Charge], features: [FeatureID: MeteredFeature]) -> [ChargeOverlap] {
        let metered = charges.enumerated().compactMap { index, charge in
            features[charge.featureID].map { (index: index, feature: $0, conditions: conditions(of: $0)) }
        }
        var overlaps: [ChargeOverlap] = []
        for (position, later) in metered.enumerated() {
            let eventType = later.feature.meter.definition.eventType
            for earlier in metered[..<position] {
                guard eventType == earlier.feature.meter.definition.eventType,
                    !areDisjoint(earlier.conditions, later.conditions)
                else { continue }
                guard overlaps.count < maximumCount else { return overlaps }
                overlaps.append(
                    ChargeOverlap(
                        index: later.index,
                        feature: later.feature.feature.key,
                        other: earlier.feature.feature.key,
                        eventType: eventType
                    )
                )
            }
        }
        return overlaps
    }

    private typealias Condition = (name: String, condition: ValueFilter.Condition)

    private static func areDisjoint(_ left: [Condition], _ right: [Condition]) -> Bool {
        left.contains { name, condition in right.contains { $0.name == name && excludes(condition, $0.condition) } }
    }

    /// The conditions of feature and meter by the property they look at. A class has no property of its own: it is
    /// comparable only within one meter.
    private static func conditions(of metered: MeteredFeature) -> [Condition] {
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
