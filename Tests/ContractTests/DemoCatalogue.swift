import TestSupport

/// The tenants and the catalogue that the examples of the document speak of.
enum DemoCatalogue {
    static func make(_ client: TestClient) async throws {
        let created = [
            (
                "/api/v1/tenants",
                """
                {"key": "acme", "name": "Acme GmbH", "currency": "USD", "timezone": "Europe/Berlin",
                 "subjects": ["acme-prod", "org_123"]}
                """
            ),
            ("/api/v1/tenants", #"{"key": "initech", "name": "Initech", "currency": "EUR"}"#),
            (
                "/api/v1/meters",
                """
                {"key": "llm-tokens", "event_type": "llm.completion", "aggregation": "sum",
                 "value": {"uncached_input": "uncached_input_tokens", "cached_input": "cached_input_tokens",
                           "cache_write": "cache_write_tokens", "output": "output_tokens"},
                 "class_dimension": "token_class", "dimensions": {"model": "model"}}
                """
            ),
            (
                "/api/v1/features",
                #"{"key": "chat-tokens", "name": "Chat tokens", "meter": "llm-tokens", "unit": "token"}"#
            ),
            ("/api/v1/plans", #"{"key": "pro", "name": "Pro", "currency": "USD"}"#),
            ("/api/v1/plans/pro/versions", version),
        ]
        for (path, body) in created { try await client.post(path, body).expecting(201) }
        try await client.post("/api/v1/plans/pro/versions/1/publish").expecting(200)
        try await client.post("/api/v1/plans/pro/versions", version).expecting(201)
        let subscription = #"{"tenant": "acme", "plan": "pro", "version": 1}"#
        try await client.post("/api/v1/subscriptions", subscription).expecting(201)
        for budget in budgets { try await client.post("/api/v1/budgets", budget).expecting(201) }
        try await client.post("/api/v1/events", events).expecting(200)
    }

    private static let version = """
        {"interval": "month",
         "fees": [{"key": "platform", "name": "Platform fee", "amount": "20.00", "charged": "in_advance"}],
         "charges": [{"feature": "chat-tokens", "price": {"model": "graduated", "tiers": [
           {"up_to": "1000000", "unit_amount": "0"}, {"up_to": null, "unit_amount": "0.000002"}]}}],
         "quotas": [{"feature": "chat-tokens", "limit": "5000000", "window": "billing_period",
                     "mode": "hard", "overage": "denied"}]}
        """

    private static let budgets = [
        """
        {"key": "acme-u9", "scope": {"tenant": "acme", "user": "u9"}, "measure": "charge", "amount": "25.00",
         "currency": "USD", "window": "month", "mode": "hard"}
        """,
        """
        {"key": "acme-rpm", "scope": {"tenant": "acme"}, "measure": "requests",
         "rate": {"limit": 600, "period": "minute", "burst": 100}}
        """,
    ]

    private static let events = """
        [{"id": "evt-1", "source": "gw-1", "type": "llm.completion", "subject": "acme",
          "data": {"provider": "openai", "model": "gpt-4o", "input_tokens": 1200, "output_tokens": 300, "user": "u9"}},
         {"id": "evt-0", "source": "gw-1", "type": "llm.completion", "subject": "acme-eu",
          "data": {"model": "gpt-4o", "input_tokens": 10, "output_tokens": 20}}]
        """
}
