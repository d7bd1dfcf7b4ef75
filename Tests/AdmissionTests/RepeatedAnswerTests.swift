import Identity
import TestSupport
import Testing
import Web

@Suite("What a repeated admission is told")
struct RepeatedAnswerTests {
    @Test("limits as they stand now, of which it takes nothing more")
    func standing() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("10")
            let rate = """
                {"key":"rpm","scope":{"tenant":"acme"},"measure":"requests",
                "rate":{"limit":60,"period":"minute","burst":60,"default_percent":50}}
                """
            try await server.ask("POST", "/budgets", rate, expecting: 201)
            let first = try await server.admit("1", seconds: "4")
            #expect(try Self.limits(first) == ["seconds 0 4 6", "rpm 29"])
            try await server.admit("2", seconds: "3")
            for trial in ["", #","dry_run":true"#, ""] {
                let again = try await server.admit("1", seconds: "4", more: trial)
                #expect(again["reservation"] == first["reservation"])
                #expect(again["warnings"]?.text == #"["repeated"]"#)
                #expect(try Self.limits(again) == ["seconds 0 7 3", "rpm 28"])
            }
            // By an array that makes what it repeats, too.
            let both = try await server.admit(together: [server.call("3"), server.call("3")])
            #expect(try both.map(Self.limits) == [["seconds 0 8 2", "rpm 27"], ["seconds 0 8 2", "rpm 27"]])
        }
    }

    @Test("a soft limit that is exceeded is remarked on, a hard one is not: the call is admitted")
    func exceeded() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("10")
            let soft = """
                {"key":"soft","scope":{"tenant":"acme"},"measure":"requests","amount":"1","window":"month",
                "mode":"soft"}
                """
            try await server.ask("POST", "/budgets", soft, expecting: 201)
            try await server.admit("1", seconds: "4")
            let second = try await server.admit("2", seconds: "3")
            #expect(second["warnings"]?.text == #"["soft_limit_exceeded"]"#)
            let again = try await server.admit("1", seconds: "4")
            #expect(again["warnings"]?.text == #"["repeated","soft_limit_exceeded"]"#)
            try await server.ask("DELETE", "/budgets/soft", expecting: 204)
            try await server.settle(second, event: "more", seconds: "9")
            let beyond = try await server.admit("1", seconds: "4")
            #expect(try Self.limits(beyond) == ["seconds 9 4 0"])
            #expect(beyond["warnings"]?.text == #"["repeated"]"#)
        }
    }

    @Test("an exceeded soft limit on money is remarked on for a call without a price, too, at first as when repeated")
    func exceededWithoutPrice() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            let price = """
                {"provider":"openai","model":"m1","token_class":"output","unit_amount":"1","currency":"USD",
                "effective_from":"2026-01-01T00:00:00Z"}
                """
            try await server.ask("POST", "/price-book", price, expecting: 201)
            let budget = """
                {"key":"costs","scope":{"tenant":"acme"},"measure":"cost","amount":"1","currency":"USD",
                "window":"month","mode":"soft"}
                """
            try await server.ask("POST", "/budgets", budget, expecting: 201)
            let used = """
                {"id":"e","source":"gw","type":"llm.completion","subject":"acme",
                "data":{"provider":"openai","model":"m1","output_tokens":2}}
                """
            try await server.ask("POST", "/events", used)
            let call = """
                {"id":"1","source":"gw","type":"llm.completion","subject":"acme",
                "data":{"provider":"openai","model":"m2","output_tokens":2}}
                """
            for isRepeated in [false, true] {
                let warnings = try await server.ask("POST", "/admissions", call)["warnings"]?.elements ?? []
                #expect(warnings.contains(.string("soft_limit_exceeded")), "\(warnings)")
                #expect(warnings.contains(.string("repeated")) == isRepeated, "\(warnings)")
            }
        }
    }

    @Test("who calls for a tenant is told nothing of limits over all tenants")
    func hidden() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("10")
            let company = #"{"key":"all","scope":{},"measure":"requests","amount":"9","window":"month","mode":"hard"}"#
            try await server.ask("POST", "/budgets", company, expecting: 201)
            let gateway = try await server.client([.admissionsWrite], tenant: "acme")
            for _ in 1...2 {
                let answer = try await server.admit("1", seconds: "4", as: gateway)
                #expect(try Self.limits(answer) == ["seconds 0 4 6"])
            }
            #expect(try await server.admit("1", seconds: "4")["limits"]?.elements?.count == 2)
        }
    }

    /// The key of each limit with what is used, held and remains, or with what is left of a rate.
    private static func limits(_ answer: JSONValue) throws -> [String] {
        try #require(answer["limits"]?.elements).map { limit in
            let key = try #require(limit["key"]?.string)
            if let left = limit["rate"]?["remaining"]?.number { return "\(key) \(left)" }
            return ([key] + ["used", "held", "remaining"].map { limit[$0]?.string ?? "-" }).joined(separator: " ")
        }
    }
}
