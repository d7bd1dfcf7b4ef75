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
    package let feature: Feature
    package let meter: Meter

    package init(feature: Feature, meter: Meter) {
        self.feature = feature
        self.meter = meter
    }
}
