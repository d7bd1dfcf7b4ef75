import TestSupport
import Testing
import Web

/// nginx as `docs/integrations.md` sets it up, in front of a provider.
@Suite(.enabled(if: TestTools.isCI || DocumentedNginx.isInstalled, "nginx is not installed"), .timeLimit(.minutes(15)))
struct NginxTests {
    @Test("nginx lets through what is admitted, and says why and until when a call is refused")
    func callsAreAdmitted() async throws {
        try await TurnpikeProcess.run { turnpike in
            let client = turnpike.operatorClient
            try await ProxiedTenants.configure(client)
            let key = try await turnpike.makeKey(scopes: ["admissions:write"])
            let provider = try OneAnswerServer(answer: "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nHello")
            defer { provider.stop() }
            try await DocumentedNginx.run(before: provider.port, admittedBy: turnpike, key: key) { nginx in
                func call(
                    _ key: String,
                    _ headers: [String: String] = [:],
                    at path: String = "/v1/chat/completions",
                    prompt: String = ""
                ) async throws -> TestResponse {
                    let own = ["X-Api-Key": key].merging(headers) { $1 }
                    return try await nginx.post(path, #"{"model":"m"\#(prompt)}"#, headers: own)
                }
                #expect(try await call("key-of-acme").expecting(200).text == "Hello")
                #expect(provider.request.contains(#"{"model":"m"}"#))
                #expect(!provider.request.contains("key-of-acme"))
                let unpriced = try await call("key-of-acme", at: ProxiedTenants.unpricedRoute).expecting(403)
                // By a budget on what providers charge, of which clients are told nothing.
                #expect(unpriced.json["error"]?.string == "limit_exceeded")
                #expect(unpriced.header("X-Turnpike-Limit") == nil)
                // One more; what a client claims makes no difference.
                let long = #","prompt":"\#(String(repeating: "a", count: 3_000_000))""#
                try await call("key-of-acme", ["X-Turnpike-Subject": "globex"], prompt: long).expecting(200)
                let limited = try await call("key-of-acme", ["X-Turnpike-Subject": "globex"]).expecting(429)
                #expect(limited.json["error"]?.string == "rate_limited")
                #expect(limited.header("X-Turnpike-Limit") == "hourly")
                #expect(limited.header("Retry-After").flatMap { Int($0) }.map { (1...3_600).contains($0) } == true)
                let exhausted = try await call("key-of-globex").expecting(403)
                #expect(exhausted.json["error"]?.string == "quota_exceeded")
                #expect(exhausted.header("X-Turnpike-Limit") == "tokens")
                for key in ["key-of-nobody", "KEY-of-acme"] {
                    let unknown = try await call(key).expecting(401)
                    #expect(unknown.json["error"]?.string == "unknown_key")
                }
                let gone = try await call("key-of-hooli").expecting(403)
                #expect(gone.json["error"]?.string == "unknown_subject")
                #expect(provider.connections == 2)
                await turnpike.child.stop()
                let unavailable = try await call("key-of-acme").expecting(503)
                #expect(unavailable.header("Retry-After") == "1")
                #expect(provider.connections == 2)
            }
        }
    }

    @Test("with a key of the proxy's own that is not good, every call is unavailable and none refused")
    func theProxysOwnKey() async throws {
        try await ProxiedTenants.expectUnavailable { turnpike, key, body in
            try await DocumentedNginx.run(before: 9, admittedBy: turnpike, key: key, body)
        }
    }
}
