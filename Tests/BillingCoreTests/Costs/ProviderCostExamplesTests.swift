import BillingCore
import Testing

/// The worked examples of provider costs that `docs/rules.md` shows to users.
@Suite struct ProviderCostExamplesTests {
    @Test func `provider costs`() throws {
        let examples = try RulesExamples.load()
        var entries: [ProviderPrice] = []
        for (model, prices) in examples.priceBook {
            for (name, amount) in prices {
                let parts = name.split(separator: ">").map(String.init)
                let component = try #require(parts.first.flatMap { CostComponent(name: $0) })
                let threshold = parts.count > 1 ? try #require(Int64(parts[1])) : 0
                entries.append(try .sample(component, amount, model: model, above: threshold))
            }
        }
        let book = PriceBook(entries)
        for example in examples.providerCosts {
            let cost = try book.cost(
                model: example.model,
                input: example.input,
                cached: example.cachedInput,
                output: example.output,
                reasoning: example.reasoning
            )
            #expect(cost?.amount.description ?? "unpriced" == example.cost, "\(example.name)")
        }
    }
}
