import BillingCore
import Web

extension PlanDefinition {
    /// Puts the features in place of their keys, and throws a fault for each that cannot be charged or limited so.
    /// `features` holds the features that exist, archived ones included.
    init(_ draft: PlanDraft, features: [String: MeteredFeature]) throws(ValidationFailure) {
        var faults: [FieldFault] = []
        var charges: [Charge] = []
        for (index, charge) in draft.charges.enumerated() {
            let pointer = "/charges/\(index)"
            faults += Self.faults(of: features[charge.feature], key: charge.feature, at: "\(pointer)/feature")
            guard let found = features[charge.feature] else { continue }
            faults += charge.price.faults(over: found, at: "\(pointer)/price")
            let feature = found.feature
            charges.append(Charge(featureID: feature.id, featureKey: feature.key, price: charge.price))
        }
        var quotas: [Quota] = []
        for (index, quota) in draft.quotas.enumerated() {
            let pointer = "/quotas/\(index)"
            faults += Self.faults(of: features[quota.feature], key: quota.feature, at: "\(pointer)/feature")
            guard let found = features[quota.feature] else { continue }
            let aggregation = found.meter.definition.aggregation
            if !aggregation.acceptsHardLimits {
                let detail = "quotas count sum and count only; \"\(quota.feature)\" is \(aggregation.rawValue)"
                faults.append(FieldFault(pointer: "\(pointer)/feature", code: "not_applicable", detail: detail))
            }
            quotas.append(Quota(quota, feature: found.feature.id))
        }
        guard faults.isEmpty else { throw ValidationFailure(faults) }
        self.init(fees: draft.fees, charges: charges, quotas: quotas, terms: draft.terms)
    }

    private static func faults(of feature: MeteredFeature?, key: String, at pointer: String) -> [FieldFault] {
        guard let feature else {
            return [FieldFault(pointer: pointer, code: "unknown_feature", detail: "there is no feature \"\(key)\"")]
        }
        guard feature.feature.archivedVersion != nil else { return [] }
        return [FieldFault(pointer: pointer, code: "archived", detail: "the feature \"\(key)\" is archived")]
    }

    /// The definition as it is shown and stored: the members that `PlanDraft.read` reads.
    var json: JSONValue {
        let written = [
            JSONMember(name: "charges", value: .array(charges.map(Self.json))),
            JSONMember(name: "fees", value: .array(fees.map(Self.json))),
            JSONMember(name: "interval", value: .string("month")),
            JSONMember(name: "quotas", value: .array(quotas.map(Self.json))),
        ]
        return .object(written + terms.members)
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

extension Quota {
    init(_ draft: PlanDraft.Quota, feature: FeatureID) {
        self.init(
            featureID: feature,
            featureKey: draft.feature,
            limit: draft.limit,
            window: draft.window,
            mode: draft.mode,
            overage: draft.overage
        )
    }
}
