import BillingCore
import Foundation
import Postgres
import TestSupport
import Testing
import Web

@testable import Catalog

@Suite struct LiteLLMPricesTests {
    /// Written for this test; the fields are those that LiteLLM uses.
    private static let sample = """
        {
          "sample_spec": {"litellm_provider": "one of many", "input_cost_per_token": 0.0},
          "small-model": {
            "litellm_provider": "openai", "mode": "chat", "max_tokens": 1000, "supports_vision": true,
            "input_cost_per_token": 1.5e-07, "output_cost_per_token": 6E-7, "cache_read_input_token_cost": 7.5e-08,
            "output_cost_per_reasoning_token": 0.0000007, "input_cost_per_token_batches": 7.5e-08,
            "search_context_cost_per_query": {"search_context_size_low": 0.01}
          },
          "anthropic/large-model": {
            "litellm_provider": "anthropic", "input_cost_per_token": 3e-06, "cache_creation_input_token_cost": 3.75e-06,
            "cache_creation_input_token_cost_above_1hr": 6e-06, "input_cost_per_token_above_200k_tokens": 6e-06,
            "input_cost_per_audio_token": 1e-05, "output_cost_per_image": 0.04
          },
          "vertex_ai/tiered": {
            "litellm_provider": "vertex_ai-language-models",
            "tiered_pricing": [
              {"range": [0, 32000.0], "input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06},
              {"range": [32000.0, 128000.0], "input_cost_per_token": 3e-06, "output_cost_per_token_flex": 1e-06}
            ]
          },
          "fine": {"litellm_provider": "openai", "input_cost_per_token": 1.5000020000000002e-05,
                   "output_cost_per_token": -1e-06, "input_cost_per_second": "free"},
          "openai/fine": {"litellm_provider": "openai", "input_cost_per_request": 0.005},
          "nobody": {"mode": "chat", "input_cost_per_token": 1},
          "bedrock/*/commitment": {"litellm_provider": "bedrock", "input_cost_per_token": 1}
        }
        """

    @Test func `prices are read digit by digit, with their thresholds`() throws {
        let prices = try LiteLLMPrices(parsing: Array(Self.sample.utf8), selection: .all)
        #expect(
            prices.quotes.map(\.text) == [
                "openai small-model input 0.00000015", "openai small-model output 0.0000006",
                "openai small-model cached_input 0.000000075", "openai small-model reasoning 0.0000007",
                "anthropic large-model input 0.000003", "anthropic large-model cache_write 0.00000375",
                "anthropic large-model input>200000 0.000006", "anthropic large-model input_audio 0.00001",
                "anthropic large-model output_images 0.04",
                "vertex_ai tiered input 0.000001", "vertex_ai tiered output 0.000002",
                "vertex_ai tiered input>32000 0.000003", "openai fine request 0.005",
            ]
        )
        #expect(prices.modelCount == 5)
    }

    @Test func `what cannot be taken over is named with its reason`() throws {
        let prices = try LiteLLMPrices(parsing: Array(Self.sample.utf8), selection: .all)
        #expect(
            prices.skipped.map { "\($0.model) \($0.field ?? "-"): \($0.reason)" } == [
                "small-model input_cost_per_token_batches: a price of a service tier, which events don't tell",
                "small-model search_context_cost_per_query: not a unit that events tell",
                "anthropic/large-model cache_creation_input_token_cost_above_1hr: a price by the life of a cache "
                    + "entry, which events don't tell",
                "vertex_ai/tiered tiered_pricing.output_cost_per_token_flex: a price of a service tier, which events "
                    + "don't tell",
                "fine input_cost_per_token: 1.5000020000000002e-05 has 21 digits after the point; a price has at most "
                    + "12",
                "fine output_cost_per_token: -1e-06 is negative",
                "fine input_cost_per_second: a string, not a number",
                "nobody -: it names no provider",
                "bedrock/*/commitment -: its name is no model's, nor the beginning of one with a trailing *",
            ]
        )
    }

    @Test func `of entries that contradict each other none is taken over`() throws {
        let file = """
            {"gpt": {"litellm_provider": "openai", "input_cost_per_token": 1, "output_cost_per_token": 2},
             "openai/gpt": {"litellm_provider": "openai", "input_cost_per_token": 3, "output_cost_per_token": 2}}
            """
        let prices = try LiteLLMPrices(parsing: Array(file.utf8), selection: .all)
        #expect(prices.quotes.map(\.text) == ["openai gpt output 2"])
        #expect(
            prices.skipped.map { "\($0.model) \($0.field ?? "-"): \($0.reason)" } == [
                "gpt input_cost_per_token: another entry of the same model says 3, not 1",
                "openai/gpt input_cost_per_token: another entry of the same model says 1, not 3",
            ]
        )
    }

    @Test func `providers are chosen and renamed, and fine prices are rounded on request`() throws {
        let selection = try #require(ProviderSelection(["openai=azure.openai", "anthropic=*"]))
        let prices = try LiteLLMPrices(parsing: Array(Self.sample.utf8), selection: selection, rounding: true)
        #expect(Set(prices.quotes.map(\.rate.provider)) == ["azure.openai", "*"])
        #expect(prices.quotes.map(\.text).contains("azure.openai fine input 0.00001500002"))
        #expect(ProviderSelection(["=x"]) == nil && ProviderSelection(["x="]) == nil)
    }

    @Test(arguments: ["[]", "{}", #"{"a": 1}"#, "{"])
    func `another file is refused`(text: String) {
        #expect(throws: (any Error).self) { try LiteLLMPrices(parsing: Array(text.utf8), selection: .all) }
    }

    @Test(
        "LiteLLM's own table is taken over whole, twice without a difference, and a change of one price is one change",
        .enabled(if: LiteLLMTable.bytes != nil, "LiteLLM is not installed"),
        .timeLimit(.minutes(15))
    )
    func importsTheRealTable() async throws {
        let bytes = try #require(LiteLLMTable.bytes)
        let prices = try LiteLLMPrices(parsing: bytes, selection: .all)
        #expect(prices.modelCount > 1_000 && prices.quotes.count > 5_000)
        try await CatalogFixture.run { fixture in
            let importing = PriceImport(pool: fixture.pool, clock: fixture.clock.clock, ids: .random(.system))
            let start = try Instant(parsing: "2026-01-01T00:00:00Z")
            let planned = try await importing.plan(prices.quotes, effectiveFrom: start)
            #expect(try await fixture.count("SELECT count(*) FROM price_book") == 0, "a comparison writes nothing")
            let first = try await importing.apply(prices.quotes, effectiveFrom: start) { _, _ in }
            #expect(first.newCount == prices.quotes.count && planned.newCount == first.newCount)
            #expect(try await fixture.count("SELECT count(*) FROM price_book") == prices.quotes.count)

            try await fixture.catalog.reload()
            let version = fixture.catalog.current.version
            let later = start.adding(seconds: 86_400)
            let second = try await importing.apply(prices.quotes, effectiveFrom: later) { _, _ in }
            #expect(second.changes.isEmpty && second.unchangedCount == prices.quotes.count)
            try await fixture.catalog.reload()
            #expect(fixture.catalog.current.version == version, "nothing changed, so nobody has to read again")

            var quotes = prices.quotes
            quotes[0] = .init(rate: quotes[0].rate, unitAmount: try FixedDecimal(parsing: "123"))
            let third = try await importing.apply(quotes, effectiveFrom: later) { _, _ in }
            #expect(third.changes.count == 1 && third.changes[0].previous == prices.quotes[0].unitAmount)
            let again = try await importing.apply(prices.quotes, effectiveFrom: later) { _, _ in }
            #expect(again.changes.isEmpty && again.refused.count == 1)
            #expect(try await fixture.count("SELECT count(*) FROM price_book") == prices.quotes.count + 1)
            #expect(try await fixture.count("SELECT count(*) FROM audit_log WHERE action = 'price_book.imported'") == 2)
        }
    }

    @Test func `the read model has the book as of its version, and keeps it while it does not change`() async throws {
        try await CatalogFixture.run { fixture in
            let prices = try LiteLLMPrices(parsing: Array(Self.sample.utf8), selection: .all)
            try await fixture.catalog.reload()
            #expect(fixture.catalog.current.costs.prices.count == 0)
            let importing = PriceImport(pool: fixture.pool, clock: fixture.clock.clock, ids: .random(.system))
            _ = try await importing.apply(prices.quotes, effectiveFrom: fixture.clock.now) { _, _ in }
            try await fixture.catalog.reload()
            let read = fixture.catalog.current
            #expect(read.costs.prices.count == prices.quotes.count && read.costs.version == read.version)
            let bumped = try await fixture.transaction { try CatalogVersion.bump(in: $0) }
            try await fixture.catalog.reload()
            #expect(fixture.catalog.current.version == bumped)
            #expect(fixture.catalog.current.costs === read.costs)
        }
    }
}

/// The table that comes with the LiteLLM of the tests' virtual environment.
enum LiteLLMTable {
    static let bytes: [UInt8]? = {
        guard let environment = TestTools.virtualEnvironment else { return nil }
        let libraries = environment.appendingPathComponent("lib")
        let names = (try? FileManager.default.contentsOfDirectory(atPath: libraries.path)) ?? []
        return names.lazy.compactMap { name -> [UInt8]? in
            let path = "\(name)/site-packages/litellm/model_prices_and_context_window_backup.json"
            return (try? Data(contentsOf: libraries.appendingPathComponent(path))).map([UInt8].init)
        }.first
    }()
}

extension CatalogFixture {
    fileprivate func count(_ statement: SQL) async throws -> Int {
        let rows = try await pool.query(.worker, statement) { row throws(PostgresError) in try row.next(Int64.self) }
        return Int(rows.first ?? 0)
    }
}

extension LiteLLMPrices.Quote {
    fileprivate var text: String {
        let above = rate.aboveInputTokens == 0 ? "" : ">\(rate.aboveInputTokens)"
        return "\(rate.provider) \(rate.model) \(rate.component.name)\(above) \(unitAmount)"
    }
}
