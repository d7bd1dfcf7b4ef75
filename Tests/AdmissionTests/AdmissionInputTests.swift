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
