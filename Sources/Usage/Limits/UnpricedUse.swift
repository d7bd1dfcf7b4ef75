package import BillingCore
import Catalog
import Limits

/// What of a use has no known price, so that no amount can be told of a limit on money.
package struct UnpricedUse: Sendable, Hashable {
    /// A call of a model whose provider cost is not known, or not in the currency that it is needed in.
    package struct ModelCall: Sendable, Hashable {
        package let provider: String?
        package let model: String?
        /// `price` or `fx_rate`.
        package let lacks: String
    }

    /// That the plan names no price for.
    package let features: [FeatureID]
    package let modelCall: ModelCall?
}

extension PendingEvent {
    /// What the plan says no price of; nil where it says what all is charged, as in a trial: nothing.
    /// - Parameter feature: the only one that matters; all of them where it is nil.
    package func unpricedCharge(of feature: FeatureID? = nil) -> UnpricedUse? {
        guard let place, !place.isTrial else { return nil }
        let plan = place.planVersion
        let unpriced = measurements.filter { (feature == nil || $0.feature == feature) && !$0.isPriced(by: plan) }
        guard !unpriced.isEmpty else { return nil }
        let features = unpriced.filter { !$0.isSold(by: plan) }.map(\.feature)
        return UnpricedUse(features: features, modelCall: features.count < unpriced.count ? unpricedModelCall : nil)
    }

    /// Of a call whose provider cost is not known.
    package var unpricedCost: UnpricedUse { UnpricedUse(features: [], modelCall: unpricedModelCall) }

    private var unpricedModelCall: UnpricedUse.ModelCall {
        // A cost that is known but for this lacks a rate to the currency of the limit.
        let reason = cost.unpricedReason ?? .fxRate
        return UnpricedUse.ModelCall(
            provider: event.usage.provider,
            model: event.usage.model,
            lacks: reason.rawValue
        )
    }
}
