import BillingCore
import Web

/// What a segment has in place of its plan version's own fees, charges, quotas and amounts. An entry stands in place of
/// the plan's entry with the same fee key, feature, or feature and window; where the plan has none it is added.
struct PlanOverrides: Sendable {
    let fees: [Fee]
    let charges: [Charge]
    let quotas: [Quota]
    /// Amounts that are nil are the plan's.
    let terms: PlanTerms

    var isEmpty: Bool { fees.isEmpty && charges.isEmpty && quotas.isEmpty && terms == PlanTerms() }

    /// The plan version as the segment has it.
    func applied(to version: PlanVersion) -> PlanVersion {
        guard !isEmpty else { return version }
        var definition = version.definition
        definition.fees = Self.merged(definition.fees, with: fees, by: \.key)
        definition.charges = Self.merged(definition.charges, with: charges, by: \.featureID)
        definition.quotas = Self.merged(definition.quotas, with: quotas, by: \.identity)
        definition.terms = definition.terms.replacingAmounts(with: terms)
        return PlanVersion(
            id: version.id,
            planID: version.planID,
            planKey: version.planKey,
            planName: version.planName,
            version: version.version,
            currency: version.currency,
            definition: definition
        )
    }

    /// The members as they are shown and stored, which `PlanDraft.readOverrides` reads.
    var json: JSONValue {
        let definition = PlanDefinition(fees: fees, charges: charges, quotas: quotas, terms: terms).json
        guard case .object(let members) = definition else { return definition }
        return .object(members.filter { $0.name != "interval" && $0.name != "trial_days" })
    }

    private static func merged<Element, Name: Hashable>(
        _ base: [Element],
        with own: [Element],
        by name: (Element) -> Name
    ) -> [Element] {
        let byName = Dictionary(own.map { (name($0), $0) }) { first, _ in first }
        let names = Set(base.map(name))
        return base.map { byName[name($0)] ?? $0 } + own.filter { !names.contains(name($0)) }
    }
}

extension PlanOverrides {
    /// Puts the features in place of their keys, and throws a fault for each that cannot be charged or limited so.
    /// - Parameter pointer: where the overrides stand in the request.
    init(_ draft: PlanDraft, features: [String: MeteredFeature], at pointer: String) throws(ValidationFailure) {
        let definition: PlanDefinition
        do {
            definition = try PlanDefinition(draft, features: features)
        } catch {
            throw ValidationFailure(
                error.faults.map { FieldFault(pointer: pointer + $0.pointer, code: $0.code, detail: $0.detail) }
            )
        }
        self.init(
            fees: definition.fees,
            charges: definition.charges,
            quotas: definition.quotas,
            terms: definition.terms
        )
    }
}

extension PlanDraft {
    /// Reads the members of a plan version that a subscription may have its own of.
    /// - Parameter isStored: see `read`.
    static func readOverrides(_ fields: JSONObjectReader, isStored: Bool) -> PlanDraft {
        let fees = fields.objects("fees", maximumCount: 100, readFee)
        let charges = fields.objects("charges", maximumCount: 500, readCharge)
        let quotas = fields.objects("quotas", maximumCount: 500) { readQuota($0, isStored: isStored) }
        let terms = PlanTerms.readAmounts(fields)
        rejectDuplicates(fees: fees, charges: charges, quotas: quotas, fields)
        return PlanDraft(
            fees: fees.compactMap { $0 },
            charges: charges.compactMap { $0 },
            quotas: quotas.compactMap { $0 },
            terms: terms
        )
    }
}

extension Quota {
    fileprivate struct Identity: Hashable {
        let feature: FeatureID
        let window: WindowKind
    }

    fileprivate var identity: Identity { Identity(feature: featureID, window: window) }
}
