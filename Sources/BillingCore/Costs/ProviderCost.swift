/// A call of a model, as far as its cost depends on it.
package struct ModelCall: Sendable {
    /// Nil when the event states no tokens.
    package let tokens: TokenClasses?
    package let time: Instant
    /// The version of the shared catalogue it is rated at.
    package let version: Int64
    /// What it asked for, where it may use fewer output tokens than that: these cost then what they can at most.
    package let whole: TokenClasses?

    package init(tokens: TokenClasses?, time: Instant, version: Int64, shortenedFrom whole: TokenClasses? = nil) {
        self.tokens = tokens
        self.time = time
        self.version = version
        self.whole = whole
    }
}

/// What a provider charges for one call.
package struct ProviderCost: Sendable, Hashable {
    /// One component of it.
    package struct Part: Sendable, Hashable {
        package let component: CostComponent
        package let quantity: FixedDecimal
        package let price: PriceID
        /// quantity x unit amount, to 12 digits; exact for a whole quantity.
        package let amount: FixedDecimal
    }

    /// In the order of `CostComponent`; only what there was some of. Of a call that may use fewer output tokens than it
    /// asked for each is as much as it can be, and all together may be more than `amount`.
    package let parts: [Part]
    /// The sum of the parts; where these are what each can be at most, what the call costs at most.
    package let amount: FixedDecimal
    /// Of every part; nil when the call had nothing to charge for.
    package let currency: Currency?

    /// The prices that were used, each once, in ascending order: what a stored cost refers to.
    package var prices: [PriceID] {
        var prices: [PriceID] = []
        prices.reserveCapacity(parts.count)
        for part in parts where !prices.contains(part.price) { prices.append(part.price) }
        prices.sort()
        return prices
    }
}

extension ProviderCost {
    /// The cost of a call by the prices in force at its time; nil when it can't be told: a class of tokens has no
    /// price, a part of the tokens is larger than its total, prices are in different currencies, or nothing of the
    /// call was stated that has a price. A call without a price never costs zero.
    ///
    /// - Parameters:
    ///   - candidates: from `PriceBook.candidates`, the most specific first. For each component the first of them
    ///     that has a price for it, or for what it falls back to, counts.
    ///   - quantity: how much of a component the event states in its data; it is asked only for components that have
    ///     a price and a `property`.
    package init?(
        of call: ModelCall,
        by candidates: [ModelPrices],
        quantity: (CostComponent) -> FixedDecimal?
    ) {
        guard !candidates.isEmpty else { return nil }
        var rating = CostRating(call: call, candidates: candidates)
        guard rating.addTokens(quantity), rating.addUnits(quantity), rating.isStated else { return nil }
        self.init(rating)
    }

    /// What has a price of a call whose cost can't be told, in one currency; nil where nothing of it has.
    package init?(
        ofPricedPartsOf call: ModelCall,
        by candidates: [ModelPrices],
        quantity: (CostComponent) -> FixedDecimal?
    ) {
        var rating = CostRating(call: call, candidates: candidates)
        rating.passesOverUnpriced = true
        _ = rating.addTokens(quantity)
        _ = rating.addUnits(quantity)
        guard !rating.parts.isEmpty else { return nil }
        self.init(rating)
    }

    private init(_ rating: CostRating) {
        parts = rating.parts.sorted { $0.component.rawValue < $1.component.rawValue }
        amount = rating.amount
        currency = rating.currency
    }
}

/// A cost while it is put together. Each step answers false when the cost can't be told.
private struct CostRating {
    let call: ModelCall
    let candidates: [ModelPrices]
    /// Those that one of the candidates has a price for.
    private let components: CostComponents
    var parts: [ProviderCost.Part] = []
    var amount = FixedDecimal.zero
    var currency: Currency?
    /// Whether the call says how much of anything there was.
    var isStated = false
    /// Whether what has no price, or one in another currency, is left out and the rest goes on.
    var passesOverUnpriced = false

    init(call: ModelCall, candidates: [ModelPrices]) {
        self.call = call
        self.candidates = candidates
        components = candidates.reduce(into: []) { $0.formUnion($1.components) }
        parts.reserveCapacity(4)
    }

    mutating func addTokens(_ quantity: (CostComponent) -> FixedDecimal?) -> Bool {
        guard let tokens = call.tokens else { return true }
        isStated = true
        var input = FixedDecimal(tokens.uncachedInput)
        return take([.inputAudio, .inputImage], from: &input, quantity)
            && add(.input, input)
            && add(.cachedInput, FixedDecimal(tokens.cachedInput))
            && add(.cacheWrite, FixedDecimal(tokens.cacheWrite))
            && addOutput(tokens, quantity)
    }

    private mutating func addOutput(_ tokens: TokenClasses, _ quantity: (CostComponent) -> FixedDecimal?) -> Bool {
        if let whole = call.whole { return addDearest(of: whole, within: tokens, quantity) }
        var output = FixedDecimal(tokens.plainOutput)
        return take([.outputAudio, .outputImage], from: &output, quantity)
            && add(.output, output)
            && add(.reasoning, FixedDecimal(tokens.reasoning))
    }

    /// As many output tokens as there may be, the dearest first of what was asked for; the parts say how many of them
    /// each can be.
    private mutating func addDearest(
        of whole: TokenClasses,
        within tokens: TokenClasses,
        _ quantity: (CostComponent) -> FixedDecimal?
    ) -> Bool {
        guard let room = try? FixedDecimal(tokens.plainOutput).adding(FixedDecimal(tokens.reasoning)) else {
            return false
        }
        var asked = CostRating(
            call: ModelCall(tokens: whole, time: call.time, version: call.version),
            candidates: candidates
        )
        (asked.currency, asked.passesOverUnpriced) = (currency, passesOverUnpriced)
        guard asked.addOutput(whole, quantity) else { return false }
        let priced = asked.parts.compactMap { part in price(of: part.component).map { (part, price: $0) } }
        var rest = room
        for (part, price) in priced.sorted(by: { $0.price.unitAmount > $1.price.unitAmount }) {
            let count = min(part.quantity, rest)
            guard let left = try? rest.subtracting(count),
                add(part.component, count, outOf: min(part.quantity, room), at: price)
            else { return false }
            rest = left
        }
        return rest.isZero || passesOverUnpriced
    }

    mutating func addUnits(_ quantity: (CostComponent) -> FixedDecimal?) -> Bool {
        for unit in CostComponent.units where components.contains(unit) {
            guard let price = price(of: unit) else { continue }
            guard let count = unit == .request ? .one : quantity(unit) else { continue }
            guard !count.isNegative, count.isZero || add(unit, count, at: price) else { return false }
            isStated = true
        }
        return true
    }

    /// Moves parts that have a price of their own out of the tokens they are part of.
    private mutating func take(
        _ parts: [CostComponent],
        from total: inout FixedDecimal,
        _ quantity: (CostComponent) -> FixedDecimal?
    ) -> Bool {
        for component in parts where self.components.contains(component) {
            guard let price = price(of: component), let count = quantity(component), !count.isZero else { continue }
            guard !count.isNegative, let rest = try? total.subtracting(count), !rest.isNegative else { return false }
            total = rest
            guard add(component, count, at: price) else { return false }
        }
        return true
    }

    private mutating func add(_ component: CostComponent, _ quantity: FixedDecimal) -> Bool {
        guard !quantity.isZero else { return true }
        guard let price = price(of: component) else { return passesOverUnpriced }
        return add(component, quantity, at: price)
    }

    /// - Parameter most: what the part shows, where that can be more than what is added to the amount.
    private mutating func add(
        _ component: CostComponent,
        _ quantity: FixedDecimal,
        outOf most: FixedDecimal? = nil,
        at price: ProviderPrice
    ) -> Bool {
        guard currency == nil || currency == price.currency else { return passesOverUnpriced }
        guard let added = try? quantity.multiplied(by: price.unitAmount).rounded(toDigits: 12),
            let sum = try? amount.adding(added)
        else { return false }
        var part = ProviderCost.Part(component: component, quantity: quantity, price: price.id, amount: added)
        if let most {
            guard let shown = try? most.multiplied(by: price.unitAmount).rounded(toDigits: 12) else { return false }
            part = ProviderCost.Part(component: component, quantity: most, price: price.id, amount: shown)
        }
        currency = price.currency
        amount = sum
        parts.append(part)
        return true
    }

    private func price(of component: CostComponent) -> ProviderPrice? {
        for prices in candidates {
            if let price = prices.price(of: component, for: call) { return price }
            if let fallback = component.fallback, let price = prices.price(of: fallback, for: call) { return price }
        }
        return nil
    }
}
