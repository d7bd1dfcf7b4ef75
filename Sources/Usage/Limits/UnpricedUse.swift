package import BillingCore
import Catalog
import Limits

/// What of a call has no known price, so that a limit on money can't tell what it would hold.
package struct UnpricedUse: Sendable {
    /// A call of a model whose provider cost is needed and not known.
    package struct ModelCall: Sendable {
        package let provider: String?
        package let model: String?
        /// `price` or `fx_rate`. What the operator has in its price book is nothing that tenants are told.
        package let lacks: String
    }

    /// Names what lacks a price, whatever call it was.
    package struct Identity: Sendable, Hashable {
        let tenant: TenantID
        let features: [FeatureID]
        let subscription: SubscriptionID?
        let periodIndex: Int?
        let lacks: String?
    }

    /// That the plan names no price for.
    package let features: [FeatureID]
    package let modelCall: ModelCall?
    /// Where the call would count, maybe later in its reservation's life; nil where only its provider cost matters.
    let place: EventPlace?

    package func identity(of tenant: TenantID) -> Identity {
        Identity(
            tenant: tenant,
            features: features,
            subscription: place?.subscription.id,
            periodIndex: place?.periodIndex,
            lacks: modelCall?.lacks
        )
    }
}

extension PendingEvent {
    /// What the plan says no price of; nil where it says what all is charged, as in a trial: nothing.
    /// - Parameters:
    ///   - feature: the only one that matters; all of them where it is nil.
    ///   - withDistinct: whether distinct values matter, which are charged to all of a tenant's use together.
    package func unpricedCharge(of feature: FeatureID? = nil, withDistinct: Bool = true) -> UnpricedUse? {
        guard let place, !place.isTrial else { return nil }
        let plan = place.planVersion
        let unpriced = measurements(of: feature, withDistinct: withDistinct).filter { !$0.isPriced(by: plan) }
        guard !unpriced.isEmpty else { return nil }
        let features = unpriced.filter { !$0.isSold(by: plan) }.map(\.feature)
        let isOfCost = features.count < unpriced.count
        let modelCall = isOfCost ? modelCall(lacking: cost.unpricedReason ?? .price) : nil
        return UnpricedUse(features: features, modelCall: modelCall, place: place)
    }

    /// Of a call whose provider cost is not known in the currency of a limit.
    package var unpricedCost: UnpricedUse {
        let lacking: UnpricedReason = if case .priced = cost { .fxRate } else { .price }
        return UnpricedUse(features: [], modelCall: modelCall(lacking: lacking), place: nil)
    }

    private func modelCall(lacking reason: UnpricedReason) -> UnpricedUse.ModelCall {
        UnpricedUse.ModelCall(provider: event.usage.provider, model: event.usage.model, lacks: reason.rawValue)
    }
}
