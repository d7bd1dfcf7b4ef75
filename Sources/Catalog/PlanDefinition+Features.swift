import BillingCore
import Web

extension PlanDefinition {
    /// Puts the features in place of their keys, and throws a fault for each that cannot be charged or limited so.
    /// `features` holds the features that exist, archived ones included.
    init(_ draft: PlanDraft, features: [String: MeteredFeature]) throws(ValidationFailure) {
        var faults: [FieldFault] = []
        func feature(_ key: String, at pointer: String) -> MeteredFeature? {
            guard let found = features[key] else {
                let detail = "there is no feature \"\(key)\""
                faults.append(FieldFault(pointer: pointer, code: "unknown_feature", detail: detail))
                return nil
            }
            guard found.feature.archivedVersion == nil else {
                let detail = "the feature \"\(key)\" is archived"
                faults.append(FieldFault(pointer: pointer, code: "archived", detail: detail))
                return nil
            }
            return found
        }
        var charges: [Charge] = []
        for (index, charge) in draft.charges.enumerated() {
            guard let found = feature(charge.feature, at: "/charges/\(index)/feature") else { continue }
            charges.append(Charge(featureID: found.feature.id, featureKey: charge.feature, price: charge.price))
        }
        var quotas: [Quota] = []
        for (index, quota) in draft.quotas.enumerated() {
            guard let found = feature(quota.feature, at: "/quotas/\(index)/feature") else { continue }
            let aggregation = found.meter.definition.aggregation
            if quota.mode == .hard, !aggregation.acceptsHardLimits {
                let detail = "a hard quota needs a sum or a count; \"\(quota.feature)\" is \(aggregation.rawValue)"
                faults.append(FieldFault(pointer: "/quotas/\(index)/mode", code: "not_applicable", detail: detail))
            }
            quotas.append(
                Quota(
                    featureID: found.feature.id,
                    featureKey: quota.feature,
                    limit: quota.limit,
                    window: quota.window,
                    mode: quota.mode,
                    overage: quota.overage
                )
            )
        }
        guard faults.isEmpty else { throw ValidationFailure(faults) }
        self.init(fees: draft.fees, charges: charges, quotas: quotas)
    }

    /// The definition as it is shown and stored: the members that `PlanDraft.read` reads.
    var json: JSONValue {
        .members([
            "charges": .array(charges.map(Self.json)),
            "fees": .array(fees.map(Self.json)),
            "interval": .string("month"),
            "quotas": .array(quotas.map(Self.json)),
        ])
    }

    private static func json(_ charge: Charge) -> JSONValue {
        .members(["feature": .string(charge.featureKey), "price": charge.price.json])
    }

    private static func json(_ fee: Fee) -> JSONValue {
        .members([
            "amount": .string(fee.amount.description),
            "charged": .string(fee.charged.rawValue),
            "key": .string(fee.key),
            "name": .string(fee.name),
        ])
    }

    private static func json(_ quota: Quota) -> JSONValue {
        .members([
            "feature": .string(quota.featureKey),
            "limit": .string(quota.limit.description),
            "mode": .string(quota.mode.rawValue),
            "overage": .string(quota.overage.rawValue),
            "window": .string(quota.window.rawValue),
        ])
    }
}
