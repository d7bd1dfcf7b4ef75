import BillingCore
import Postgres
import Web

/// The work on plan versions that needs features and meters.
enum PlanVersionService {
    /// A draft with its features looked up. The caller has locked the catalogue version, so none can be archived until
    /// the transaction ends.
    static func definition(
        of draft: PlanDraft,
        in transaction: borrowing Transaction
    ) throws -> PlanDefinition {
        try PlanDefinition(draft, features: try metered(draft.featureKeys, in: transaction))
    }

    /// The answer to publishing.
    static func publishedAnswer(
        _ record: PlanVersionRecord,
        in transaction: borrowing Transaction
    ) throws -> Answer {
        let charges = record.definition.charges
        let features = try metered(charges.map(\.featureKey), in: transaction)
        let byID = Dictionary(features.values.map { ($0.feature.id, $0) }) { first, _ in first }
        let overlaps = ChargeOverlap.find(in: charges, features: byID)
        let matrices = UnboundedMatrix.find(in: charges, features: byID)
        let body = PublishedVersionBody(record, overlaps: overlaps, unbounded: matrices)
        return try .json(body, revision: record.revision)
    }

    /// The features that exist among the keys, each with its meter.
    static func metered(
        _ keys: [String],
        in transaction: borrowing Transaction
    ) throws -> [String: MeteredFeature] {
        guard !keys.isEmpty else { return [:] }
        let features = try FeatureStore.find(keys: keys, in: transaction)
        let meters = try MeterStore.find(ids: Set(features.map(\.meterID)).sorted(), in: transaction)
        let byID = Dictionary(meters.map { ($0.id, $0) }) { first, _ in first }
        var metered: [String: MeteredFeature] = [:]
        for feature in features {
            metered[feature.key] = byID[feature.meterID].map { MeteredFeature(feature: feature, meter: $0) }
        }
        return metered
    }
}
