import TestSupport
import Testing
import Web

/// `verify` rebuilds what budgets have used, and finds whatever the raw events do not bear out.
@Suite struct BudgetVerificationTests {
    private static let budgets: [(key: String, scope: String, bound: String)] = [
        ("units", #"{"tenant":"acme","feature":"seconds"}"#, #""measure":"units","amount":"99","window":"day""#),
        ("user", #"{"tenant":"*","user":"*"}"#, #""measure":"requests","amount":"99","window":"week""#),
        ("models", #"{"model":"gpt-4o*"}"#, #""measure":"requests","amount":"99","window":"lifetime""#),
        ("cost", #"{"provider":"*"}"#, #""measure":"cost","currency":"USD","amount":"99","window":"hour""#),
        ("period", #"{"tenant":"acme"}"#, #""measure":"requests","amount":"99","window":"billing_period""#),
        ("pace", "{}", #""measure":"tokens","rate":{"limit":1000000,"period":"minute"}"#),
    ]

    private static func add(_ budget: (key: String, scope: String, bound: String), _ server: TestServer) async throws {
        let body = #"{"key":"\#(budget.key)","scope":\#(budget.scope),\#(budget.bound)}"#
        try await server.ask("POST", "/budgets", body, expecting: 201)
    }

    private static func call(_ id: String, of tenant: String = "acme", user: String = "u1") -> SentEvent {
        SentEvent(
            id,
            type: "chat",
            subject: tenant,
            data: """
                {"provider":"openai","model":"gpt-4o","input_tokens":10,"output_tokens":5,"user":"\(user)",\
                "seconds":2}
                """
        )
    }

    /// Usage of two tenants before and after budgets begin, at the same moment; some is voided and some rated later.
    private static func arrange(_ server: TestServer) async throws {
        try await server.addTenant("acme")
        try await server.addTenant("beta")
        try await server.addFeature("seconds", of: "seconds", type: "chat")
        try await server.publish("{}")
        try await server.subscribe(at: "2026-11-01T00:00:00Z")
        try await server.price("input", "0.01")
        let early = #"{"user":"u1","seconds":2}"#
        for tenant in ["acme", "beta"] {
            try await server.ingest(SentEvent("before", type: "chat", subject: tenant, data: early))
        }
        for budget in budgets { try await add(budget, server) }
        try await server.ingest(call("1"), call("2", user: "u2"), call("3", of: "beta"))
        try await server.price("output", "0.02")
        for tenant in ["acme", "beta"] {
            let isRated = try await eventually(within: .seconds(30)) {
                try await server.providerCosts(tenant).filter { $0.key != "before" }.values.allSatisfy { $0 != "-" }
            }
            #expect(isRated)
        }
        try await server.ingest(call("4"), call("5"), call("6", of: "beta"))
        _ = try await server.void("5")
        server.clock.advance(seconds: 86_400 * 20)
        try await server.ingest(call("7"), call("8", of: "beta"))
        try await server.ask("PATCH", "/budgets/user", #"{"amount":"1"}"#)
    }

    @Test("it passes where nothing was tampered with, also where usage and budgets began at the same moment")
    func passes() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            #expect(try await server.differences() == [])
            try await server.ask("DELETE", "/budgets/models", expecting: 204)
            try await server.ingest(Self.call("9"))
            #expect(try await server.differences() == [], "what an archived budget counted is left alone")
        }
    }

    @Test("of budgets over all tenants nothing is said where a tenant's usage can't be counted, of others all the same")
    func uncountable() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            try await server.database.run(
                """
                UPDATE limit_state SET used = used + 1
                WHERE limit_id IN (SELECT limit_id FROM budget WHERE key IN ('models', 'user'))
                """
            )
            func ofModels(_ found: [String]) -> [String] { found.filter { $0.hasPrefix("tenant 0: budget models") } }
            let before = try await server.differences()
            #expect(ofModels(before).count == 1)
            try await server.database.run(
                """
                UPDATE usage_event SET data = '{"seconds":99999999999999999999999999}'
                WHERE tenant_id = (SELECT tenant_id FROM tenant WHERE key = 'acme')
                """
            )
            let found = try await server.differences()
            let acme = found.filter { $0.hasPrefix("tenant acme") }
            #expect(acme.count == 1)
            #expect(acme.first?.contains("the usage after event") == true)
            #expect(acme.first?.contains("no count") == true)
            #expect(found.contains { $0.hasPrefix("tenant beta: budget user") })
            #expect(ofModels(found) == [])
        }
    }

    private static let planted: [(change: String, found: [String])] = [
        (
            "UPDATE limit_state SET used = used + 1 WHERE limit_id = (SELECT limit_id FROM budget WHERE key = 'units')",
            [
                "tenant acme: budget units, window from 2026-11-23T00:00:00.000000Z: used is 7, its events give 6",
                "tenant acme: budget units, window from 2026-12-13T00:00:00.000000Z: used is 3, its events give 2",
            ]
        ),
        (
            "DELETE FROM limit_state WHERE tenant_id = 2 AND scope_value = 'u1'",
            [
                "tenant beta: budget user of u1, window from 2026-11-23T00:00:00.000000Z: used is 0, its events give 2",
                "tenant beta: budget user of u1, window from 2026-12-07T00:00:00.000000Z: used is 0, its events give 1",
            ]
        ),
        (
            "UPDATE limit_state SET used = 4 WHERE limit_id = (SELECT limit_id FROM budget WHERE key = 'models')",
            ["tenant 0: budget models, window from 0001-01-01T00:00:00.000000Z: used is 4, its events give 7"]
        ),
        (
            """
            UPDATE limit_state SET used = 0
            WHERE scope_value = 'openai' AND window_start < '2026-12-01'
            """,
            [
                "tenant 0: budget cost of openai, window from 2026-11-23T08:00:00.000000Z: used is 0, its events give 1"
            ]
        ),
        (
            """
            UPDATE limit_state SET used = used - 1
            WHERE limit_id = (SELECT limit_id FROM budget WHERE key = 'period') AND window_start = '2026-12-01'
            """,
            ["tenant acme: budget period, window from 2026-12-01T00:00:00.000000Z: used is 0, its events give 1"]
        ),
    ]

    @Test("a row that was tampered with is found", arguments: planted)
    func finds(change: String, found: [String]) async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            try await server.database.run(change)
            let told = try await server.differences()
            #expect(told == found)
        }
    }

    @Test("usage of after an end, stored before that was moved, is expected in no budget of the plan")
    func movedEnd() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addFeature("seconds", of: "seconds", type: "chat")
            try await server.publish("{}")
            let id = try await server.subscribe(at: "2026-11-01T00:00:00Z")
            let scope = #"{"tenant":"acme","plan":"pro"}"#
            try await Self.add(("plan", scope, #""measure":"requests","amount":"99","window":"minute""#), server)
            try await server.ask("POST", "/subscriptions/\(id)/cancel", #"{"at":"2026-11-23T08:01:00Z"}"#)
            func use(_ event: String, at time: String) async throws {
                try await server.ingest(SentEvent(event, type: "chat", time: time, data: #"{"seconds":2}"#))
            }
            try await use("covered", at: "2026-11-23T08:00:30Z")
            try await use("after", at: "2026-11-23T08:02:30Z")
            server.clock.advance(seconds: 1)
            try await server.ask("POST", "/subscriptions/\(id)/resume")
            try await use("since", at: "2026-11-23T08:02:40Z")
            server.clock.advance(seconds: 140)
            let status = try await server.ask("GET", "/budgets/plan")["status"]
            #expect(status?["windows"]?[0]?["used"]?.string == "1")
            #expect(try await server.differences() == [])
        }
    }

    @Test("a cost that is found out before its conversion counts once in a budget of costs")
    func costBeforeConversion() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme", currency: "EUR")
            try await Self.add(Self.budgets[3], server)
            try await server.ingest(Self.call("1"))
            try await server.price("input", "0.01")
            try await server.price("output", "0.02")
            let isRated = try await eventually(within: .seconds(30)) {
                try await server.providerCosts("acme")["1"] == "0.2"
            }
            #expect(isRated)
            func used() async throws -> String? {
                try await server.ask("GET", "/budgets/cost")["status"]?["windows"]?[0]?["used"]?.string
            }
            #expect(try await used() == "0.20")
            try await server.rate("0.5", to: "EUR")
            let isConverted = try await eventually(within: .seconds(30)) {
                try await server.ask("GET", "/unpriced-usage")["data"] == .array([])
            }
            #expect(isConverted)
            #expect(try await used() == "0.20")
            #expect(try await server.differences() == [])
        }
    }

    @Test("it can run beside live usage of many tenants")
    func runsBesideUsage() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addTenant("beta")
            for budget in Self.budgets where budget.key != "units" { try await Self.add(budget, server) }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for lane in 0..<4 {
                    group.addTask {
                        for index in 0..<60 {
                            let id = "\(lane)-\(index)"
                            let tenant = lane.isMultiple(of: 2) ? "acme" : "beta"
                            try await server.ingest(Self.call(id, of: tenant))
                            if index.isMultiple(of: 7) { _ = try await server.void(id, tenant: tenant) }
                        }
                    }
                }
                group.addTask {
                    for _ in 0..<8 {
                        let found = try await server.differences()
                        #expect(found == [])
                    }
                }
                try await group.waitForAll()
            }
            #expect(try await server.differences() == [])
        }
    }
}
