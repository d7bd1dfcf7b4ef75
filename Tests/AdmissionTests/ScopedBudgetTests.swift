import Postgres
import TestSupport
import Testing
import Web

/// Budgets over what the credential of a call says of it, its client and its cost centre, and one over every user of a
/// plan.
@Suite struct ScopedBudgetTests {
    enum Credential: CaseIterable {
        case apiKey, oauthClient
    }

    /// Who asks and reports, and as which client.
    private struct Gateway {
        let client: TestClient
        let name: String
    }

    private static func gateway(
        _ credential: Credential,
        costCenter: String? = nil,
        _ server: TestServer
    ) async throws -> Gateway {
        let stamp = costCenter.map { #","cost_center":"\#($0)""# } ?? ""
        switch credential {
        case .apiKey:
            let body = #"{"name":"gateway","scopes":["admissions:write","events:write"]\#(stamp)}"#
            let made = try await server.ask("POST", "/api-keys", body, expecting: 201)
            let id = try #require(made["id"]?.string)
            return Gateway(client: server.anonymous.with(key: made["key"]?.string), name: "key:\(id)")
        case .oauthClient:
            let made = try await server.makeOAuthClient([.admissionsWrite, .eventsWrite], stamp)
            let token = try await server.token(of: made)
            return Gateway(client: server.anonymous.with(key: token), name: "client:\(made.id)")
        }
    }

    private static func addBudget(_ key: String, _ scope: String, _ bound: String, _ server: TestServer) async throws {
        let body = #"{"key":"\#(key)","scope":\#(scope),\#(bound)}"#
        try await server.ask("POST", "/budgets", body, expecting: 201)
    }

    /// So much of a measure in a day.
    private static func daily(_ amount: Int, _ measure: String = "requests") -> String {
        #""measure":"\#(measure)","amount":"\#(amount)","window":"day","mode":"hard""#
    }

    /// Budget, tenant, the values that have rows of their own, and what is used, held and overshoot, of all rows.
    private static func expectRows(
        _ expected: Set<String>,
        _ server: TestServer,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let rows = try await server.column(
            """
            SELECT concat_ws(' ', budget.key, tenant.key, nullif(state.scope_value, ''), trim_scale(state.used),
                trim_scale(state.held), trim_scale(state.overshoot))
            FROM limit_state AS state
            JOIN budget ON budget.limit_id = state.limit_id
            LEFT JOIN tenant ON tenant.tenant_id = state.tenant_id
            """
        )
        #expect(Set(rows.compactMap { $0 }) == expected, sourceLocation: sourceLocation)
        #expect(rows.count == expected.count, sourceLocation: sourceLocation)
    }

    private static func expectRefused(
        _ answer: JSONValue,
        by budget: String,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(answer["reason"]?.string == "budget_exceeded", "\(answer)", sourceLocation: sourceLocation)
        let keys = answer["limits"]?.elements?.map { $0["key"]?.string }
        #expect(keys == [budget], sourceLocation: sourceLocation)
    }

    /// A call that no limit concerns.
    private static func expectUnbounded(_ answer: JSONValue, sourceLocation: SourceLocation = #_sourceLocation) {
        #expect(answer["allowed"] == .bool(true), "\(answer)", sourceLocation: sourceLocation)
        #expect(answer["limits"]?.text == "[]", sourceLocation: sourceLocation)
    }

    @Test(
        "a budget on one client counts its usage and refuses its calls, and nobody else's",
        arguments: Credential.allCases
    )
    func client(credential: Credential) async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            let own = try await Self.gateway(credential, server)
            let other = try await Self.gateway(credential, server)
            try await Self.addBudget("own", #"{"client":"\#(own.name)"}"#, Self.daily(3), server)
            for (id, gateway) in [("reported-1", own), ("reported-2", other)] {
                try await server.post([SentEvent(id)], as: gateway.client).expecting(200)
            }
            try await Self.expectRows(["own 1 0 1"], server)
            let first = try await server.admit("1", as: own.client)
            #expect(first["limits"]?[0]?["key"]?.string == "own")
            #expect(try await server.admit("2", as: own.client)["allowed"] == .bool(true))
            Self.expectRefused(try await server.admit("3", as: own.client), by: "own")
            Self.expectUnbounded(try await server.admit("4", as: other.client))
            Self.expectUnbounded(try await server.admit("5"))
            try await Self.expectRows(["own 1 2 1"], server)
            try await server.settle(first, event: "settled", seconds: "1", as: own.client)
            try await Self.expectRows(["own 2 1 1"], server)
        }
    }

    @Test("a budget on each client has a row for every credential, and usage counts in that of who reports it")
    func eachClient() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addFeature("seconds")
            let scope = #"{"tenant":"acme","feature":"seconds","client":"*"}"#
            try await Self.addBudget("each", scope, Self.daily(10, "units"), server)
            try await Self.expectRows([], server)
            var gateways: [Gateway] = []
            var admitted: [JSONValue] = []
            for credential in Credential.allCases {
                let gateway = try await Self.gateway(credential, server)
                let event = SentEvent("reported by \(credential)", data: #"{"seconds":4}"#)
                try await server.post([event], as: gateway.client).expecting(200)
                let answer = try await server.admit("1 of \(credential)", seconds: "6", as: gateway.client)
                #expect(answer["limits"]?[0]?["scope_value"]?.string == gateway.name)
                let refused = try await server.admit("2 of \(credential)", seconds: "1", as: gateway.client)
                Self.expectRefused(refused, by: "each")
                gateways.append(gateway)
                admitted.append(answer)
            }
            let (key, client) = (gateways[0].name, gateways[1].name)
            try await Self.expectRows(["each acme \(key) 4 6 4", "each acme \(client) 4 6 4"], server)
            try await server.settle(admitted[0], event: "settled by the operator", seconds: "6")
            try await server.settle(admitted[1], event: "settled", seconds: "5", as: gateways[1].client)
            try await Self.expectRows(
                ["each acme \(key) 4 0 4", "each acme \(client) 9 0 4", "each acme key:operator 6 0 6"],
                server
            )
        }
    }

    @Test(
        "usage is of its credential's cost centre, whatever it says, or else of the one that it says",
        arguments: Credential.allCases
    )
    func costCenter(credential: Credential) async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            let stamped = try await Self.gateway(credential, costCenter: "cc-1", server).client
            let plain = try await Self.gateway(credential, server).client
            for (key, amount) in [("cc-1", 3), ("cc-2", 1)] {
                try await Self.addBudget(key, #"{"tenant":"acme","cost_center":"\#(key)"}"#, Self.daily(amount), server)
            }
            let (one, two) = (#","cost_center":"cc-1""#, #","cost_center":"cc-2""#)
            let forged = SentEvent("reported", data: #"{"seconds":1\#(two)}"#)
            try await server.post([forged], as: stamped).expecting(200)
            try await Self.expectRows(["cc-1 acme 1 0 1"], server)
            let first = try await server.admit("1", data: two, as: stamped)
            #expect(first["allowed"] == .bool(true))
            #expect(try await server.admit("2", data: one, as: plain)["allowed"] == .bool(true))
            // That they say the other one neither lets them pass nor takes anything of that.
            for (id, data) in [("3", ""), ("4", two)] {
                Self.expectRefused(try await server.admit(id, data: data, as: stamped), by: "cc-1")
            }
            Self.expectRefused(try await server.admit("5", data: one, as: plain), by: "cc-1")
            try await Self.expectRows(["cc-1 acme 1 2 1"], server)
            #expect(try await server.admit("6", data: two, as: plain)["allowed"] == .bool(true))
            Self.expectRefused(try await server.admit("7", data: two, as: plain), by: "cc-2")
            Self.expectUnbounded(try await server.admit("8", as: plain))
            try await server.settle(first, event: "settled", seconds: "1", data: two, as: stamped)
            try await Self.expectRows(["cc-1 acme 2 1 1", "cc-2 acme 0 1 0"], server)
        }
    }

    @Test("a budget on each cost centre has a row for every one, whoever says it, and none for usage without")
    func eachCostCenter() async throws {
        try await TestServer.run { server in
            for tenant in ["acme", "beta"] { try await server.addTenant(tenant) }
            try await server.addFeature("seconds")
            let scope = #"{"tenant":"*","feature":"seconds","cost_center":"*"}"#
            try await Self.addBudget("each", scope, Self.daily(5, "units"), server)
            let stamped = try await Self.gateway(.oauthClient, costCenter: "cc-1", server).client
            let said = #","cost_center":"cc-2""#
            let calls = [("acme", "", stamped), ("acme", said, server.operatorClient), ("beta", "", stamped)]
            for (index, (tenant, data, client)) in calls.enumerated() {
                let event = SentEvent("\(index)", subject: tenant, data: #"{"seconds":2\#(data)}"#)
                try await server.post([event], as: client).expecting(200)
                let fits = try await server.admit("\(index)", seconds: "3", data: data, subject: tenant, as: client)
                #expect(fits["allowed"] == .bool(true))
                let more = "\(index) more"
                let refused = try await server.admit(more, seconds: "1", data: data, subject: tenant, as: client)
                Self.expectRefused(refused, by: "each")
            }
            try await server.ingest(SentEvent("without", data: #"{"seconds":9}"#))
            Self.expectUnbounded(try await server.admit("without", seconds: "9"))
            try await Self.expectRows(["each acme cc-1 2 3 2", "each acme cc-2 2 3 2", "each beta cc-1 2 3 2"], server)
        }
    }

    @Test(
        "of a rate on a client its more important calls have parts that its others can't take",
        arguments: [false, true]
    )
    func rate(isForEach: Bool) async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            let own = try await Self.gateway(.apiKey, server)
            let other = try await Self.gateway(.oauthClient, server)
            let rate = """
                "measure":"requests","rate":{"limit":60,"period":"minute","burst":10,"sheddable_percent":50,\
                "default_percent":80}
                """
            let scope = isForEach ? #"{"tenant":"acme","client":"*"}"# : #"{"client":"\#(own.name)"}"#
            try await Self.addBudget("rate", scope, rate, server)
            var asked = 0
            func passed(_ criticality: String, _ gateway: Gateway) async throws -> Int {
                var passed = 0
                for _ in 0..<11 {
                    asked += 1
                    let more = #","criticality":"\#(criticality)""#
                    let answer = try await server.admit("\(asked)", more: more, as: gateway.client)
                    if answer["allowed"] == .bool(true) {
                        passed += 1
                    } else {
                        #expect(answer["reason"]?.string == "rate_limited")
                    }
                }
                return passed
            }
            func passedOfEach(_ gateway: Gateway) async throws -> [Int] {
                var counts: [Int] = []
                for criticality in ["sheddable", "default", "critical"] {
                    counts.append(try await passed(criticality, gateway))
                }
                return counts
            }
            #expect(try await passedOfEach(own) == [5, 3, 2])
            #expect(try await passedOfEach(other) == (isForEach ? [5, 3, 2] : [11, 11, 11]))
            // Half of it is there again, which leaves those to be shed where they were.
            server.clock.advance(seconds: 5)
            #expect(try await passedOfEach(own) == [0, 3, 2])
        }
    }
}

/// What a default for every user of a plan bounds.
@Suite struct PlanDefaultTests {
    /// One unit and one token are a dollar, to the tenant as of the provider.
    private static func arrange(_ server: TestServer) async throws {
        try await server.addFeature("seconds")
        for tokenClass in ["input", "output"] { try await server.price(tokenClass, "1") }
        for plan in ["pro", "max"] {
            let price = #"{"model":"per_unit","unit_amount":"1"}"#
            try await server.publish(#"{"charges":[{"feature":"seconds","price":\#(price)}]}"#, as: plan)
        }
        for tenant in ["acme", "beta", "gamma", "delta"] { try await server.addTenant(tenant) }
        for (tenant, plan) in [("acme", "pro"), ("beta", "pro"), ("gamma", "max")] {
            try await server.subscribe(tenant, to: plan, at: "2026-11-01T00:00:00Z")
        }
    }

    private static func data(of user: String, _ dollars: Int) -> String {
        #","user":"\#(user)","provider":"openai","model":"gpt-4o","input_tokens":\#(dollars)"#
    }

    /// Tenant, user, and what is used and held, of the rows of the only limit.
    private static func rows(_ server: TestServer) async throws -> [String?] {
        try await server.column(
            """
            SELECT concat_ws(' ', tenant.key, scope_value, trim_scale(used), trim_scale(held))
            FROM limit_state JOIN tenant USING (tenant_id) ORDER BY 1
            """
        )
    }

    @Test(
        "it is one rule: each user of every tenant on the plan has a row, made on first use, and nobody else has one",
        arguments: ["charge", "cost"]
    )
    func eachUserOfThePlan(measure: String) async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            let budget = """
                {"key":"users","scope":{"tenant":"*","user":"*","plan":"pro"},"measure":"\(measure)","amount":"5",\
                "currency":"USD","window":"day","mode":"hard"}
                """
            try await server.ask("POST", "/budgets", budget, expecting: 201)
            #expect(try await Self.rows(server) == [])
            func ask(_ id: String, _ tenant: String, _ user: String, _ dollars: Int) async throws -> JSONValue {
                let data = Self.data(of: user, dollars)
                return try await server.admit(id, seconds: "\(dollars)", data: data, subject: tenant)
            }
            let first = try await ask("1", "acme", "ann", 3)
            #expect(first["allowed"] == .bool(true))
            #expect(try await Self.rows(server) == ["acme ann 0 3"])
            let refused = try await ask("2", "acme", "ann", 3)
            #expect(refused["reason"]?.string == "budget_exceeded")
            #expect(refused["limits"]?.elements?.map { $0["scope_value"]?.string } == ["ann"])
            for (id, tenant, user) in [("3", "acme", "ben"), ("4", "beta", "ann")] {
                #expect(try await ask(id, tenant, user, 5)["allowed"] == .bool(true))
            }
            for (id, tenant) in [("5", "gamma"), ("6", "delta")] {
                let unbounded = try await ask(id, tenant, "ann", 50)
                #expect(unbounded["allowed"] == .bool(true) && unbounded["limits"]?.text == "[]", "\(unbounded)")
                let usage = #"{"seconds":50\#(Self.data(of: "ann", 50))}"#
                try await server.ingest(SentEvent("used-\(id)", subject: tenant, data: usage))
            }
            #expect(try await Self.rows(server) == ["acme ann 0 3", "acme ben 0 5", "beta ann 0 5"])
            try await server.settle(first, event: "a", seconds: "2", data: Self.data(of: "ann", 2))
            #expect(try await ask("7", "acme", "ann", 4)["allowed"] == .bool(false))
            #expect(try await ask("8", "acme", "ann", 3)["allowed"] == .bool(true))
            #expect(try await Self.rows(server) == ["acme ann 2 3", "acme ben 0 5", "beta ann 0 5"])
            #expect(try await server.ask("GET", "/budgets")["data"]?.elements?.count == 1)
            server.clock.advance(seconds: 86_400)
            let nextDay = try await ask("9", "acme", "ann", 5)
            #expect(nextDay["limits"]?[0]?["used"]?.string == "0.00" && nextDay["allowed"] == .bool(true))
        }
    }
}
