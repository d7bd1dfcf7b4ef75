import Postgres
import TestSupport
import Testing
import Web

/// Budgets under real usage: what is counted is what the status shows, while budgets change.
@Suite(.timeLimit(.minutes(15)))
struct BudgetCountingTests {
    private static func event(_ id: String, tenant: String, user: String, model: String = "gpt-4o") -> SentEvent {
        SentEvent(id, type: "llm.completion", subject: tenant, data: #"{"user":"\#(user)","model":"\#(model)"}"#)
    }

    private static func make(_ server: TestServer, _ key: String, _ scope: String, amount: String) async throws {
        let body = """
            {"key":"\(key)","scope":\(scope),"measure":"requests","amount":"\(amount)","window":"day"}
            """
        try await server.ask("POST", "/budgets", body, expecting: 201)
    }

    /// Rows of a budget, fullest first: `acme u1 2`.
    private static func rows(_ server: TestServer, _ key: String) async throws -> [String] {
        let page = try await server.ask("GET", "/budgets/\(key)/status")
        return (page["data"]?.elements ?? []).map { row in
            let scope = ["tenant", "user", "model"].compactMap { row["scope"]?[$0]?.string }
            return (scope + [row["used"]?.string ?? "?"]).joined(separator: " ")
        }
    }

    @Test("a default makes a row for each user that uses something, and only from its creation on")
    func rowsAppearOnFirstUse() async throws {
        try await TestServer.run { server in
            for tenant in ["acme", "beta"] { try await server.addTenant(tenant) }
            try await server.ingest(Self.event("before", tenant: "acme", user: "u1"))
            server.clock.advance(seconds: 1)
            try await Self.make(server, "each", #"{"tenant":"*","user":"*"}"#, amount: "10")
            try await Self.make(server, "mini", #"{"tenant":"acme","model":"gpt-4o-mini*"}"#, amount: "10")
            try await Self.make(server, "all", "{}", amount: "10")
            #expect(try await Self.rows(server, "each") == [])
            try await server.ingest(
                Self.event("1", tenant: "acme", user: "u1"),
                Self.event("2", tenant: "acme", user: "u1", model: "gpt-4o-mini-2024"),
                Self.event("3", tenant: "acme", user: "#2"),
                Self.event("4", tenant: "beta", user: "u1"),
                SentEvent("5", type: "llm.completion", subject: "beta", data: #"{"model":"gpt-4o"}"#)
            )
            #expect(try await Self.rows(server, "each") == ["acme u1 2", "acme #2 1", "beta u1 1"])
            #expect(try await Self.rows(server, "mini") == ["acme gpt-4o-mini* 1"])
            #expect(try await Self.rows(server, "all") == ["5"])
            let acme = try await server.client([.budgetsRead], tenant: "acme")
            #expect(try await acme.get("/api/v1/budgets/each").status == 404)
            #expect(try await server.operatorClient.delete("/api/v1/budgets/all").status == 204)
            try await server.ingest(Self.event("6", tenant: "acme", user: "u1"))
            let archived = try await server.column(
                """
                SELECT trim_scale(used)::text FROM limit_state JOIN budget USING (limit_id) WHERE budget.key = 'all'
                """
            )
            #expect(archived == ["5"])
        }
    }

    @Test("while usage is counted and the amount goes up and down, no commit leaves more than the limit but overshoot")
    func changesRaceWithCounting() async throws {
        try await TestServer.run { server in
            for tenant in ["acme", "beta"] { try await server.addTenant(tenant) }
            try await Self.make(server, "each", #"{"tenant":"*"}"#, amount: "1000")
            try await Self.make(server, "own", #"{"tenant":"acme"}"#, amount: "1000")
            for tenant in ["acme", "beta"] { try await server.ingest(Self.event("0", tenant: tenant, user: "u")) }
            // As if a hundred calls had been admitted.
            try await server.database.run("UPDATE limit_state SET used = used + 100")
            let rounds = 40
            async let counting: Void = withThrowingTaskGroup(of: Void.self) { group in
                for tenant in ["acme", "beta"] {
                    group.addTask {
                        for round in 1...rounds {
                            let events = (0..<5).map { Self.event("\(round)-\($0)", tenant: tenant, user: "u") }
                            try await server.post(events).expecting(200)
                        }
                    }
                }
                try await group.waitForAll()
            }
            async let changing: Void = {
                for round in 1...rounds {
                    let amount = round.isMultiple(of: 2) ? 1_000 : 10 + round
                    for key in ["each", "own"] {
                        try await server.ask("PATCH", "/budgets/\(key)", #"{"amount":"\#(amount)"}"#)
                    }
                }
            }()
            for _ in 0..<rounds {
                let broken = try await server.column(
                    """
                    SELECT concat_ws(' ', used, held, overshoot, limit_amount) FROM limit_state
                    WHERE used + held - overshoot > limit_amount
                    """
                )
                #expect(broken == [])
            }
            _ = try await (counting, changing)
            try await server.rowsFollowBudgets()
            let settled = try await server.column(
                """
                SELECT concat_ws(' ', tenant.key, budget.key, trim_scale(used), trim_scale(limit_amount))
                FROM limit_state JOIN tenant USING (tenant_id) JOIN budget USING (limit_id) ORDER BY 1
                """
            )
            // 1 + 100 + 5 in each of 40 rounds.
            #expect(settled == ["acme each 301 1000", "acme own 301 1000", "beta each 301 1000"])
        }
    }
}
