package import BillingCore

/// Something a plan prices or limits: a meter, narrowed by filters on its dimensions. Like the meter it never
/// changes what it measures.
package struct Feature: Sendable, Hashable {
    package let id: FeatureID
    package let key: String
    package internal(set) var name: String
    package let meterID: MeterID
    package let meterKey: String
    /// Conditions on dimensions of the meter, the class dimension included; all must hold.
    package let filters: [ValueFilter]
    package let unit: String
    package let createdVersion: Int64
    package internal(set) var archivedVersion: Int64?
    package let createdAt: Instant
    package internal(set) var updatedAt: Instant
    package internal(set) var revision: Int64

    package init(
        id: FeatureID,
        key: String,
        name: String,
        meterID: MeterID,
        meterKey: String,
        filters: [ValueFilter] = [],
        unit: String = "unit",
        createdVersion: Int64,
        archivedVersion: Int64? = nil,
        createdAt: Instant,
        updatedAt: Instant,
        revision: Int64 = 1
    ) {
        self.id = id
        self.key = key
        self.name = name
        self.meterID = meterID
        self.meterKey = meterKey
        self.filters = filters
        self.unit = unit
        self.createdVersion = createdVersion
        self.archivedVersion = archivedVersion
        self.createdAt = createdAt
        self.updatedAt = updatedAt
        self.revision = revision
    }
}

/// A feature together with the meter that feeds it.
package struct MeteredFeature: Sendable, Hashable {
    /// What of a call's provider cost belongs to a feature.
    package enum CostShare: Sendable, Hashable {
        case whole
        /// That of some components; nil where the cost of what is measured can't be told apart.
        case components(CostComponents?)
    }

    package let feature: Feature
    package let meter: Meter
    /// The classes of the meter's class map that pass the feature's filters; none of a meter without one.
    package let classes: [ValueClass]
    package let costShare: CostShare

    package init(feature: Feature, meter: Meter) {
        self.feature = feature
        self.meter = meter
        guard case .classes(let all, let dimension) = meter.definition.value else {
            classes = []
            costShare = .whole
            return
        }
        let filters = feature.filters.filter { $0.name == dimension }
        classes = all.filter { part in filters.allSatisfy { $0.admits(part.name) } }
        costShare = classes.count == all.count ? .whole : .components(Self.costs(of: classes))
    }

    private static func costs(of classes: [ValueClass]) -> CostComponents? {
        let costs = classes.compactMap(\.costs)
        return costs.count == classes.count ? costs.reduce([]) { $0.union($1) } : nil
    }
}
