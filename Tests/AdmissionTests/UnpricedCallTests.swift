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
