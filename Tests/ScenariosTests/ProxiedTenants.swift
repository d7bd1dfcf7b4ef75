import TestSupport
import Testing
import Web

/// Tenants whose calls a proxy asks about, and refuses for different reasons.
enum ProxiedTenants {
    /// A route of both documents to a model that has no price here.
    static let unpricedRoute = "/openai/deployments/gpt-4o-mini/chat/completions?api-version=2026-01-01"

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
                    #expect(answer.header("WWW-Authenticate") == nil)
                }
            }
        }
    }

    /// Acme may make three calls at once, the third a critical one, of models with a price; globex has no input tokens
    /// of chats left.
    static func configure(_ client: TestClient) async throws {
        let prices = ["input", "output"].map { kind in
            (
                "/price-book",
                """
                {"provider": "openai", "model": "gpt-4o", "token_class": "\(kind)", "unit_amount": "0.00001",
                 "effective_from": "2026-01-01T00:00:00Z"}
                """
            )
        }
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
                "/budgets",
                """
                {"key": "money", "scope": {"tenant": "acme"}, "measure": "cost", "amount": "5.00", "currency": "USD",
                 "window": "lifetime", "mode": "hard"}
                """
            ),
            ("/meters", #"{"key": "tokens", "event_type": "chat", "aggregation": "sum", "value": "input_tokens"}"#),
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
        for (path, body) in prices + requests { try await client.post("/api/v1\(path)", body).expecting(201) }
        try await client.post("/api/v1/plans/empty/versions/1/publish").expecting(200)
        let subscription = #"{"tenant": "globex", "plan": "empty", "version": 1}"#
        try await client.post("/api/v1/subscriptions", subscription).expecting(201)
    }
}
