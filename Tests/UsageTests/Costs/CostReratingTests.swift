import BillingCore
import Catalog
import Postgres
import TestSupport
import Testing
import Web

@testable import Usage

/// What was unpriced is rated once the price book or the exchange rates have something to say.
@Suite(.timeLimit(.minutes(15))) struct CostReratingTests {
    @Test("a price added later rates what was unpriced, reaches the counters, and changes nothing that had a price")
    func laterPrice() async throws {
        try await TestServer.run { server in
            try await server.arrangeCosts()
            try await server.ingest(
                .call("a", input: 10, output: 1, time: "2026-11-20T10:00:00Z"),
                .call("b", input: 10, output: 1),
                .call("c", model: "gpt-4o-mini", output: 1)
            )
            #expect(try await server.unpriced() == ["price gpt-4o 2", "price gpt-4o-mini 1"])
            #expect(try await server.counted("tokens") == "0 0")
            try await server.price("output", "1")
            #expect(try await server.rateUnpriced() == 0, "the input has no price yet")
            try await server.price("input", "0.1", from: "2026-11-21T00:00:00Z")
            #expect(try await Self.isRated(server) { $0["b"] == "2" })
            #expect(try await server.providerCosts() == ["a": "-", "b": "2", "c": "-"])
            try await server.price("input", "0.2")
            #expect(try await Self.isRated(server) { $0["a"] == "3" })
            #expect(try await server.providerCosts() == ["a": "3", "b": "2", "c": "-"])
            #expect(try await server.counted("tokens") == "5 6")
            #expect(try await server.counted("output") == "2 2")
            #expect(try await server.unpriced() == ["price gpt-4o-mini 1"])
            #expect(try await server.differences() == [])
            _ = try await server.void("a")
            #expect(try await server.counted("tokens") == "2 2.4")
            #expect(try await server.differences() == [])
        }
    }

    @Test("without an exchange rate a cost is known but not charged; the rate of the event's time brings it in")
    func laterRate() async throws {
        try await TestServer.run { server in
            try await server.arrangeCosts(currency: "EUR")
            try await server.price("output", "0.01")
            let report = try await server.ingest(.call("a", output: 100), .call("b", model: "new", output: 100))
            #expect(report == "accepted 2, unpriced 2")
            #expect(try await server.providerCosts() == ["a": "1", "b": "-"])
            #expect(try await server.unpriced() == ["fx_rate gpt-4o 1", "price new 1"])
            #expect(try await server.counted("tokens") == "0 0")
            #expect(try await server.differences() == [])
            // A price first, which still lacks the rate.
            try await server.price("output", "0.02", model: "new")
            #expect(try await Self.isRated(server) { $0["b"] == "2" })
            #expect(try await server.unpriced() == ["fx_rate gpt-4o 1", "fx_rate new 1"])
            #expect(try await server.counted("tokens") == "0 0")
            try await server.rate("0.5", to: "EUR", from: "2026-11-24T00:00:00Z")
            #expect(try await server.rateUnpriced() == 0, "that rate is not of the events' time")
            try await server.rate("0.9", to: "EUR")
            try await server.rateUnpriced()
            #expect(try await eventually { try await server.unpriced() == [] })
            #expect(try await server.counted("tokens") == "2.7 3.24")
            try await server.ingest(.call("c", output: 100))
            #expect(try await server.counted("tokens") == "3.6 4.32")
            #expect(try await server.differences() == [])
            _ = try await server.void("b")
            #expect(try await server.counted("tokens") == "1.8 2.16")
            #expect(try await server.differences() == [])
            let rates = try await server.ask("GET", "/fx-rates")["data"]?.elements ?? []
            #expect(rates.map { $0["used"] } == [.bool(true), .bool(false)])
        }
    }

    @Test("a cost that is found after the period's invoice was final asks for an adjustment")
    func lateCost() async throws {
        try await TestServer.run { server in
            try await server.arrangeCosts()
            try await server.ingest(.call("a", output: 1))
            try await server.database.run("UPDATE billing_period SET status = 'final'")
            server.clock.advance(seconds: 15 * 86_400)
            try await server.price("output", "1")
            #expect(try await Self.isRated(server) { $0["a"] == "1" })
            let marked = try await server.column("SELECT needs_adjustment::text FROM billing_period WHERE segment = 0")
            #expect(marked.contains("true"))
        }
    }

    @Test("a subscription that begins after its usage is charged the costs of then")
    func earlierUsage() async throws {
        try await TestServer.run { server in
            try await server.arrangeCosts()
            try await server.addTenant("beta")
            try await server.price("output", "0.5")
            try await server.ingest(.call("a", output: 2, subject: "beta"))
            try await server.price("output", "9", from: "2026-11-02T00:00:00Z")
            try await server.subscribe("beta", at: "2026-11-01T00:00:00Z")
            #expect(try await server.invoiced("beta") == ["tokens 2 = 1.20", "output 2 = 1.00"])
            #expect(try await server.differences() == [])
        }
    }

    @Test("two workers at once, and one that is killed between pages, rate each event once")
    func concurrentWorkers() async throws {
        try await TestServer.run { server in
            try await server.arrangeCosts()
            for batch in 0..<5 {
                let events = (0..<500).map { SentEvent.call("e\(batch)-\($0)", output: 1) }
                try await server.post(events).expecting(200)
            }
            try await server.price("output", "0.25")
            // Killed: one page is rated, and nobody says that it was tried.
            try await server.withPool { pool in
                let catalog = Catalog(pool: pool, clock: server.clock.clock)
                try await catalog.reload()
                let tenant = try #require(try await catalog.tenant(key: "acme"))
                let key = UnpricedKey(
                    tenant: tenant.id,
                    reason: .price,
                    provider: "openai",
                    model: "gpt-4o",
                    dayStart: try Instant(parsing: "2026-11-23T00:00:00Z")
                )
                let rerating = CostRerating(
                    key: key,
                    catalog: catalog,
                    pool: pool,
                    policy: CostPolicy(),
                    limits: LimitPolicy(operatorZone: .utc, ids: .random(server.clock.clock)),
                    priceSets: PriceSets(),
                    clock: server.clock.clock
                )
                let rating = Task { try await rerating.run() }
                rating.cancel()
                _ = try? await rating.value
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<3 {
                    group.addTask { try await server.rateUnpriced() }
                }
                group.addTask {
                    for number in 0..<20 { try await server.ingest(.call("late\(number)", output: 1)) }
                }
                try await group.waitForAll()
            }
            #expect(try await eventually(within: .seconds(30)) { try await server.unpriced() == [] })
            #expect(try await server.counted("tokens") == "630 756")
            #expect(try await server.differences() == [])
        }
    }

    @Test("what can't be rated now is tried again, and keeps nothing else waiting")
    func oneModelsTrouble() async throws {
        try await TestServer.run { server in
            try await server.arrangeCosts()
            try await server.ingest(.call("a", model: "gpt-4", output: 1), .call("b", model: "gpt-5", output: 1))
            try await server.database.run(
                """
                CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN RAISE 'not this one'; END
                $$;
                CREATE TRIGGER refused BEFORE UPDATE ON usage_event FOR EACH ROW WHEN (new.model = 'gpt-4')
                EXECUTE FUNCTION refuse()
                """
            )
            try await server.price("output", "1", model: "gpt-4")
            try await server.price("output", "1", model: "gpt-5")
            await #expect(throws: PostgresError.self) { try await server.rateUnpriced() }
            #expect(try await eventually { try await server.providerCosts()["b"] == "1" })
            #expect(try await server.unpriced() == ["price gpt-4 1"])
            try await server.database.run("DROP TRIGGER refused ON usage_event")
            try await server.rateUnpriced()
            #expect(try await Self.isRated(server) { $0["a"] == "1" })
            #expect(try await server.differences() == [])
        }
    }

    @Test("usage that is stored by older prices while new ones come is rated all the same")
    func storedMeanwhile() async throws {
        try await TestServer.run { server in
            try await server.arrangeCosts()
            try await server.ingest(.call("later", output: 1, time: "2026-11-20T10:00:00Z"))
            var (storing, rating): (Task<String, any Error>?, Task<Int, any Error>?)
            try await server.whileLocked("usage_counter") {
                storing = Task { try await server.ingest(.call("earlier", output: 1, time: "2026-11-20T09:00:00Z")) }
                // It has the ledger by then, and has looked which prices are in force.
                let isStoring = try await server.comesToWait(on: "usage_counter")
                try await server.price("output", "1")
                rating = Task { try await server.rateUnpriced() }
                let isRating = try await server.somebodyWaitsForAnother()
                #expect(isStoring && isRating)
            }
            // Where the machine is so slow that it was given up, it is sent again.
            _ = try? await storing?.value
            try await server.ingest(.call("earlier", output: 1, time: "2026-11-20T09:00:00Z"))
            _ = try await rating?.value
            #expect(try await eventually { try await server.providerCosts() == ["earlier": "1", "later": "1"] })
            #expect(try await server.differences() == [])
        }
    }

    @Test("whatever order events, voids, prices, rates and subscriptions come in, verify finds nothing")
    func randomOrder() async throws {
        for seed in 1...3 {
            try await TestServer.run { server in
                try await server.arrangeCosts(currency: seed == 2 ? "EUR" : "USD")
                var random = SeededGenerator(seed: UInt64(seed))
                var sent: [String] = []
                for step in 0..<60 {
                    try await Self.act(step, &sent, server, &random)
                }
                try await server.rateUnpriced()
                #expect(try await server.differences() == [], "seed \(seed)")
                let listed = try await server.column("SELECT coalesce(sum(event_count), 0)::text FROM unpriced_usage")
                let unpriced = try await server.column(
                    """
                    SELECT count(*)::text FROM usage_event AS event
                    JOIN tenant USING (tenant_id)
                    LEFT JOIN price_set USING (price_set_id)
                    WHERE reversal_of IS NULL AND event_type = 'chat'
                        AND (price_set_id IS NULL OR (price_set.currency <> tenant.currency AND fx_rate_id IS NULL))
                        AND NOT EXISTS (SELECT FROM usage_event AS reversal
                            WHERE reversal.tenant_id = event.tenant_id AND reversal.reversal_of = event.event_key)
                    """
                )
                #expect(listed == unpriced, "seed \(seed)")
            }
        }
    }

    private static func act(
        _ step: Int,
        _ sent: inout [String],
        _ server: TestServer,
        _ random: inout SeededGenerator
    ) async throws {
        let models = ["gpt-4o", "gpt-4o-mini", "o3"]
        let model = models[Int.random(in: 0..<3, using: &random)]
        switch Int.random(in: 0..<10, using: &random) {
        case 0:
            let names = ["input", "output", "cached_input", "reasoning"]
            let name = names[Int.random(in: 0..<4, using: &random)]
            let day = Int.random(in: 1...9, using: &random)
            let start = "2026-11-0\(day)T00:00:00.\(100 + step)Z"
            try await server.price(name, "0.\(Int.random(in: 1...999, using: &random))", model: model, from: start)
        case 1:
            let day = Int.random(in: 10...19, using: &random)
            try await server.rate("0.\(80 + step % 20)", to: "EUR", from: "2026-11-\(day)T00:00:00.\(100 + step)Z")
        case 2:
            if let id = sent.randomElement(using: &random) { _ = try await server.void(id) }
        case 3:
            try await server.rateUnpriced()
        default:
            let input = Int.random(in: 0...50, using: &random)
            let day = Int.random(in: 1...23, using: &random)
            let event = SentEvent.call(
                "e\(step)",
                model: model,
                input: input,
                cached: Bool.random(using: &random) ? 0 : Int.random(in: 0...input, using: &random),
                output: Int.random(in: 0...20, using: &random),
                time: day < 10 ? "2026-11-0\(day)T07:00:00Z" : "2026-11-\(day)T07:00:00Z"
            )
            try await server.ingest(event)
            sent.append(event.id)
        }
    }

    /// Rates and waits: the service's own worker may be at it at the same time.
    private static func isRated(
        _ server: TestServer,
        _ condition: ([String: String]) -> Bool
    ) async throws -> Bool {
        try await server.rateUnpriced()
        return try await eventually { condition(try await server.providerCosts()) }
    }
}
