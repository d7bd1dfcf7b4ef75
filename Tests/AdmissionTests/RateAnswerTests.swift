import TestSupport
import Testing
import Web

/// What callers are told of rates, theirs and those that they may not know of.
@Suite struct RateAnswerTests {
    private static func addRate(
        _ server: TestServer,
        _ key: String,
        _ scope: String,
        _ limit: Int,
        of measure: String = "requests",
        as client: TestClient? = nil
    ) async throws {
        let rate = #"{"limit":\#(limit),"period":"minute"}"#
        let budget = #"{"key":"\#(key)","scope":\#(scope),"measure":"\#(measure)","rate":\#(rate)}"#
        try await server.ask("POST", "/budgets", budget, expecting: 201, as: client)
    }

    @Test("a tenant's credential can't put its calls before those of others, only before its own")
    func criticality() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await Self.addRate(server, "all", "{}", 20)
            let own = try await server.client([.admissionsWrite], tenant: "acme")
            func passed(_ count: Int, _ name: String, as client: TestClient?) async throws -> Int {
                var passed = 0
                for index in 0..<count {
                    let more = #","criticality":"critical""#
                    let answer = try await server.admit("\(name)\(index)", more: more, as: client)
                    if answer["allowed"] == .bool(true) { passed += 1 }
                }
                return passed
            }
            #expect(try await passed(20, "own", as: own) == 19, "95 percent, as of default")
            #expect(try await passed(2, "all", as: nil) == 1)
            server.clock.advance(seconds: 600)
            try await Self.addRate(server, "acme", #"{"tenant":"acme"}"#, 10)
            #expect(try await passed(11, "within", as: own) == 10, "within its own tenant it decides")
        }
    }

    @Test("a tenant that a rate over all tenants refuses is told when to ask again, and not of the rate")
    func hiddenRate() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await Self.addRate(server, "all", "{}", 1)
            let own = try await server.client([.admissionsWrite], tenant: "acme")
            try await server.admit("1", as: own)
            let body = #"{"subject":"acme","type":"job.done","source":"gw","id":"2"}"#
            let refused = try await own.post("/api/v1/admissions", body).expecting(200)
            #expect(refused.json["reason"]?.string == "rate_limited" && refused.json["limits"]?.text == "[]")
            #expect(refused.json["retry_after"]?.number == "60" && refused.header("Retry-After") == "60")
            #expect(refused.header("RateLimit") == nil)
            let check = try await own.get("/api/v1/admissions/check").expecting(429)
            #expect(check.header("Retry-After") == "60")
        }
    }

    @Test("a call that never has room in a rate is refused for good")
    func never() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await Self.addRate(server, "tpm", #"{"tenant":"acme"}"#, 1_000, of: "tokens")
            let fields = ["X-Turnpike-Subject": "acme", "X-Turnpike-Input-Tokens": "960"]
            let refused = try await server.operatorClient.get("/api/v1/admissions/check", headers: fields)
                .expecting(403)
            #expect(refused.header("X-Turnpike-Reason") == "rate_limited" && refused.header("Retry-After") == nil)
        }
    }

    @Test("rates of one name are one item, of the one with the least left")
    func names() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await Self.addRate(server, "rpm", #"{"tenant":"*"}"#, 100)
            let writer = try await server.client([.budgetsWrite], tenant: "acme")
            try await Self.addRate(server, "rpm", #"{"tenant":"acme"}"#, 40, as: writer)
            let fields = ["X-Turnpike-Subject": "acme", "X-Turnpike-Criticality": "critical"]
            let answer = try await server.operatorClient.get("/api/v1/admissions/check", headers: fields)
            #expect(answer.header("RateLimit") == #""rpm";r=39"#)
            #expect(answer.header("RateLimit-Policy") == #""rpm";q=40;w=60"#)
        }
    }
}
