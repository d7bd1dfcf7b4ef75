import Postgres
import TestSupport
import Testing
import TurnpikeServer
import Web

@testable import Usage

/// Every event's provider cost is rated at ingest, kept with its prices, and counted.
@Suite(.timeLimit(.minutes(15))) struct CostRatingTests {
    @Test("an event costs what was in force at its time, and names the prices, which then stay")
    func pricesOfTheTime() async throws {
        try await TestServer.run { server in
            try await server.arrangeCosts()
            let first = try await server.price("output", "0.00001")
            try await server.price("output", "0.00002", from: "2026-11-20T00:00:00Z")
            try await server.price("input", "0.000001")
            let unused = try await server.price("reasoning", "1")
            try await server.ingest(
                .call("early", input: 1_000, output: 100, time: "2026-11-19T23:59:59.999999Z"),
                .call("late", input: 1_000, output: 100, time: "2026-11-20T00:00:00Z")
            )
            #expect(try await server.providerCosts() == ["early": "0.002", "late": "0.003"])
            #expect(try await server.counted("tokens") == "0.005 0.006")
            #expect(try await server.counted("output") == "0.003 0.003")
            for (id, used) in [(first, true), (unused, false)] {
                #expect(try await server.ask("GET", "/price-book/\(id)")["used"] == .bool(used))
            }
            try await server.ask("DELETE", "/price-book/\(first)", expecting: 409)
            #expect(try await server.column("SELECT count(*)::text FROM price_set") == ["2"])
            #expect(try await server.differences() == [])
        }
    }

    @Test("usage whose cost leaves the range of an amount is not rated, and that of others is")
    func unratable() async throws {
        try await TestServer.run { server in
            try await server.arrangeCosts()
            try await server.addTenant("beta")
            try await server.subscribe("beta", at: "2026-11-01T00:00:00Z")
            // A hundred calls of 10^24 each: more than a counter of costs can say.
            let enormous = (1...100).map { SentEvent.call("\($0)", input: 1_000_000_000_000_000) }
            _ = try await server.post(enormous).expecting(200)
            try await server.ingest(.call("c", input: 10, output: 1, subject: "beta"))
            for tokenClass in ["input", "output"] { try await server.price(tokenClass, "1000000000") }
            // One call is rated, by this worker or by the service's own, which may be first.
            #expect(try await server.rateUnpriced() <= 1)
            #expect(try await eventually { try await server.providerCosts("beta") == ["c": "11000000000"] })
            let others = try await server.providerCosts()
            #expect(others.count == 100 && Set(others.values) == ["-"])
        }
    }

    @Test("the events that a feature counted show their cost to operators, and not to tenants")
    func countedEventsShowCosts() async throws {
        try await TestServer.run { server in
            try await server.arrangeCosts()
            for tokenClass in ["input", "output"] { try await server.price(tokenClass, "0.001") }
            try await server.ingest(.call("a", input: 10, output: 5))
            let path = "/events?tenant=acme&feature=tokens"
            let operators = try await server.ask("GET", path)["data"]?[0]
            #expect(operators?["provider_cost"]?.string == "0.015" && operators?["quantity"]?.string == "15")
            let bound = try await server.client([.eventsRead], tenant: "acme")
            let tenants = try await server.ask("GET", path, as: bound)["data"]?[0]
            #expect(tenants?["quantity"]?.string == "15" && tenants?["provider_cost"]?.isNull == true)
        }
    }

    @Test("usage that is wrongly said to have no cost, or not said to, is found by verify")
    func unpricedIsVerified() async throws {
        try await TestServer.run { server in
            try await server.arrangeCosts()
            try await server.ingest(
                .call("a", model: "gpt-9", input: 7, output: 2),
                .call("b", model: "gpt-9", input: 1),
                .call("c", model: "gpt-9", input: 1)
            )
            _ = try await server.void("c")
            #expect(try await server.differences() == [])
            let subject = "tenant acme: unpriced usage of openai gpt-9, day of 2026-11-23T00:00:00.000000Z, "
            let truth = "its events give 2 events of 8 and 2 tokens"
            try await server.database.run("UPDATE unpriced_usage SET event_count = 1")
            #expect(
                try await server.differences()
                    == ["\(subject)for want of a price is 1 events of 8 and 2 tokens, \(truth)"]
            )
            try await server.database.run("DELETE FROM unpriced_usage")
            #expect(
                try await server.differences()
                    == ["\(subject)for want of a price is 0 events of 0 and 0 tokens, \(truth)"]
            )
        }
    }

    @Test("a tenant sees its events without their cost")
    func tenantsSeeNoCost() async throws {
        try await TestServer.run { server in
            try await server.arrangeCosts()
            try await server.price("output", "1")
            try await server.ingest(.call("a", output: 1))
            let own = try await server.client([.eventsRead, .catalogRead], tenant: "acme")
            let event = try await server.ask("GET", "/events", as: own)["data"]?[0]
            #expect(event?["id"]?.string == "a")
            #expect(event?["provider_cost"] == .null && event?["provider_cost_currency"] == .null)
            #expect(try await server.providerCosts() == ["a": "1"])
            try await server.ask("GET", "/unpriced-usage", expecting: 403, as: own)
        }
    }

    @Test("a call without a price is unpriced, never free, and the sender of a cost-plus feature is told")
    func unpricedIsVisible() async throws {
        try await TestServer.run { server in
            try await server.arrangeCosts()
            try await server.price("output", "0.00001")
            let report = try await server.ingest(
                .call("known", output: 10),
                .call("cached", input: 10, cached: 5, output: 10),
                .call("unknown", model: "gpt-9", input: 7),
                SentEvent("other", data: #"{"seconds":1}"#)
            )
            #expect(report == "accepted 4, unmetered 1, unpriced 2")
            let costs = ["known": "0.0001", "cached": "-", "unknown": "-", "other": "-"]
            #expect(try await server.providerCosts() == costs)
            #expect(try await server.unpriced() == ["price gpt-4o 1", "price gpt-9 1"])
            #expect(try await server.unpriced("?model=gpt-9&tenant=acme") == ["price gpt-9 1"])
            let page = try await server.ask("GET", "/unpriced-usage?limit=1")
            let shown = page["data"]?[0]
            #expect(shown?["input_tokens"]?.string == "10" && shown?["provider"]?.string == "openai")
            #expect(shown?["since"]?.string == "2026-11-23T00:00:00.000000Z" && shown?["tenants"]?.number == "1")
            let next = try #require(page["next_cursor"]?.string)
            let second = try await server.ask("GET", "/unpriced-usage?limit=1&cursor=\(next)")
            #expect(second["data"]?[0]?["model"]?.string == "gpt-9" && second["next_cursor"] == .null)
            #expect(try await server.counted("tokens") == "0.0001 0.00012")
            let metrics = try await server.anonymous.get("/metrics").text
            #expect(metrics.contains(#"turnpike_event_costs_total{outcome="unpriced"}"#))
            #expect(try await server.differences() == [])
        }
    }

    @Test("a reported cost counts where the operator trusts its source and the price book has no price")
    func reportedCosts() async throws {
        try await TestServer.run(configure: { $0.trustedCostSources = ["proxy"] }) { server in
            try await server.arrangeCosts()
            try await server.price("output", "0.00001")
            try await server.ingest(
                .call("trusted", model: "other", output: 10, source: "proxy", more: #","cost":0.25"#),
                .call("priced", output: 10, source: "proxy", more: #","cost":0.25"#),
                .call("claimed", model: "other", output: 10, more: #","cost":0.25"#)
            )
            #expect(try await server.providerCosts() == ["trusted": "0.25", "priced": "0.0001", "claimed": "-"])
            // What was reported as a whole can't be told by class.
            #expect(try await server.counted("tokens") == "0.2501 0.30012")
            #expect(try await server.counted("output") == "0.0001 0.0001")
            #expect(try await server.unpriced() == ["price other 1"])
            #expect(try await server.differences() == [])
        }
    }

    @Test("a reported cost of zero is known of each class, when it is counted and whenever it is read again")
    func reportedAsFree() async throws {
        try await TestServer.run(configure: { $0.trustedCostSources = ["proxy"] }) { server in
            try await server.arrangeCosts()
            let free = ["a", "b"].map {
                SentEvent.call($0, model: "own", output: 10, source: "proxy", more: #","cost":0"#)
            }
            try await server.post(free).expecting(200)
            #expect(try await server.counted("output") == "0 0")
            #expect(try await server.differences() == [])
            _ = try await server.void("a", source: "proxy")
            let uncosted: SQL = "SELECT DISTINCT uncosted_events::text FROM usage_counter"
            #expect(try await server.column(uncosted) == ["0"])
            #expect(try await server.differences() == [])
        }
    }

    @Test("a trusted cost of what is no call of a model counts, is converted and taken back", arguments: [false, true])
    func reportedOfATool(isConverted: Bool) async throws {
        try await TestServer.run(configure: { $0.trustedCostSources = ["proxy"] }) { server in
            let currency = isConverted ? "EUR" : "USD"
            try await server.addTenant("acme", currency: currency)
            try await server.addFeature("searches", "count", of: nil, type: "tool.search")
            let plan = #"{"charges":[{"feature":"searches","price":{"model":"cost_plus","markup_percent":"100"}}]}"#
            try await server.publish(plan, currency: currency)
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            let data = #"{"provider":"tavily","cost":"0.008"}"#
            try await server.ingest(
                SentEvent("a", source: "proxy", type: "tool.search", data: data),
                SentEvent("b", source: "proxy", type: "tool.search", data: data),
                SentEvent("claimed", type: "tool.search", data: data)
            )
            #expect(try await server.providerCosts() == ["a": "0.008", "b": "0.008", "claimed": "-"])
            if isConverted {
                #expect(try await server.unpriced() == ["fx_rate ? 2"])
                #expect(try await server.differences() == [])
                try await server.rate("2", to: "EUR")
                try await server.rateUnpriced()
                #expect(try await eventually { try await server.unpriced() == [] })
            }
            #expect(try await server.unpriced() == [])
            #expect(try await server.counted("searches") == (isConverted ? "0.032 0.064" : "0.016 0.032"))
            #expect(try await server.differences() == [])
            _ = try await server.void("a", source: "proxy")
            #expect(try await server.counted("searches") == (isConverted ? "0.016 0.032" : "0.008 0.016"))
            #expect(try await server.differences() == [])
        }
    }

    @Test("of whoever is bound to a tenant no reported cost counts, whatever source it names, and none counts later")
    func ownReportedCosts() async throws {
        try await TestServer.run(configure: { $0.trustedCostSources = ["proxy"] }) { server in
            try await server.arrangeCosts()
            let tenant = try await server.client([.eventsWrite], tenant: "acme")
            let own = SentEvent.call("own", model: "other", output: 10, source: "proxy", more: #","cost":0"#)
            #expect(try await server.post([own], as: tenant).expecting(200).report == "accepted 1, unpriced 1")
            try await server.price("input", "1", model: "other")
            #expect(try await server.rateUnpriced() == 0)
            #expect(try await server.providerCosts() == ["own": "-"])
            try await server.price("output", "0.5", model: "other")
            #expect(try await server.rateUnpriced() == 1)
            #expect(try await server.providerCosts() == ["own": "5"])
            #expect(try await server.differences() == [])
        }
    }

    @Test("a matrix that passes costs on charges each class of tokens its own")
    func costsByCell() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            let meter = """
                {"key":"t","event_type":"chat","aggregation":"sum","class_dimension":"token_class",
                 "value":{"input":"input_tokens","output":"output_tokens"}}
                """
            try await server.ask("POST", "/meters", meter, expecting: 201)
            try await server.ask("POST", "/features", #"{"key":"t","meter":"t","unit":"token"}"#, expecting: 201)
            try await server.publish(
                """
                {"charges":[{"feature":"t","price":{"model":"matrix","dimensions":["token_class"],
                  "cells":[{"match":{"token_class":"output"},"price":{"model":"cost_plus","markup_percent":"100"}}],
                  "default":{"model":"cost_plus","markup_percent":"0"}}}]}
                """
            )
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            for (name, amount) in [("input", "0.001"), ("output", "0.01"), ("cached_input", "0.0001")] {
                try await server.price(name, amount)
            }
            try await server.ingest(.call("a", input: 100, cached: 50, output: 10))
            let cells = try await server.column(
                """
                SELECT cell || ' ' || trim_scale(cost)::text || ' ' || trim_scale(charge)::text
                FROM usage_counter ORDER BY cell
                """
            )
            #expect(
                cells == [
                    " 0.155 0.255", #"{"token_class":"input"} 0.055 0.055"#, #"{"token_class":"output"} 0.1 0.2"#,
                ]
            )
            #expect(try await server.differences() == [])
        }
    }

    @Test("a void takes the cost back, and what was unpriced is no longer listed")
    func voids() async throws {
        try await TestServer.run { server in
            try await server.arrangeCosts()
            try await server.price("output", "0.5")
            try await server.ingest(.call("a", output: 1), .call("b", output: 2), .call("c", model: "new", output: 3))
            _ = try await server.void("b")
            _ = try await server.void("c")
            #expect(try await server.counted("tokens") == "0.5 0.6")
            #expect(try await server.unpriced() == [])
            try await server.price("output", "1", model: "new")
            #expect(try await server.rateUnpriced() == 0)
            #expect(try await server.differences() == [])
        }
    }

    @Test("verify finds a provider cost that the price book does not give")
    func verifyFindsCosts() async throws {
        try await TestServer.run { server in
            try await server.arrangeCosts()
            try await server.price("output", "0.5")
            try await server.ingest(.call("a", output: 1), .call("b", output: 2))
            try await server.database.run("UPDATE usage_event SET provider_cost = 7 WHERE event_id = 'b'")
            let found = try await server.differences()
            #expect(found.contains("tenant acme: the provider cost of event b of gw is 7, its events give 1"))
            #expect(found.contains { $0.contains("provider cost is 1.5, its events give 7.5") })
        }
    }

    @Test("rating adds no transaction to a flush once the prices are known")
    func noExtraTransactions() async throws {
        try await TestServer.run { server in
            try await server.arrangeCosts()
            try await server.price("output", "0.5")
            try await IngestFixture.use(server) { fixture in
                try await fixture.flushing {
                    #expect(await fixture.send(.call("warm", output: 1), .call("w2", model: "x", output: 1)) != "")
                    let before = fixture.ingestLeases
                    for number in 0..<20 {
                        _ = await fixture.send(
                            .call("p\(number)", output: 1),
                            .call("u\(number)", model: "x", output: 1)
                        )
                    }
                    #expect(fixture.ingestLeases - before <= 20)
                }
            }
            #expect(try await server.unpriced() == ["price x 21"])
            #expect(try await server.differences() == [])
        }
    }
}
