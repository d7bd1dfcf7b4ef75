package import BillingCore
import Web

/// Whether reaching a limit denies the next admission or only warns.
package enum LimitMode: String, Sendable, Hashable, CaseIterable {
    case hard, soft
}

/// What a quota does with use beyond it: refuse it, or let it continue at the plan's price.
package enum Overage: String, Sendable, Hashable, CaseIterable {
    case denied, allowed

    /// What goes with a mode, unless the quota says otherwise.
    init(of mode: LimitMode) { self = mode == .hard ? .denied : .allowed }

    /// A soft quota lets everything pass: whoever denies the overage means a hard one.
    static func rejectContradiction(_ overage: Overage?, _ mode: LimitMode?, _ fields: JSONObjectReader) {
        guard mode == .soft, overage == .denied else { return }
        let detail = "a \"soft\" quota denies nothing: make it \"hard\", or leave \"overage\" out"
        fields.fault(at: "overage", code: "not_applicable", detail: detail)
    }
}

/// A quota of a plan version: at most `limit` units of a feature in each window.
package struct Quota: Sendable, Hashable {
    package let featureID: FeatureID
    package let featureKey: String
    package let limit: FixedDecimal
    package let window: WindowKind
    package let mode: LimitMode
    package let overage: Overage

    package init(
        featureID: FeatureID,
        featureKey: String,
        limit: FixedDecimal,
        window: WindowKind,
        mode: LimitMode,
        overage: Overage
    ) {
        self.featureID = featureID
        self.featureKey = featureKey
        self.limit = limit
        self.window = window
        self.mode = mode
        self.overage = overage
    }
}

/// A quota in force for one tenant. Its identity is (tenant, feature, window): a new plan keeps `id`, and with it
/// what was used, and replaces the amount under a higher revision.
package struct UsageLimit: Sendable, Hashable {
    package let id: LimitID
    package let featureID: FeatureID
    package let window: WindowKind
    package let amount: FixedDecimal
    package let mode: LimitMode
    package let overage: Overage
    package let revision: Int64
    /// Whether a plan in force has this quota. One that is not active still counts, so that its windows are true
    /// when it becomes active again.
    package let isActive: Bool
    /// Usage from this time on counts in the limit's calendar windows; nil before the first usage was rated.
    package let countedFrom: Instant?

    package init(
        id: LimitID,
        featureID: FeatureID,
        window: WindowKind,
        amount: FixedDecimal,
        mode: LimitMode,
        overage: Overage,
        revision: Int64,
        isActive: Bool = true,
        countedFrom: Instant? = nil
    ) {
        self.id = id
        self.featureID = featureID
        self.window = window
        self.amount = amount
        self.mode = mode
        self.overage = overage
        self.revision = revision
        self.isActive = isActive
        self.countedFrom = countedFrom
    }
}
