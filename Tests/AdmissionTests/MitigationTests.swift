import Postgres
import TestSupport
import Testing
import Web

/// What mitigations refuse.
@Suite struct MitigationTests {
    @Test("a call within the scope is refused, whatever its limits say, and leaves no trace; others are not")
    func scopes() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("10")
            try await server.addTenant("beta")
            let pace = """
                {"key":"pace","scope":{"tenant":"*"},"measure":"requests",\
                "rate":{"limit":60,"period":"minute","burst":60}}
                """
            try await server.ask("POST", "/budgets", pace, expecting: 201)
            let data = #","model":"gpt-4o-mini","provider":"openai","user":"u9","cost_center":"cc-1""#
            let within = [
                "{}", #"{"tenant":"acme"}"#, #"{"user":"u9"}"#, #"{"model":"gpt-4o*"}"#, #"{"feature":"seconds"}"#,
                #"{"provider":"openai"}"#, #"{"cost_center":"cc-1"}"#, #"{"plan":"pro"}"#,
                #"{"tenant":"acme","user":"u9","model":"gpt-4o-mini","plan":"pro","feature":"seconds"}"#,
            ]
            let outside = [
                #"{"tenant":"beta"}"#, #"{"user":"u8"}"#, #"{"model":"gpt-4o"}"#, #"{"client":"acme"}"#,
                #"{"tenant":"acme","user":"u9","model":"claude*"}"#,
            ]
            for (index, scope) in (within + outside).enumerated() {
                let id = try await server.mitigate(scope)
                let answer = try await server.admit("\(index)", data: data)
                #expect(answer["allowed"] == .bool(index >= within.count), "\(scope)")
                if index < within.count {
                    #expect(answer["reason"]?.string == "mitigated" && answer["retry_after"]?.number == "60")
                    #expect(answer["mitigation"]?["id"]?.string == id && answer["limits"]?.elements == [])
                    #expect(answer["mitigation"]?["reason"]?.string == "a test")
                    try await server.expectRows([])
                    let others: SQL = "SELECT 'rate' FROM rate_state UNION ALL SELECT 'held' FROM reservation"
                    #expect(try await server.column(others) == [])
                } else {
                    #expect(answer["mitigation"] == .null)
                    try await server.ask("POST", "/admissions/\(server.id(of: answer))/release")
                }
                try await server.ask("POST", "/mitigations/\(id)/lift")
            }
            // Without a user it is nobody's whom a scope names.
            try await server.mitigate(#"{"user":"u9"}"#)
            #expect(try await server.admit("none")["allowed"] == .bool(true))
            #expect(try await server.unbalancedHolds() == [])
        }
    }

    @Test("it ends by itself or when it is lifted; of several that which lasts longest says for how long")
    func ends() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("10")
            let all = try await server.mitigate("{}", seconds: 100)
            let own = try await server.mitigate(#"{"tenant":"acme"}"#, seconds: 200)
            let first = try await server.admit("1")
            #expect(first["mitigation"]?["id"]?.string == own && first["retry_after"]?.number == "200")
            try await server.ask("POST", "/mitigations/\(own)/lift")
            let second = try await server.admit("1")
            #expect(second["mitigation"]?["id"]?.string == all && second["retry_after"]?.number == "100")
            server.clock.advance(seconds: 99)
            #expect(try await server.admit("1")["retry_after"]?.number == "1")
            server.clock.advance(seconds: 1)
            #expect(try await server.admit("1")["allowed"] == .bool(true))
        }
    }

    @Test("checks, dry runs and each call of an array are asked alike; usage is counted, reservations stay")
    func everyWayOfAsking() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("10")
            let held = try await server.admit("held", seconds: "2", data: #","user":"u9""#)
            try await server.mitigate(#"{"user":"u9"}"#)
            let tried = try await server.admit("2", more: #","dry_run":true"#, data: #","user":"u9""#)
            #expect(tried["reason"]?.string == "mitigated")
            let both = try await server.admit(together: [
                server.call("3", data: #","user":"u9""#), server.call("4", data: #","user":"u8""#),
            ])
            #expect(both.map { $0["reason"] } == [.string("mitigated"), .null])
            let fields = ["X-Turnpike-Subject": "acme", "X-Turnpike-Type": "job.done", "X-Turnpike-User": "u9"]
            let check = try await server.operatorClient.get("/api/v1/admissions/check", headers: fields)
            #expect(check.status == 403 && check.header("X-Turnpike-Reason") == "mitigated")
            #expect(check.header("Retry-After") == "60")
            try await server.extend(held, seconds: 1_000)
            #expect(try await server.settle(held, event: "e", seconds: "3", data: #","user":"u9""#) == "accepted 1")
            try await server.ingest(SentEvent("f", data: #"{"seconds":1,"user":"u9"}"#))
            #expect(try await server.used("seconds") == "4")
        }
    }

    @Test("whoever asks for one tenant is told that a call is refused, and until when, but not by what")
    func whatTenantsAreTold() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("10")
            let own = try await server.client([.admissionsWrite], tenant: "acme")
            try await server.mitigate(#"{"tenant":"acme"}"#)
            let answer = try await server.admit("1", as: own)
            #expect(answer["reason"]?.string == "mitigated" && answer["retry_after"]?.number == "60")
            #expect(answer["mitigation"] == .null)
        }
    }

    @Test("no call that begins after one is made is admitted, by whatever replica")
    func everyReplica() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("1000000")
            try await TestServer.run(on: server.database, clock: server.clock) { other in
                for round in 0..<20 {
                    #expect(try await other.admit("before \(round)")["allowed"] == .bool(true))
                    let id = try await server.mitigate(#"{"tenant":"acme"}"#)
                    #expect(try await other.admit("after \(round)")["reason"]?.string == "mitigated")
                    try await server.ask("POST", "/mitigations/\(id)/lift")
                    #expect(
                        try await eventually { try await other.admit("again \(round)")["allowed"] == .bool(true) }
                    )
                }
            }
        }
    }

    @Test("making and lifting one waits for no recount, which keeps the catalogue as it is; another change does")
    func recounts() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("10")
            let plan = #"{"key":"other","name":"Other","currency":"USD"}"#
            var change: Task<JSONValue, any Error>?
            try await server.whileLocked(by: "SELECT version FROM catalog_version FOR KEY SHARE") {
                let id = try await server.mitigate(#"{"tenant":"acme"}"#)
                #expect(try await server.admit("1")["reason"]?.string == "mitigated")
                try await server.ask("POST", "/mitigations/\(id)/lift")
                #expect(try await server.admit("1")["allowed"] == .bool(true))
                change = Task { try await server.ask("POST", "/plans", plan, expecting: 201) }
                #expect(try await server.somebodyWaitsForAnother())
            }
            _ = try await change?.value
        }
    }
}

extension TestServer {
    /// - Returns: its id.
    @discardableResult
    fileprivate func mitigate(_ scope: String, seconds: Int = 60) async throws -> String {
        let body = #"{"scope":\#(scope),"reason":"a test","ttl_seconds":\#(seconds)}"#
        return try await ask("POST", "/mitigations", body, expecting: 201)["id"]?.string ?? ""
    }
}
