import BillingCore
import TestSupport
import Testing
import Web

/// A tenant's own quotas in place of its plan's.
@Suite struct QuotaOverrideTests {
    private static let path = "/tenants/acme/quotas/tokens"

    private static func arrange(_ server: TestServer) async throws -> String {
        try await server.arrange()
        try await server.publish(limit: "100")
        try await server.publish(limit: "250", version: 2)
        let made = try await server.expect(
            201,
            "POST",
            "/subscriptions",
            #"{"tenant":"acme","plan":"pro","version":1}"#
        )
        return try #require(made.json["id"]?.string)
    }

    private static func limit(_ server: TestServer, _ window: String = "billing_period") async throws -> String? {
        try await server.expect(200, "GET", "\(path)?window=\(window)").json["limit"]?.string
    }

    @Test func itReplacesThePlansAmountUntilItIsRemoved() async throws {
        try await TestServer.run { server in
            let id = try await Self.arrange(server)
            try await server.ingest(SentEvent("1", type: "llm.completion", data: #"{"output_tokens":10}"#))
            let plain = try await server.expect(200, "GET", Self.path)
            #expect(plain.header("ETag") == "\"0\"")
            #expect(plain.json["override"]?.isNull == true)
            let first = try await server.expect(
                200,
                "PUT",
                "\(Self.path)?window=billing_period",
                #"{"limit":"500"}"#,
                headers: ["If-Match": "\"0\""]
            )
            #expect(first.json["limit"]?.string == "500")
            #expect(first.header("ETag") == "\"1\"")
            _ = try await server.expect(
                412,
                "PUT",
                "\(Self.path)?window=billing_period",
                #"{"limit":"600"}"#,
                headers: ["If-Match": "\"0\""]
            )
            let shown = try await server.expect(200, "GET", Self.path)
            #expect(shown.json["limit"]?.string == "500")
            #expect(shown.json["used"]?.string == "10")
            #expect(shown.json["mode"]?.string == "hard")
            #expect(shown.json["override"]?["limit"]?.string == "500")
            // It outlives a change of plan.
            server.clock.advance(seconds: 1)
            _ = try await server.expect(200, "POST", "/subscriptions/\(id)/change", #"{"plan":"pro","version":2}"#)
            #expect(try await Self.limit(server) == "500")
            _ = try await server.expect(204, "DELETE", "\(Self.path)?window=billing_period")
            #expect(try await Self.limit(server) == "250")
            _ = try await server.expect(404, "DELETE", "\(Self.path)?window=billing_period")
            // A revision never repeats.
            let again = try await server.expect(200, "PUT", "\(Self.path)?window=billing_period", #"{"limit":"7"}"#)
            #expect(again.header("ETag") == "\"3\"")
            let audit = try await server.expect(
                200,
                "GET",
                "/audit-log?resource=quota_override:acme/tokens/billing_period"
            )
            #expect(audit.json["data"]?.elements?.count == 3)
            #expect(try await server.differences() == [])
        }
    }

    @Test func itMayLimitWhatThePlanDoesNot() async throws {
        try await TestServer.run { server in
            _ = try await Self.arrange(server)
            try await server.ingest(SentEvent("1", type: "llm.completion", data: #"{"output_tokens":10}"#))
            let body = #"{"limit":"40","mode":"soft"}"#
            _ = try await server.expect(200, "PUT", "\(Self.path)?window=day", body)
            let quota = try await server.expect(200, "GET", "\(Self.path)?window=day")
            #expect(quota.json["limit"]?.string == "40")
            #expect(quota.json["overage"]?.string == "allowed")
            // What the day has seen counts.
            #expect(quota.json["used"]?.string == "10")
            try await server.ingest(SentEvent("2", type: "llm.completion", data: #"{"output_tokens":5}"#))
            #expect(try await server.used("tokens", window: "day") == "15")
            #expect(try await server.expect(409, "DELETE", "/features/tokens").code == "feature_in_use")
            _ = try await server.expect(204, "DELETE", "\(Self.path)?window=day")
            _ = try await server.expect(404, "GET", "\(Self.path)?window=day")
            #expect(try await server.differences() == [])
        }
    }

    @Test func anotherModeBringsItsOwnOverage() async throws {
        try await TestServer.run { server in
            try await server.arrange()
            let quota = #"{"feature":"tokens","limit":"100","window":"day","mode":"soft"}"#
            try await server.publish(#"{"quotas":[\#(quota)]}"#)
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            let path = "\(Self.path)?window=day"
            for (body, mode, overage) in [
                (#"{"limit":"7"}"#, "soft", "allowed"), (#"{"limit":"7","mode":"hard"}"#, "hard", "denied"),
                (#"{"limit":"7","mode":"hard","overage":"allowed"}"#, "hard", "allowed"),
                // Who denies what is beyond means a hard one.
                (#"{"limit":"7","overage":"denied"}"#, "hard", "denied"),
            ] {
                _ = try await server.expect(200, "PUT", path, body)
                let quota = try await server.expect(200, "GET", path).json
                #expect(quota["mode"]?.string == mode && quota["overage"]?.string == overage, "\(body)")
            }
        }
    }

    @Test func itWaitsForASubscription() async throws {
        try await TestServer.run { server in
            try await server.arrange()
            try await server.publish(limit: "100")
            _ = try await server.expect(200, "PUT", "\(Self.path)?window=billing_period", #"{"limit":"40"}"#)
            _ = try await server.expect(404, "GET", Self.path)
            let made = try await server.expect(201, "POST", "/subscriptions", #"{"tenant":"acme","plan":"pro"}"#)
            #expect(try await Self.limit(server) == "40")
            let id = try #require(made.json["id"]?.string)
            _ = try await server.expect(200, "POST", "/subscriptions/\(id)/cancel")
            _ = try await server.expect(404, "GET", Self.path)
        }
    }

    @Test func refusesWhatIsNoQuota() async throws {
        try await TestServer.run { server in
            _ = try await Self.arrange(server)
            let faulty: [(String, String, [String])] = [
                (Self.path, #"{"limit":"1"}"#, ["?window"]),
                ("\(Self.path)?window=fortnight", #"{"limit":"1"}"#, ["?window"]),
                ("\(Self.path)?window=day", "{}", ["/limit"]),
                ("\(Self.path)?window=day", #"{"limit":"-1"}"#, ["/limit"]),
                ("\(Self.path)?window=day", #"{"limit":"1","mode":"firm"}"#, ["/mode"]),
                ("\(Self.path)?window=day", #"{"limit":"1","mode":"soft","overage":"denied"}"#, ["/overage"]),
            ]
            for (path, body, pointers) in faulty {
                #expect(try await server.expect(400, "PUT", path, body).pointers == pointers)
            }
            _ = try await server.expect(404, "PUT", "/tenants/acme/quotas/none?window=day", #"{"limit":"1"}"#)
            _ = try await server.expect(404, "PUT", "/tenants/none/quotas/tokens?window=day", #"{"limit":"1"}"#)
            let bound = try await server.client([.subscriptionsWrite], tenant: "acme")
            let own = try await server.expect(403, "PUT", "\(Self.path)?window=day", #"{"limit":"1"}"#, as: bound)
            #expect(own.code == "operator_only")
        }
    }
}
