import Postgres
import TestSupport
import Testing
import Web

/// Every way a request can be wrong, over real HTTP: each answer is a problem with the request's id.
@Suite struct FaultTests {
    @Test func everyFaultIsAProblemWithTheRequestID() async throws {
        try await TestServer.run { server in
            let reader = try await server.client([.auditRead])
            let owner = server.operatorClient
            let keys = "/api/v1/api-keys"
            let large = #"{"name":""# + String(repeating: "x", count: 300_000) + #""}"#
            let faults: [(TestResponse, Int, String)] = [
                (try await owner.get("/api/v1/nothing"), 404, "route_not_found"),
                (try await owner.send("PUT", keys, body: nil), 405, "method_not_allowed"),
                (try await owner.post(keys, "{"), 400, "malformed_json"),
                (try await owner.post(keys, "[]"), 400, "validation_failed"),
                (try await owner.post(keys, large), 413, "content_too_large"),
                (
                    try await owner.post(keys, "a=b", headers: ["Content-Type": "text/plain"]), 415,
                    "unsupported_media_type"
                ),
                (try await server.anonymous.get(keys), 401, "unauthenticated"),
                (try await reader.get(keys), 403, "insufficient_scope"),
                (try await owner.get(keys + "?limit=0"), 400, "validation_failed"),
                (try await owner.get(keys + "/absent"), 404, "api_key_not_found"),
            ]
            for (answer, status, code) in faults {
                #expect(answer.status == status, "\(code): \(answer)")
                #expect(answer.code == code)
                #expect(answer.header("Content-Type") == "application/problem+json")
                #expect(answer.json["type"]?.string == "/problems/\(code)")
                #expect(answer.json["status"]?.number == String(status))
                #expect(answer.json["title"]?.string?.isEmpty == false)
                #expect(answer.json["detail"]?.string?.isEmpty == false)
                #expect(answer.json["instance"]?.string?.hasPrefix("/api/v1/") == true)
                #expect(answer.json["request_id"]?.string == answer.header("X-Request-Id"))
                #expect(answer.header("X-Request-Id")?.isEmpty == false)
            }
        }
    }

    @Test func aConnectionLostWhileReadingLeavesNothingInDoubt() async throws {
        let lost = PostgresError(.connection, "lost", outcomeUnknown: true)
        try await WebHarness.run { operations in
            operations.get("/thing", "getThing", scope: .all) { _, _ in throw lost }
            operations.post("/thing", "makeThing", scope: .all) { _, _ in throw lost }
        } _: { harness in
            let read = try await harness.client.get("/api/v1/thing").expecting(503)
            #expect(read.json["detail"]?.string?.hasSuffix("Nothing was changed.") == true)
            let written = try await harness.client.post("/api/v1/thing").expecting(503)
            #expect(written.json["detail"]?.string?.contains("is not known") == true)
        }
    }

    @Test func allFaultsOfABodyAreToldAtOnceWithTheirPointers() async throws {
        try await TestServer.run { server in
            let answer = try await server.operatorClient.post(
                "/api/v1/api-keys",
                #"{"nam": "x", "scopes": ["events:wirte", 7], "expires_at": "yesterday"}"#
            )
            #expect(answer.status == 400)
            #expect(Set(answer.pointers) == ["/name", "/nam", "/scopes/0", "/scopes/1", "/expires_at"])
        }
    }

    @Test func unknownAndRepeatedQueryParametersAreRefusedWithTheNearestName() async throws {
        try await TestServer.run { server in
            let answer = try await server.operatorClient.get("/api/v1/api-keys?limt=3&cursor=a&cursor=b")
            #expect(answer.status == 400)
            #expect(answer.pointers.contains("?limt"))
            #expect(answer.pointers.contains("?cursor"))
            #expect(answer.text.contains("Do you mean 'limit'?"))
        }
    }

    @Test func aWrongMethodTellsTheRightOnes() async throws {
        try await TestServer.run { server in
            let keys = try await server.operatorClient.send("PATCH", "/api/v1/api-keys", body: nil)
            #expect(keys.header("Allow") == "GET, HEAD, POST")
            let key = try await server.operatorClient.post("/api/v1/api-keys/abc", "{}")
            #expect(key.status == 405)
            #expect(key.header("Allow") == "DELETE, GET, HEAD, PATCH")
        }
    }

    @Test func aChallengeSaysHowToAuthenticateAndWhichScopeIsMissing() async throws {
        try await TestServer.run { server in
            let missing = try await server.anonymous.get("/api/v1/api-keys")
            #expect(missing.header("WWW-Authenticate") == #"Bearer realm="turnpike""#)
            let basic = try await server.anonymous.get("/api/v1/api-keys", headers: ["Authorization": "Basic YTpi"])
            #expect(basic.status == 401)
            let narrow = try await server.client([.eventsWrite]).get("/api/v1/api-keys")
            #expect(narrow.header("WWW-Authenticate")?.contains(#"scope="identity:write""#) == true)
            #expect(narrow.text.contains("identity:write"))
        }
    }

    @Test func aSaneRequestIDIsKeptAndAnyOtherReplaced() async throws {
        try await TestServer.run { server in
            let kept = try await server.anonymous.get("/healthz", headers: ["X-Request-Id": "trace-1:a/b"])
            #expect(kept.header("X-Request-Id") == "trace-1:a/b")
            for bad in [String(repeating: "x", count: 129), "two words", "quote\""] {
                let answer = try await server.anonymous.get("/healthz", headers: ["X-Request-Id": bad])
                #expect(answer.status == 200)
                #expect(answer.header("X-Request-Id") != bad)
                #expect(answer.header("X-Request-Id")?.count == 36)
            }
        }
    }

    @Test func answersCarrySecurityHeaders() async throws {
        try await TestServer.run { server in
            let answer = try await server.operatorClient.get("/api/v1/api-keys")
            #expect(answer.header("X-Content-Type-Options") == "nosniff")
            #expect(answer.header("Cache-Control") == "no-store")
            #expect(answer.header("Content-Security-Policy")?.contains("default-src 'none'") == true)
        }
    }

    @Test func headAnswersLikeGetWithoutABody() async throws {
        try await TestServer.run { server in
            let get = try await server.anonymous.get("/openapi.yaml")
            let head = try await server.anonymous.send("HEAD", "/openapi.yaml", body: nil)
            #expect(head.status == 200)
            #expect(head.body.isEmpty)
            #expect(head.header("Content-Length") == get.header("Content-Length"))
        }
    }
}
