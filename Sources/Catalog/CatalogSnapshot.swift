package import BillingCore

/// The shared catalogue at one version: immutable, and complete (archived meters and features are found by id and
/// key, but feed nothing). One shared instance.
package final class CatalogSnapshot: Sendable {
    /// The value of `catalog_version.version` that this was read at.
    package let version: Int64
    package let meters: [MeterID: Meter]
    package let features: [FeatureID: Feature]
    package let metersByKey: [String: Meter]
    package let featuresByKey: [String: Feature]
    /// The features an event type feeds, by ascending id. Archived ones are left out.
    package let featuresByEventType: [String: [MeteredFeature]]
    /// Archived features too, for usage that was stored while they were in force.
    private let allByEventType: [String: [MeteredFeature]]
    /// What providers charge, and the exchange rates.
    package let costs: CostCatalog
    /// The budgets in force that name no tenant exactly, by ascending id.
    package let budgets: [Budget]
    /// The same as the hot paths read them.
    package let sharedLimits: [Limit]
    /// What admission refuses for a time.
    package let mitigations: Mitigations
    /// Event types that some meter reads, features or not. Usage of any other type is `unmetered`.
    package let meteredTypes: Set<String>

    /// The catalogue before anything was read: version 0 matches no stored version.
    package static let empty = CatalogSnapshot(version: 0, meters: [], features: [])

    package init(
        version: Int64,
        meters: [Meter],
        features: [Feature],
        costs: CostCatalog = .empty,
        budgets: [Budget] = [],
        mitigations: [Mitigation] = []
    ) {
        self.version = version
        self.costs = costs
        self.budgets = budgets
        sharedLimits = budgets.map { Limit($0) }
        self.mitigations = Mitigations(mitigations)
        let metersByID = Dictionary(meters.map { ($0.id, $0) }) { first, _ in first }
        self.meters = metersByID
        self.features = Dictionary(features.map { ($0.id, $0) }) { first, _ in first }
        metersByKey = Dictionary(meters.map { ($0.key, $0) }) { first, _ in first }
        featuresByKey = Dictionary(features.map { ($0.key, $0) }) { first, _ in first }
        meteredTypes = Set(meters.filter { $0.archivedVersion == nil }.map(\.definition.eventType))
        var byType: [String: [MeteredFeature]] = [:]
        var all: [String: [MeteredFeature]] = [:]
        for feature in features.sorted(by: { $0.id < $1.id }) {
            guard let meter = metersByID[feature.meterID] else { continue }
            let metered = MeteredFeature(feature: feature, meter: meter)
            all[meter.definition.eventType, default: []].append(metered)
            if feature.archivedVersion == nil, meter.archivedVersion == nil {
                byType[meter.definition.eventType, default: []].append(metered)
            }
        }
        featuresByEventType = byType
        allByEventType = all
    }

    /// The features that an event type fed at an earlier version of the catalogue, by ascending id.
    package func features(of eventType: String, at version: Int64) -> [MeteredFeature] {
        (allByEventType[eventType] ?? []).filter {
            $0.feature.isInForce(at: version) && $0.meter.isInForce(at: version)
        }
    }
}
