import BillingCore
import Testing

@Suite struct ProviderCostTests {
    @Test func `each class of tokens costs its own price, and the parts add up to the cost`() throws {
        let book = try PriceBook([
            .sample(.input, "0.0000025"), .sample(.cachedInput, "0.00000125"), .sample(.cacheWrite, "0.000003"),
            .sample(.output, "0.00001"), .sample(.reasoning, "0.00002"),
        ])
        let cost = try #require(try book.cost(input: 1_200, cached: 1_000, write: 50, output: 300, reasoning: 120))
        #expect(cost.parts.map(\.component) == [.input, .cachedInput, .cacheWrite, .output, .reasoning])
        #expect(cost.parts.map(\.amount.description) == ["0.000375", "0.00125", "0.00015", "0.0018", "0.0024"])
        #expect(cost.amount.description == "0.005975")
        #expect(cost.prices.count == 5 && cost.currency == .usd)
    }

    @Test(
        arguments: [
            (1_200, "31.86"), (1_000, "31"), (600, "27"), (500, "25"), (100, "5"),
        ] as [(Int64, String)]
    )
    func `fewer output tokens cost what the dearest of those that were asked for do`(_ count: Int64, _ cost: String)
        throws
    {
        let book = try PriceBook([
            .sample(.output, "0.0005"), .sample(.outputAudio, "0.01"), .sample(.outputImage, "0.05"),
            .sample(.reasoning, "0.02"),
        ])
        let whole = try TokenClasses(input: 0, cachedInput: 0, cacheWrite: 0, output: 1_200, reasoning: 100)
        let fewer = try book.cost(
            output: count,
            reasoning: min(100, count),
            data: [.outputAudio: "480", .outputImage: "500"],
            shortenedFrom: whole
        )
        #expect(fewer?.amount.description == cost)
    }

    @Test func `a million million tokens are rated exactly`() throws {
        let book = try PriceBook([.sample(.input, "0.000000025")])
        #expect(try book.cost(input: 1_000_000_000_000)?.amount.description == "25000")
    }

    @Test(
        arguments: [
            (CostComponent.input, [1, 0, 0, 0, 0]), (.cachedInput, [1, 1, 0, 0, 0]), (.cacheWrite, [1, 0, 1, 0, 0]),
            (.output, [0, 0, 0, 1, 0]),
        ] as [(CostComponent, [Int64])]
    )
    func `tokens of a class without a price leave the call unpriced`(missing: CostComponent, counts: [Int64]) throws {
        let others = try CostComponent.tokenClasses.filter { $0 != missing && $0 != .reasoning }
            .map { try ProviderPrice.sample($0, "1") }
        let unpriced = try PriceBook(others).cost(
            input: counts[0],
            cached: counts[1],
            write: counts[2],
            output: counts[3],
            reasoning: counts[4]
        )
        #expect(unpriced == nil)
    }

    @Test func `reasoning costs what output costs unless it has a price, also where a pattern has one`() throws {
        let shared = try ProviderPrice.sample(.reasoning, "7", model: "gpt*")
        let book = try PriceBook([.sample(.output, "2"), shared])
        #expect(try book.cost(output: 3, reasoning: 1)?.amount.description == "6")
        let priced = try PriceBook([.sample(.output, "2"), .sample(.reasoning, "5"), shared])
        #expect(try priced.cost(output: 3, reasoning: 1)?.amount.description == "9")
    }

    @Test func `the model's own price goes before patterns, and of these the longest`() throws {
        let entries = try [
            ProviderPrice.sample(.input, "1", model: "*"), .sample(.input, "2", model: "gpt-*"),
            .sample(.input, "3", model: "gpt-4o*"), .sample(.input, "4", model: "gpt-4o"),
            .sample(.input, "5", provider: "*", model: "mistral"),
        ]
        let book = PriceBook(entries)
        for (model, expected) in [
            ("gpt-4o", "4"), ("gpt-4o-mini", "3"), ("gpt-5", "2"), ("o3", "1"), ("mistral", "1"),
        ] {
            #expect(try book.cost(model: model, input: 1)?.amount.description == expected, "\(model)")
        }
        #expect(try book.cost(provider: "groq", model: "mistral", input: 1)?.amount.description == "5")
        #expect(try book.cost(provider: nil, model: "mistral", input: 1)?.amount.description == "5")
        #expect(try book.cost(provider: nil, model: "openai/gpt-4o", input: 1)?.amount.description == "4")
        #expect(try book.cost(provider: nil, model: "gpt-4o", input: 1) == nil)
        #expect(try book.cost(provider: "groq", model: "gpt-4o", input: 1) == nil)
    }

    @Test func `the price in force at the call's time counts, as far as the version knows it`() throws {
        let book = try PriceBook([
            .sample(.input, "1", from: "2026-01-01T00:00:00Z"),
            .sample(.input, "2", from: "2026-02-01T00:00:00Z", version: 5),
        ])
        for (time, version, expected) in [
            ("2025-12-31T23:59:59.999999Z", Int64(9), nil), ("2026-01-01T00:00:00Z", 9, "1"),
            ("2026-01-31T23:59:59.999999Z", 9, "1"), ("2026-02-01T00:00:00Z", 9, "2"),
            ("2026-02-01T00:00:00Z", 4, "1"),
        ] {
            let cost = try book.cost(input: 1, time: time, version: version)
            #expect(cost?.amount.description == expected, "\(time) at \(version)")
        }
    }

    @Test func `a context above the threshold takes the tier's price for the whole call`() throws {
        let book = try PriceBook([
            .sample(.input, "1"), .sample(.input, "2", above: 200_000), .sample(.output, "3"),
            .sample(.output, "4", above: 200_000), .sample(.cachedInput, "0.5"),
        ])
        #expect(try book.cost(input: 200_000, output: 1)?.amount.description == "200003")
        #expect(try book.cost(input: 200_001, cached: 200_000, output: 1)?.amount.description == "100006")
    }

    @Test func `audio is told apart only where the model has a price for it`() throws {
        let text = try PriceBook([.sample(.input, "1"), .sample(.output, "2")])
        #expect(try text.cost(input: 10, output: 1, data: [.inputAudio: "4"])?.amount.description == "12")
        let audio = try PriceBook([.sample(.input, "1"), .sample(.output, "2"), .sample(.inputAudio, "10")])
        let cost = try #require(try audio.cost(input: 10, output: 1, data: [.inputAudio: "4"]))
        #expect(cost.amount.description == "48")
        #expect(cost.parts.map(\.component) == [.input, .output, .inputAudio])
        #expect(try audio.cost(input: 3, data: [.inputAudio: "4"]) == nil)
    }

    @Test func `units are read from the data, requests count one, and nothing stated is not free`() throws {
        let images = try PriceBook([.sample(.outputImages, "0.04")])
        #expect(try images.cost(tokens: false, data: [.outputImages: "3"])?.amount.description == "0.12")
        #expect(try images.cost(tokens: false) == nil)
        #expect(try images.cost(tokens: false, data: [.outputImages: "-1"]) == nil)
        let requests = try PriceBook([.sample(.request, "0.005"), .sample(.inputSeconds, "0.000000000001")])
        #expect(try requests.cost(tokens: false)?.amount.description == "0.005")
        #expect(try requests.cost(tokens: false, data: [.inputSeconds: "0.5"])?.amount.description == "0.005000000001")
    }

    @Test func `no tokens cost nothing, by no price`() throws {
        let cost = try #require(try PriceBook([.sample(.input, "1")]).cost(input: 0, output: 0))
        #expect(cost.amount == .zero && cost.prices.isEmpty && cost.currency == nil)
    }

    @Test func `prices in two currencies cannot be one cost`() throws {
        let book = try PriceBook([.sample(.input, "1"), .sample(.output, "1", currency: .eur)])
        #expect(try book.cost(input: 1, output: 1) == nil)
        #expect(try book.cost(output: 1)?.currency == .eur)
    }

    @Test func `a rate converts from its start until the next one, and never backwards`() throws {
        func rate(_ number: String, _ time: String) throws -> FXRate {
            try FXRate(
                id: FXRateID(rawValue: .init(milliseconds: 1, random: (UInt16(number.utf8.count), 0))),
                from: .usd,
                to: .eur,
                rate: FixedDecimal(parsing: number),
                effectiveFrom: Instant(parsing: time)
            )
        }
        let rates = FXRates([
            try rate("0.9", "2026-01-01T00:00:00Z"), try rate("0.333333333333", "2026-02-01T00:00:00Z"),
        ])
        func found(_ time: String) throws -> String? {
            try rates.rate(from: .usd, to: .eur, at: Instant(parsing: time))?.rate.description
        }
        #expect(try found("2025-12-31T00:00:00Z") == nil)
        #expect(try found("2026-01-31T23:59:59Z") == "0.9")
        #expect(try found("2026-02-01T00:00:00Z") == "0.333333333333")
        #expect(try rates.rate(from: .eur, to: .usd, at: Instant(parsing: "2026-03-01T00:00:00Z")) == nil)
        let later = try #require(try rates.rate(from: .usd, to: .eur, at: Instant(parsing: "2026-03-01T00:00:00Z")))
        #expect(try later.convert(FixedDecimal(parsing: "0.000000000005")).description == "0.000000000002")
    }

    @Test func `names that look the same and are written otherwise have prices of their own`() throws {
        let names = ["mod\u{E8}le", "mode\u{300}le"]
        let book = PriceBook(
            try names.flatMap { name in
                [try .sample(.input, "1", model: name), try .sample(.input, "1", provider: name, model: "m")]
            }
        )
        for (provider, model) in [("openai", names), (names[0], ["m"]), (names[1], ["m"])] {
            for model in model { #expect(book.candidates(provider: provider, model: model).count == 1) }
        }
        let found = names.map { book.candidates(provider: "openai", model: $0).first }
        #expect(found[0] !== found[1])
        #expect(ModelPattern(names[0])?.matches(names[1]) == false)
    }

    @Test func `patterns have their star at the end`() {
        #expect(ModelPattern("gpt-*-mini") == nil && ModelPattern("") == nil && ModelPattern("**") == nil)
        #expect(ModelPattern("*")?.text == "*" && ModelPattern("gpt-4o*")?.text == "gpt-4o*")
    }
}

extension ProviderPrice {
    /// An entry of `openai` for `gpt-4o`, unless told otherwise. Its id is its own.
    static func sample(
        _ component: CostComponent,
        _ amount: String,
        provider: String = "openai",
        model: String = "gpt-4o",
        above threshold: Int64 = 0,
        from start: String = "2026-01-01T00:00:00Z",
        currency: Currency = .usd,
        version: Int64 = 1
    ) throws -> ProviderPrice {
        let rate = Rate(
            provider: provider,
            model: try #require(ModelPattern(model)),
            component: component,
            aboveInputTokens: threshold
        )
        return ProviderPrice(
            id: PriceID(
                rawValue: UUIDv7(
                    milliseconds: try Instant(parsing: start).microseconds / 1_000,
                    random: (UInt16(component.rawValue), UInt64(bitPattern: Int64(rate.hashValue)))
                )
            ),
            rate: rate,
            unitAmount: try FixedDecimal(parsing: amount),
            currency: currency,
            effectiveFrom: try Instant(parsing: start),
            createdVersion: version
        )
    }
}

extension PriceBook {
    func cost(
        provider: String? = "openai",
        model: String = "gpt-4o",
        tokens: Bool = true,
        input: Int64 = 0,
        cached: Int64 = 0,
        write: Int64 = 0,
        output: Int64 = 0,
        reasoning: Int64 = 0,
        data: [CostComponent: String] = [:],
        time: String = "2026-11-23T00:00:00Z",
        version: Int64 = 9,
        shortenedFrom whole: TokenClasses? = nil
    ) throws -> ProviderCost? {
        let classes = try TokenClasses(
            input: input,
            cachedInput: cached,
            cacheWrite: write,
            output: output,
            reasoning: reasoning
        )
        let call = ModelCall(
            tokens: tokens ? classes : nil,
            time: try Instant(parsing: time),
            version: version,
            shortenedFrom: whole
        )
        return ProviderCost(of: call, by: candidates(provider: provider, model: model)) { component in
            data[component].flatMap { try? FixedDecimal(parsing: $0) }
        }
    }
}
