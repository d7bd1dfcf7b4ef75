import TestSupport

/// Tenants whose calls a proxy asks about, and refuses for different reasons.
enum ProxiedTenants {
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
