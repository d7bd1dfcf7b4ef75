import TestSupport
import Testing
import Web

/// Tenants whose calls a proxy asks about, and refuses for different reasons.
enum ProxiedTenants {
    /// With a key of the proxy's own that is not good, every call is unavailable and none refused.
    /// - Parameter run: runs a proxy with such a key in front of nobody.
    static func expectUnavailable(
        _ run: (TurnpikeProcess, _ key: String, (TestClient) async throws -> Void) async throws -> Void
    ) async throws {
        try await TurnpikeProcess.run { turnpike in
            try await configure(turnpike.operatorClient)
            let other = try await turnpike.makeKey(scopes: ["events:write"])
            for key in [other, "tpk_0000000000000000_wrong"] {
                try await run(turnpike, key) { proxy in
                    let answer = try await proxy.post("/", "", headers: ["X-Api-Key": "key-of-acme"]).expecting(503)
                    #expect(answer.json["error"]?.string == "limits_unavailable")
                }
            }
        }
    }

    /// Acme may make three calls at once, the third a critical one; globex has no tokens left.
    static func configure(_ client: TestClient) async throws {
        let requests = [
            ("/tenants", #"{"key": "acme", "name": "Acme", "currency": "USD"}"#),
            ("/tenants", #"{"key": "globex", "name": "Globex", "currency": "USD"}"#),
            (
                "/budgets",
                """
                {"key": "hourly", "scope": {"tenant": "acme"}, "measure": "requests",
                 "rate": {"limit": 3, "period": "hour", "burst": 3}}
                """
            ),
            (
                "/meters",
                #"{"key": "tokens", "event_type": "llm.completion", "aggregation": "sum", "value": "output_tokens"}"#
            ),
            ("/features", #"{"key": "tokens", "name": "Tokens", "meter": "tokens", "unit": "token"}"#),
            ("/plans", #"{"key": "empty", "name": "Empty", "currency": "USD"}"#),
            (
                "/plans/empty/versions",
                """
                {"interval": "month", "quotas": [{"feature": "tokens", "limit": "0", "window": "month", "mode": "hard",
                 "overage": "denied"}]}
                """
            ),
        ]
        for (path, body) in requests { try await client.post("/api/v1\(path)", body).expecting(201) }
        try await client.post("/api/v1/plans/empty/versions/1/publish").expecting(200)
        let subscription = #"{"tenant": "globex", "plan": "empty", "version": 1}"#
        try await client.post("/api/v1/subscriptions", subscription).expecting(201)
    }
}
