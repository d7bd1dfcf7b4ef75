import TestSupport
import Testing
import Web

/// Calls that a limit on money refuses because something of them has no known price.
@Suite struct UnpricedCallTests {
    /// What the alerts say, the latest first.
    private static func alerts(_ server: TestServer) async throws -> [String] {
        let alerts = try await server.ask("GET", "/alerts")["data"]?.elements ?? []
        return alerts.map { alert in
            let what = ["reason", "feature", "provider", "model", "event"].compactMap { alert["detail"]?[$0]?.string }
            return ([alert["kind"]?.string, alert["tenant"]?.string].compactMap(\.self) + what).joined(separator: " ")
        }
    }

    /// A tenant whose seconds have a price, under a spend cap.
    private static func arrange(_ server: TestServer, price: String) async throws {
        try await server.addTenant("acme")
        try await server.addFeature("seconds")
        let charge = #"{"feature":"seconds","price":\#(price)}"#
        try await server.publish(#"{"charges":[\#(charge)],"spend_cap":{"amount":"50","mode":"hard"}}"#)
        try await server.subscribe(at: "2026-11-01T00:00:00Z")
    }

    @Test("a feature that the plan does not price is named where its calls are refused, and told of once")
    func feature() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server, price: #"{"model":"per_unit","unit_amount":"1"}"#)
            let priced = try await server.admit("1")
            #expect(priced["limits"]?[0]?["unpriced"] == .null)
            try await server.addFeature("jobs", "count", of: nil)
            for id in ["2", "3"] {
                let refused = try await server.admit(id)
                #expect(refused["reason"]?.string == "unpriced_model")
                let unpriced = refused["limits"]?[0]?["unpriced"]?.text
                #expect(unpriced == #"{"features":["jobs"],"model_call":null}"#)
            }
            #expect(try await Self.alerts(server) == ["unpriced_usage acme plan jobs 2"])
            let tenant = try await server.client([.budgetsRead], tenant: "acme")
            #expect(try await server.ask("GET", "/alerts", as: tenant)["data"]?.elements?.count == 1)
            // Usage of it is the same thing to tell.
            try await server.ingest(SentEvent("4", data: #"{"seconds":1}"#))
            #expect(try await Self.alerts(server).count == 1)
        }
    }

    @Test("a model without a known price is named where its calls are refused, and told to operators once a day")
    func model() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.ask(
                "POST",
                "/budgets",
                """
                {"key":"costs","scope":{"tenant":"acme"},"measure":"cost","amount":"10","currency":"USD",\
                "window":"month","mode":"hard"}
                """,
                expecting: 201
            )
            func ask(_ id: String, _ model: String, _ more: String = "") async throws -> JSONValue? {
                let data = #","provider":"openai","model":"\#(model)","input_tokens":5"#
                return try await server.admit(id, more: more, data: data)["limits"]?[0]?["unpriced"]
            }
            let first = try await ask("1", "gpt-9", #","dry_run":true"#)
            let call = #"{"lacks":"price","model":"gpt-9","provider":"openai"}"#
            #expect(first?.text == #"{"features":[],"model_call":\#(call)}"#)
            #expect(try await Self.alerts(server).isEmpty, "a dry run raises nothing")
            _ = try await ask("2", "gpt-9")
            _ = try await ask("3", "gpt-10")
            #expect(try await Self.alerts(server) == ["unpriced_usage acme price openai gpt-9 2"])
            let tenant = try await server.client([.budgetsRead], tenant: "acme")
            #expect(try await server.ask("GET", "/alerts", as: tenant)["data"]?.elements?.isEmpty == true)
            server.clock.advance(seconds: 86_400)
            _ = try await ask("4", "gpt-10")
            #expect(try await Self.alerts(server).first == "unpriced_usage acme price openai gpt-10 4")
        }
    }

    @Test("what the price book lacks is told to operators, and a tenant which model it is")
    func tenantsView() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server, price: #"{"model":"cost_plus","markup_percent":"10"}"#)
            let own = try await server.client([.admissionsWrite], tenant: "acme")
            for (client, lacks) in [(server.operatorClient, #""price""#), (own, "null")] {
                let data = #","provider":"p","model":"unknown","input_tokens":1"#
                let refused = try await server.admit("1", data: data, as: client)
                let call = #"{"lacks":\#(lacks),"model":"unknown","provider":"p"}"#
                #expect(refused["limits"]?[0]?["unpriced"]?.text == #"{"features":[],"model_call":\#(call)}"#)
            }
        }
    }

    /// Tokens that are read from a cache have no price; the others come to 15 where none are.
    @Test(
        "what has a price is held beside the fallback for what has none",
        arguments: [
            ("cost", #","cached_input_tokens":1"#, "16.99"), ("charge", #","cached_input_tokens":1"#, "18.489"),
            ("cost", "", "15.00"), ("charge", "", "16.50"), ("cost", #","cached_input_tokens":1000"#, "7.00"),
        ]
    )
    func partlyPriced(_ measure: String, _ more: String, _ held: String) async throws {
        try await TestServer.run { server in
            try await Self.arrangeParts(server, measure)
            let data = #","provider":"openai","model":"m","input_tokens":1000,"output_tokens":1000\#(more)"#
            let answer = try await server.admit("1", data: data)
            let limit = answer["limits"]?.elements?.first { $0["key"]?.string == "b" }
            #expect(limit?["held"]?.string == held, "\(answer)")
        }
    }

    @Test("a price that comes within a call's life takes nothing off what is held beside the fallback until then")
    func laterPart() async throws {
        try await TestServer.run { server in
            try await Self.arrangeParts(server, "charge")
            // With it the call is charged 16.5, which is less than 16.489 and 2.
            try await server.price("cached_input", "0.01", model: "m", from: "2026-11-23T08:05:00Z")
            let data = """
                ,"provider":"openai","model":"m","input_tokens":1000,"output_tokens":1000,"cached_input_tokens":1
                """
            let answer = try await server.admit("1", more: #","ttl_seconds":900"#, data: data)
            let limit = answer["limits"]?.elements?.first { $0["key"]?.string == "b" }
            #expect(limit?["held"]?.string == "18.489", "\(answer)")
        }
    }

    @Test("a known price that falls before the missing one comes takes nothing off either")
    func fallingPart() async throws {
        try await TestServer.run { server in
            try await Self.arrangeParts(server, "charge")
            try await server.price("input", "0.001", model: "m", from: "2026-11-23T08:05:00Z")
            try await server.price("cached_input", "10", model: "m", from: "2026-11-23T08:10:00Z")
            let data = """
                ,"provider":"openai","model":"m","input_tokens":1000,"output_tokens":1000,"cached_input_tokens":1
                """
            let answer = try await server.admit("1", more: #","ttl_seconds":900"#, data: data)
            let limit = answer["limits"]?.elements?.first { $0["key"]?.string == "b" }
            #expect(limit?["held"]?.string == "18.489", "\(answer)")
        }
    }

    @Test("fewer tokens of a call whose price is not known have none either")
    func unpricedShortened() async throws {
        try await TestServer.run { server in
            try await Self.arrangeParts(server, "cost", fallback: false)
            for (part, amount) in [("input", "0.01"), ("reasoning", "0.001")] {
                try await server.price(part, amount, model: "thinker")
            }
            let data = """
                ,"provider":"openai","model":"thinker","input_tokens":10,"output_tokens":200,"reasoning_tokens":100
                """
            let answer = try await server.admit("1", more: #","min_output_tokens":50"#, data: data)
            #expect(answer["reason"]?.string == "unpriced_model", "\(answer)")
        }
    }

    @Test("a call that is given fewer tokens is held at the dearest of what has a price")
    func partlyPricedShortened() async throws {
        try await TestServer.run { server in
            try await Self.arrangeParts(server, "cost")
            try await server.price("output_audio", "1", model: "m")
            let data = """
                ,"provider":"openai","model":"m","input_tokens":1,"cached_input_tokens":1,"output_tokens":10000,\
                "output_audio_tokens":85
                """
            let answer = try await server.admit("1", more: #","min_output_tokens":1"#, data: data)
            // The fallback for each is 0.001: 0.001 for the input, 85 x 1.001, and 2,485 x 0.006 of 14.914.
            #expect(answer["max_output_tokens"]?.number == "2570", "\(answer)")
            #expect(answer["limits"]?[0]?["held"]?.string == "99.996", "\(answer)")
        }
    }

    /// A hard budget of 100, maybe with a fallback of 0.001, of a tenant that is charged what its calls cost and a
    /// tenth more.
    private static func arrangeParts(
        _ server: TestServer,
        _ measure: String,
        fallback hasFallback: Bool = true
    ) async throws {
        try await server.addTenant("acme")
        try await server.addFeature("tokens", of: "input_tokens", type: "job.done")
        let charge = #"{"feature":"tokens","price":{"model":"cost_plus","markup_percent":"10"}}"#
        try await server.publish(#"{"charges":[\#(charge)]}"#)
        try await server.subscribe(at: "2026-11-01T00:00:00Z")
        try await server.price("input", "0.01", model: "m")
        try await server.price("output", "0.005", model: "m")
        try await server.ask(
            "POST",
            "/budgets",
            """
            {"key":"b","scope":{"tenant":"acme"},"measure":"\(measure)","amount":"100","currency":"USD",\
            "window":"month","mode":"hard","fallback_unit_amount":\(hasFallback ? #""0.001""# : "null")}
            """,
            expecting: 201
        )
    }

    @Test("a feature that only the plan to come leaves out is told of, too, with the period that it is left out in")
    func laterPlan() async throws {
        try await TestServer.run(clock: TestClock("2026-11-30T23:50:00Z")) { server in
            try await server.addTenant("acme")
            try await server.addFeature("seconds")
            try await server.addFeature("jobs", "count", of: nil)
            let price = #"{"feature":"seconds","price":{"model":"per_unit","unit_amount":"1"}}"#
            let cap = #""spend_cap":{"amount":"50","mode":"hard"}"#
            let jobs = #"{"feature":"jobs","price":{"model":"per_unit","unit_amount":"1"}}"#
            try await server.publish(#"{"charges":[\#(price),\#(jobs)],\#(cap)}"#)
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            try await server.publish(#"{"charges":[\#(price)],\#(cap)}"#, as: "max")
            let id = try await server.ask("GET", "/subscriptions")["data"]?[0]?["id"]?.string ?? ""
            try await server.ask("POST", "/subscriptions/\(id)/change", #"{"plan":"max","at":"period_end"}"#)
            #expect(try await server.admit("short", more: #","ttl_seconds":60"#)["allowed"] == .bool(true))
            let refused = try await server.admit("long", more: #","ttl_seconds":900"#)
            #expect(refused["reason"]?.string == "unpriced_model", "\(refused)")
            #expect(try await Self.alerts(server) == ["unpriced_usage acme plan jobs long"])
            let window = try await server.ask("GET", "/alerts")["data"]?[0]?["window"]
            #expect(window?["start"]?.string == "2026-12-01T00:00:00.000000Z")
        }
    }
}
