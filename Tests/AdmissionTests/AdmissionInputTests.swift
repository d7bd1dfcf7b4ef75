import Postgres
import TestSupport
import Testing
import Web

/// What is said of a call, and what is wrong with it.
@Suite struct AdmissionInputTests {
    private static let rate = """
        {"key":"rpm","scope":{"tenant":"acme"},"measure":"requests","rate":{"limit":60,"period":"minute"}}
        """

    @Test("the fewest output tokens must be among those that are asked for")
    func tokens() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("10")
            for (data, end) in [(#","output_tokens":99"#, "which are 99"), ("", "which are missing")] {
                let fault = try await server.admit("1", more: #","min_output_tokens":100"#, data: data, expecting: 400)
                let error = fault["errors"]?[0]
                #expect(error?["pointer"]?.string == "/min_output_tokens" && error?["code"]?.string == "out_of_range")
                #expect(error?["detail"]?.string?.hasSuffix(end) == true, "\(fault)")
            }
            try await server.admit("1", more: #","min_output_tokens":100"#, data: #","output_tokens":100"#)
        }
    }

    @Test("a call is remarked on like the event that will report it")
    func remarks() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("10")
            #expect(try await server.admit("1")["warnings"]?.text == "[]")
            let body = #"{"subject":"acme","type":"job.dun","source":"gw","id":"2","data":{"seconds":1}}"#
            let mistyped = try await server.ask("POST", "/admissions", body)
            #expect(mistyped["warnings"]?.text == #"["unmetered"]"#)
            let unread = #"{"subject":"acme","type":"job.done","source":"gw","id":"2b","data":{}}"#
            #expect(try await server.ask("POST", "/admissions", unread)["warnings"]?.text == #"["unmetered"]"#)
            try await server.addTenant("beta")
            #expect(try await server.admit("3", subject: "beta")["warnings"]?.text == #"["unsubscribed"]"#)
            try await server.addFeature("jobs", "count", of: nil)
            #expect(try await server.admit("4")["warnings"]?.text == #"["unpriced"]"#)
            #expect(try await server.admit("5", seconds: "11")["warnings"]?.text == "[]", "it is refused")
        }
    }

    @Test("a check names every field that is not known or not good, and asks nothing")
    func fields() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.ask("POST", "/budgets", Self.rate, expecting: 201)
            let headers = [
                "X-Turnpike-Subject": "acme", "X-Turnpike-Cost-Centre": "c1", "X-Turnpike-Reserve": "yes",
                "X-Turnpike-Input-Tokens": "many", "X-Turnpike-Criticality": "high",
            ]
            let answer = try await server.operatorClient.get("/api/v1/admissions/check", headers: headers)
                .expecting(400)
            let pointers = ["Cost-Centre", "Criticality", "Input-Tokens", "Reserve"].map { "X-Turnpike-\($0)" }
            #expect(answer.pointers.sorted() == pointers)
            #expect(answer.text.contains(#"did you mean \"X-Turnpike-Cost-Center\"?"#), "\(answer.text)")
            #expect(try await server.column("SELECT 1::text FROM rate_state") == [])
            let underscored = ["X-Turnpike-Subject": "acme", "X-Turnpike-Cost_Center": "c1"]
            let other = try await server.operatorClient.get("/api/v1/admissions/check", headers: underscored)
                .expecting(400)
            #expect(other.pointers == ["X-Turnpike-Cost_Center"])
            let good = ["X-Turnpike-Subject": "acme", "x-turnpike-model": "gpt-4o", "X-Turnpike-Cost-Center": "c1"]
            try await server.operatorClient.get("/api/v1/admissions/check", headers: good).expecting(204)
        }
    }

    @Test("a check that says how few output tokens will do is told how many fit, and uses rates by these")
    func fewerTokensOfCheck() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addFeature("tokens", of: "output_tokens", type: "llm.completion")
            try await server.publish(
                #"{"quotas":[{"feature":"tokens","limit":"1000","window":"month","mode":"hard"}]}"#
            )
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            let rate = """
                {"key":"tph","scope":{"tenant":"acme"},"measure":"tokens","rate":{"limit":5000,"period":"hour"}}
                """
            try await server.ask("POST", "/budgets", rate, expecting: 201)
            let client = server.operatorClient
            func check(_ more: [String: String], posted: Bool = false) async throws -> TestResponse {
                let call = [
                    "X-Turnpike-Subject": "acme", "X-Turnpike-Model": "gpt-4o", "X-Turnpike-Input-Tokens": "200",
                    "X-Turnpike-Output-Tokens": "1200", "X-Turnpike-Criticality": "critical",
                ].merging(more) { $1 }
                let path = "/api/v1/admissions/check"
                return try await posted ? client.post(path, headers: call) : client.get(path, headers: call)
            }
            #expect(try await check([:]).expecting(403).header("X-Turnpike-Reason") == "quota_exceeded")
            let fewest = ["X-Turnpike-Min-Output-Tokens": "100"]
            let fewer = try await check(fewest).expecting(204)
            #expect(fewer.header("X-Turnpike-Max-Output-Tokens") == "1000")
            #expect(fewer.header("RateLimit") == #""tph";r=3800"#)
            try await server.expectRows([])
            let reserved = ["X-Turnpike-Reserve": "true", "X-Turnpike-Id": "1"].merging(fewest) { $1 }
            let held = try await check(reserved, posted: true).expecting(204)
            #expect(held.header("X-Turnpike-Max-Output-Tokens") == "1000")
            try await server.expectRows(["0 1000 0"])
            #expect(try await check(fewest).expecting(403).header("X-Turnpike-Reason") == "quota_exceeded")
            for fault in ["0", "few", "1201"] {
                let answer = try await check(["X-Turnpike-Min-Output-Tokens": fault]).expecting(400)
                #expect(answer.pointers == ["X-Turnpike-Min-Output-Tokens"], "\(answer)")
            }
        }
    }

    @Test("a proxy, whose clients see the answer, is told nothing of limits over all tenants and on provider costs")
    func toldToClients() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            let rate = #"{"key":"all","scope":{},"measure":"requests","rate":{"limit":9,"period":"hour","burst":9}}"#
            let budget = """
                {"key":"company","scope":{},"measure":"requests","amount":"1","window":"month","mode":"hard"}
                """
            for body in [rate, budget] { try await server.ask("POST", "/budgets", body, expecting: 201) }
            let call = ["X-Turnpike-Subject": "acme"]
            let admitted = try await server.operatorClient.get("/api/v1/admissions/check", headers: call).expecting(204)
            #expect(admitted.header("RateLimit") == nil && admitted.header("RateLimit-Policy") == nil)
            let first = try await server.admit("1")
            #expect(first["limits"]?.elements?.map { $0["operator_only"] } == [.bool(true), .bool(true)])
            let counted = #"turnpike_admissions_total{result="budget_exceeded"}"#
            let before = try await server.counterValue(counted)
            let refused = try await server.operatorClient.get("/api/v1/admissions/check", headers: call).expecting(403)
            #expect(try await server.counterValue(counted) > before)
            #expect(refused.header("X-Turnpike-Reason") == "limit_exceeded")
            #expect(refused.header("X-Turnpike-Limit") == nil && refused.header("RateLimit") == nil)
            #expect(try await server.admit("2")["reason"]?.string == "budget_exceeded")
        }
    }
}
