import BillingCore
import TestSupport
import Testing

/// Thousands of random price books and calls, against a rating that is written the obvious way.
@Suite struct ProviderCostPropertyTests {
    private static let caseCount = 5_000

    @Test func `a cost is what the naive rating gives, and none where that gives none`() throws {
        var random = SeededGenerator(seed: 0x7475_726E)
        var priced = 0
        for number in 0..<Self.caseCount {
            let entries = try Self.entries(&random)
            let call = RandomCall(&random)
            let cost = try PriceBook(entries.shuffled(using: &random)).cost(of: call)
            let naive = try NaiveRating(entries: entries, call: call).amount()
            #expect(cost?.amount == naive, "case \(number)")
            guard let cost else { continue }
            priced += 1
            let sum = try cost.parts.reduce(FixedDecimal.zero) { try $0.adding($1.amount) }
            #expect(sum == cost.amount, "case \(number): the parts add up")
            let tokens = try cost.parts.reduce(FixedDecimal.zero) { try $0.adding($1.quantity) }
            #expect(tokens == FixedDecimal(call.input + call.output), "case \(number): every token is rated once")
        }
        #expect(priced > Self.caseCount / 10 && priced < Self.caseCount)
    }

    @Test func `a call split in two costs the same when no threshold lies between`() throws {
        var random = SeededGenerator(seed: 0x7372_6176)
        let book = try PriceBook(CostComponent.tokenClasses.map { try .sample($0, "0.000000000007") })
        for _ in 0..<Self.caseCount {
            let (first, second) = (RandomCall(&random), RandomCall(&random))
            let parts = try [first, second].map { try #require(try book.cost(of: $0)).amount }
            let whole = try #require(try book.cost(of: first.merged(with: second))).amount
            #expect(try parts[0].adding(parts[1]) == whole)
        }
    }

    private static func entries(_ random: inout SeededGenerator) throws -> [ProviderPrice] {
        let models = ["gpt-4o", "gpt-4o*", "gpt*", "*"]
        let starts = ["2026-01-01T00:00:00Z", "2026-06-01T00:00:00Z", "2026-12-01T00:00:00Z"]
        var rates: Set<String> = []
        var entries: [ProviderPrice] = []
        for _ in 0..<Int.random(in: 1...24, using: &random) {
            let component = CostComponent.tokenClasses[Int.random(in: 0..<5, using: &random)]
            let model = models[Int.random(in: 0..<4, using: &random)]
            let threshold: Int64 = [0, 0, 500][Int.random(in: 0..<3, using: &random)]
            let start = starts[Int.random(in: 0..<3, using: &random)]
            let provider = Bool.random(using: &random) ? "openai" : "*"
            let key = "\(component) \(model) \(threshold) \(start) \(provider)"
            guard rates.insert(key).inserted else { continue }
            entries.append(
                try .sample(
                    component,
                    "0.\(Int.random(in: 1...999_999, using: &random))",
                    provider: provider,
                    model: model,
                    above: threshold,
                    from: start,
                    version: Int64.random(in: 1...12, using: &random)
                )
            )
        }
        return entries
    }
}

private struct RandomCall {
    var uncached, cached, write, plain, reasoning: Int64

    init(_ random: inout SeededGenerator) {
        func count() -> Int64 { Bool.random(using: &random) ? 0 : Int64.random(in: 1...400, using: &random) }
        (uncached, cached, write, plain, reasoning) = (count(), count(), count(), count(), count())
    }

    var input: Int64 { uncached + cached + write }
    var output: Int64 { plain + reasoning }

    func merged(with other: RandomCall) -> RandomCall {
        var sum = self
        sum.uncached += other.uncached
        sum.cached += other.cached
        sum.write += other.write
        sum.plain += other.plain
        sum.reasoning += other.reasoning
        return sum
    }
}

extension PriceBook {
    fileprivate func cost(of call: RandomCall) throws -> ProviderCost? {
        try cost(
            input: call.input,
            cached: call.cached,
            write: call.write,
            output: call.output,
            reasoning: call.reasoning
        )
    }
}

/// Sorts all entries by how well they fit instead of looking them up.
private struct NaiveRating {
    let entries: [ProviderPrice]
    let call: RandomCall

    func amount() throws -> FixedDecimal? {
        var total = FixedDecimal.zero
        let quantities: [(CostComponent, Int64)] = [
            (.input, call.uncached), (.cachedInput, call.cached), (.cacheWrite, call.write), (.output, call.plain),
            (.reasoning, call.reasoning),
        ]
        for (component, quantity) in quantities where quantity > 0 {
            guard let price = try price(component) else { return nil }
            total = try total.adding(
                FixedDecimal(quantity).multiplied(by: price.unitAmount).rounded(toDigits: 12)
            )
        }
        return entries.isEmpty ? nil : total
    }

    private func price(_ component: CostComponent) throws -> ProviderPrice? {
        let time = try Instant(parsing: "2026-11-23T00:00:00Z")
        let fitting = entries.filter { entry in
            (entry.rate.component == component || (component == .reasoning && entry.rate.component == .output))
                && entry.effectiveFrom <= time && entry.createdVersion <= 9
                && (entry.rate.aboveInputTokens == 0 || call.input > entry.rate.aboveInputTokens)
        }
        return fitting.max { left, right in rank(left, component).lexicographicallyPrecedes(rank(right, component)) }
    }

    private func rank(_ entry: ProviderPrice, _ component: CostComponent) -> [Int64] {
        [
            entry.rate.provider == "*" ? 0 : 1,
            entry.rate.model.text.hasSuffix("*") ? Int64(entry.rate.model.text.utf8.count) : 1_000,
            entry.rate.component == component ? 1 : 0,
            entry.rate.aboveInputTokens,
            entry.effectiveFrom.microseconds,
        ]
    }
}
