import BillingCore
import Catalog

/// Tells what events cost, by one version of the price book. Models repeat, so what was looked up for one is kept: an
/// event then costs a look-up and a few multiplications.
struct CallRater {
    private struct Model: Hashable {
        let provider: ExactText?
        let model: ExactText

        /// Nil where the event names none.
        init?(_ event: UsageEvent) {
            guard let name = event.usage.model else { return nil }
            provider = event.usage.provider.map { ExactText($0) }
            model = ExactText(name)
        }
    }

    private struct Known {
        let candidates: [ModelPrices]
        /// The prices that were used last, and their set.
        var prices: [PriceID] = []
        var set: PriceSets.Reference?
    }

    private let costs: CostCatalog
    private let version: Int64
    private let policy: CostPolicy
    private let sets: PriceSets
    private let believesReports: Bool
    private var known: [Model: Known] = [:]
    private var latest: (model: Model, known: Known)?

    /// - Parameter believesReports: whether an event's own `cost` counts where the price book says nothing and its
    ///   source is trusted. Not of who is bound to a tenant: any source can be named, and the costs would be its own.
    init(costs: CostCatalog, version: Int64, policy: CostPolicy, sets: PriceSets, believesReports: Bool) {
        self.costs = costs
        self.version = version
        self.policy = policy
        self.sets = sets
        self.believesReports = believesReports
    }

    /// - Parameters:
    ///   - time: whose prices hold.
    ///   - currency: the tenant's.
    ///   - whole: what it asked for, where it is given fewer tokens, see `ModelCall`.
    mutating func cost(
        of event: UsageEvent,
        at time: Instant,
        currency: Currency,
        shortenedFrom whole: TokenClasses? = nil
    ) -> CallCost {
        let priced =
            priced(event, at: time, currency: currency, shortenedFrom: whole)
            ?? reported(event, at: time, currency: currency)
        return priced.map(CallCost.priced) ?? (event.isModelCall ? .unpriced : .none)
    }

    /// What the price book says, for a class of tokens at a time; nil where it says nothing.
    static func providerCost(
        of event: UsageEvent,
        at time: Instant,
        by candidates: [ModelPrices],
        version: Int64,
        shortenedFrom whole: TokenClasses? = nil
    ) -> ProviderCost? {
        let call = ModelCall(event, at: time, version: version, shortenedFrom: whole)
        return ProviderCost(of: call, by: candidates, quantity: { event.quantity(of: $0) })
    }

    /// What has a price of a call that has none as a whole; nil where nothing of it has.
    mutating func costOfPricedParts(
        of event: UsageEvent,
        at time: Instant,
        currency: Currency,
        shortenedFrom whole: TokenClasses?
    ) -> PricedCall? {
        guard let model = Model(event) else { return nil }
        let call = ModelCall(event, at: time, version: version, shortenedFrom: whole)
        let candidates = entry(of: model).candidates
        return ProviderCost(ofPricedPartsOf: call, by: candidates, quantity: { event.quantity(of: $0) }).map { cost in
            let set = sets.reference(to: .prices(cost.prices, cost.currency ?? policy.currency))
            return priced(cost, set, at: time, currency: currency)
        }
    }

    private mutating func priced(
        _ event: UsageEvent,
        at time: Instant,
        currency: Currency,
        shortenedFrom whole: TokenClasses?
    ) -> PricedCall? {
        guard let model = Model(event) else { return nil }
        var entry = entry(of: model)
        let cost = Self.providerCost(
            of: event,
            at: time,
            by: entry.candidates,
            version: version,
            shortenedFrom: whole
        )
        if let cost {
            let prices = cost.prices
            let from = cost.currency ?? policy.currency
            if entry.set == nil || entry.prices != prices || entry.set?.set.currency != from {
                entry.prices = prices
                entry.set = sets.reference(to: .prices(prices, from))
            }
        }
        latest = (model, entry)
        guard let cost, let set = entry.set else { return nil }
        return priced(cost, set, at: time, currency: currency)
    }

    private func priced(
        _ cost: ProviderCost,
        _ set: PriceSets.Reference,
        at time: Instant,
        currency: Currency
    ) -> PricedCall {
        PricedCall(
            amount: cost.amount,
            set: set,
            parts: cost.parts,
            conversion: CostConversion(from: set.set.currency, to: currency, at: time, costs.rates)
        )
    }

    private mutating func entry(of model: Model) -> Known {
        if let latest, latest.model == model { return latest.known }
        if let latest { known[latest.model] = latest.known }
        return known[model]
            ?? Known(candidates: costs.prices.candidates(provider: model.provider?.text, model: model.model.text))
    }

    private func reported(_ event: UsageEvent, at time: Instant, currency: Currency) -> PricedCall? {
        guard believesReports, let amount = event.usage.cost, !amount.isNegative,
            policy.trustedSources.contains(event.source)
        else { return nil }
        return PricedCall(
            amount: amount,
            set: sets.reference(to: .reported(policy.currency)),
            parts: [],
            conversion: CostConversion(from: policy.currency, to: currency, at: time, costs.rates)
        )
    }
}

extension ModelCall {
    fileprivate init(
        _ event: UsageEvent,
        at time: Instant,
        version: Int64,
        shortenedFrom whole: TokenClasses?
    ) {
        let statesTokens = event.usage.inputTokens != nil || event.usage.outputTokens != nil
        self.init(
            tokens: statesTokens ? event.usage.tokenClasses : nil,
            time: time,
            version: version,
            shortenedFrom: whole
        )
    }
}

extension UsageEvent {
    /// How much of a component it says in its data.
    fileprivate func quantity(of component: CostComponent) -> FixedDecimal? {
        component.path.flatMap { number(at: $0) }
    }

    /// Whether a provider charges for it whatever is reported: it names a model, or counts tokens.
    var isModelCall: Bool {
        usage.model != nil || (usage.inputTokens ?? 0) > 0 || (usage.outputTokens ?? 0) > 0
    }
}
