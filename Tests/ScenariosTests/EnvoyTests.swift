import TestSupport
import Testing
import Web

/// Envoy as `docs/integrations.md` sets it up, in front of a provider.
@Suite(
    .enabled(if: TestTools.isCI || DocumentedEnvoy.program != nil, "envoy is not installed; run scripts/test"),
    .timeLimit(.minutes(15))
)
struct EnvoyTests {
    @Test("Envoy lets through what is admitted, and says why and until when a call is refused")
    func callsAreAdmitted() async throws {
        try await TurnpikeProcess.run { turnpike in
            try await ProxiedTenants.configure(turnpike.operatorClient)
            let key = try await turnpike.makeKey(scopes: ["admissions:write"])
            let provider = try OneAnswerServer(
                answer: "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nHello"
            )
            defer { provider.stop() }
            try await DocumentedEnvoy.run(before: provider.port, admittedBy: turnpike, key: key) { envoy in
                func call(
                    _ key: String,
                    _ headers: [String: String] = [:],
                    at path: String = "/v1/chat/completions"
                ) async throws -> TestResponse {
                    let own = ["X-Api-Key": key].merging(headers) { $1 }
                    return try await envoy.post(path, #"{"model":"m"}"#, headers: own)
                }
                let first = try await call("key-of-acme").expecting(200)
                #expect(first.text == "Hello")
                // Of three, one is kept for critical calls.
                #expect(first.header("RateLimit") == #""hourly";r=1"#)
                #expect(!provider.request.lowercased().contains("x-turnpike"))
                #expect(!provider.request.contains("key-of-acme"))
                #expect(!provider.request.contains(key))
                let unpriced = try await call("key-of-acme", at: ProxiedTenants.unpricedRoute).expecting(403)
                // By a budget on what providers charge, of which clients are told nothing.
                #expect(unpriced.header("X-Turnpike-Reason") == "limit_exceeded")
                #expect(unpriced.header("X-Turnpike-Limit") == nil)
                // One more; what a client claims makes no difference, and its own authorization is for the provider.
                let claims = ["X-Turnpike-Subject": "globex", "Authorization": "Bearer for-the-provider"]
                try await call("key-of-acme", claims).expecting(200)
                #expect(provider.request.contains("for-the-provider"))
                let limited = try await call("key-of-acme", ["X-Turnpike-Subject": "globex"]).expecting(429)
                #expect(limited.header("X-Turnpike-Reason") == "rate_limited")
                #expect(limited.header("X-Turnpike-Limit") == "hourly")
                #expect(limited.header("Retry-After").flatMap { Int($0) }.map { (1...3_600).contains($0) } == true)
                let exhausted = try await call("key-of-globex").expecting(403)
                #expect(exhausted.header("X-Turnpike-Reason") == "quota_exceeded")
                #expect(exhausted.header("X-Turnpike-Limit") == "tokens")
                try await call("key-of-nobody").expecting(401)
                #expect(try await call("key-of-hooli").expecting(403).header("X-Turnpike-Reason") == "unknown_subject")
                let unasked = try await envoy.delete("/v1/files/1", headers: ["X-Api-Key": "key-of-acme"])
                #expect(try unasked.expecting(503).json["error"]?.string == "limits_unavailable")
                #expect(provider.connections == 2)
                await turnpike.child.stop()
                let unavailable = try await call("key-of-acme").expecting(503)
                #expect(unavailable.header("Retry-After") == "1")
                #expect(unavailable.json["error"]?.string == "limits_unavailable")
                #expect(provider.connections == 2)
            }
        }
    }

    @Test("with a key of the proxy's own that is not good, every call is unavailable and none refused")
    func theProxysOwnKey() async throws {
        try await ProxiedTenants.expectUnavailable { turnpike, key, body in
            try await DocumentedEnvoy.run(before: 9, admittedBy: turnpike, key: key, body)
        }
    }
}
