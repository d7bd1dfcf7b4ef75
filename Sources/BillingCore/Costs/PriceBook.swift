/// What providers charge: every entry, past and future ones included. Immutable.
package struct PriceBook: Sendable {
    private struct Provider: Sendable {
        var exact: [ExactText: ModelPrices] = [:]
        /// By descending length, so that the first that fits is the most specific.
        var patterns: [(prefix: String, prices: ModelPrices)] = []
    }

    private let providers: [ExactText: Provider]
    /// When the last of all prices starts.
    private let lastStart: Instant
    package let count: Int

    package static let empty = PriceBook([])

    package init(_ prices: [ProviderPrice]) {
        var byModel: [ExactText: [ModelPattern: [ProviderPrice]]] = [:]
        for price in prices {
            byModel[ExactText(price.rate.provider), default: [:]][price.rate.model, default: []].append(price)
        }
        providers = byModel.mapValues { models in
            var provider = Provider()
            for (model, prices) in models {
                if let prefix = model.prefix {
                    provider.patterns.append((prefix, ModelPrices(prices)))
                } else {
                    provider.exact[ExactText(model.text)] = ModelPrices(prices)
                }
            }
            provider.patterns.sort { $0.prefix.utf8.count > $1.prefix.utf8.count }
            return provider
        }
        lastStart = prices.lazy.map(\.effectiveFrom).max() ?? .minimum
        count = prices.count
    }

    /// When, after a time and until another one, a price starts that may hold for a model.
    package func starts(provider: String?, model: String, after start: Instant, through end: Instant) -> Set<Instant> {
        guard lastStart > start else { return [] }
        let starts = candidates(provider: provider, model: model).lazy.flatMap(\.starts)
        return Set(starts.filter { start < $0 && $0 <= end })
    }

    /// The prices that may hold for a model, the most specific first: those of the provider before those of every
    /// provider, and within each the model's own before patterns, longer ones first.
    ///
    /// A call that names no provider, but a model of the form `provider/model`, is that provider's.
    package func candidates(provider: String?, model: String) -> [ModelPrices] {
        var found: [ModelPrices] = []
        if let provider {
            append(provider, model, to: &found)
        } else if let slash = model.firstIndex(of: "/") {
            append(String(model[..<slash]), String(model[model.index(after: slash)...]), to: &found)
        }
        if provider != ProviderPrice.anyProvider {
            append(ProviderPrice.anyProvider, model, to: &found)
        }
        return found
    }

    private func append(_ provider: String, _ model: String, to found: inout [ModelPrices]) {
        guard let prices = providers[ExactText(provider)] else { return }
        if let exact = prices.exact[ExactText(model)] {
            found.append(exact)
        }
        for pattern in prices.patterns where model.utf8.starts(with: pattern.prefix.utf8) {
            found.append(pattern.prices)
        }
    }
}

/// The prices of one model or pattern of one provider.
package final class ModelPrices: Sendable {
    /// By component; each by descending threshold, then by descending start.
    private let prices: [[ProviderPrice]]
    fileprivate var starts: some Sequence<Instant> { prices.lazy.joined().map(\.effectiveFrom) }
    /// Those that have a price at some time.
    let components: CostComponents

    init(_ entries: [ProviderPrice]) {
        components = CostComponents(entries.lazy.map(\.rate.component))
        var prices: [[ProviderPrice]] = Array(repeating: [], count: CostComponent.allCases.count)
        for entry in entries {
            prices[Int(entry.rate.component.rawValue)].append(entry)
        }
        self.prices = prices.map { list in
            list.sorted {
                ($0.rate.aboveInputTokens, $0.effectiveFrom, $0.id)
                    > ($1.rate.aboveInputTokens, $1.effectiveFrom, $1.id)
            }
        }
    }

    /// The price in force: of the highest threshold that the call's input exceeds and that has one, the latest.
    func price(of component: CostComponent, for call: ModelCall) -> ProviderPrice? {
        let inputTokens = call.tokens?.input ?? 0
        return prices[Int(component.rawValue)].first { price in
            let threshold = price.rate.aboveInputTokens
            return (threshold == 0 || inputTokens > threshold) && price.effectiveFrom <= call.time
                && price.createdVersion <= call.version
        }
    }
}
