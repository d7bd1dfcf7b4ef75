/// What the demo configures: two tenants in two time zones, three meters with a feature each, one plan, and budgets for
/// the company and for each user.
enum DemoCatalogue {
    struct Tenant {
        let key: String
        let zone: String
        let body: String
    }

    /// Something with a key: where it is once it exists, and how it is made.
    struct Resource {
        let collection: String
        let path: String
        let body: String

        init(_ collection: String, _ key: String, _ body: String) {
            self.collection = "/api/v1/\(collection)"
            path = "/api/v1/\(collection)/\(key)"
            self.body = body
        }
    }

    static let plan = "pro"

    static let tenants = [
        Tenant(
            key: "acme",
            zone: "Europe/Berlin",
            body: """
                {"key": "acme", "name": "Acme GmbH", "currency": "USD", "timezone": "Europe/Berlin",
                 "subjects": ["acme-prod"], "billing_email": "ap@acme.example"}
                """
        ),
        Tenant(
            key: "globex",
            zone: "America/New_York",
            body: #"{"key": "globex", "name": "Globex Inc.", "currency": "USD", "timezone": "America/New_York"}"#
        ),
    ]

    static let resources =
        tenants.map { Resource("tenants", $0.key, $0.body) } + meters + features + [
            Resource("plans", plan, #"{"key": "pro", "name": "Pro", "currency": "USD"}"#)
        ] + budgets

    private static let meters = [
        Resource(
            "meters",
            "llm-requests",
            """
            {"key": "llm-requests", "name": "LLM requests", "event_type": "llm.completion", "aggregation": "count",
             "dimensions": {"model": "model"}}
            """
        ),
        Resource(
            "meters",
            "llm-tokens",
            """
            {"key": "llm-tokens", "name": "LLM tokens", "event_type": "llm.completion", "aggregation": "sum",
             "value": {"uncached_input": "uncached_input_tokens", "cached_input": "cached_input_tokens",
                       "cache_write": "cache_write_tokens", "output": "output_tokens"},
             "class_dimension": "token_class", "dimensions": {"model": "model"}}
            """
        ),
        Resource(
            "meters",
            "llm-users",
            """
            {"key": "llm-users", "name": "LLM users", "event_type": "llm.completion", "aggregation": "unique_count",
             "value": "user"}
            """
        ),
    ]

    private static let features = [
        Resource(
            "features",
            "requests",
            #"{"key": "requests", "name": "Requests", "meter": "llm-requests", "unit": "request"}"#
        ),
        Resource(
            "features",
            "chat-tokens",
            #"{"key": "chat-tokens", "name": "Chat tokens", "meter": "llm-tokens", "unit": "token"}"#
        ),
        Resource(
            "features",
            "active-users",
            #"{"key": "active-users", "name": "Active users", "meter": "llm-users", "unit": "user"}"#
        ),
    ]

    private static let budgets = [
        Resource(
            "budgets",
            "demo-company-day",
            """
            {"key": "demo-company-day", "scope": {}, "measure": "requests", "amount": "100000", "window": "day",
             "mode": "hard"}
            """
        ),
        Resource(
            "budgets",
            "demo-user-day",
            """
            {"key": "demo-user-day", "scope": {"tenant": "*", "user": "*", "plan": "pro"}, "measure": "charge",
             "amount": "5.00", "currency": "USD", "window": "day", "mode": "soft"}
            """
        ),
    ]

    static let version = """
        {"interval": "month",
         "fees": [{"key": "platform", "name": "Platform fee", "amount": "20.00", "charged": "in_advance"}],
         "charges": [
           {"feature": "chat-tokens", "price": {"model": "graduated", "tiers": [
             {"up_to": "50000", "unit_amount": "0"},
             {"up_to": "1000000", "unit_amount": "0.00002"},
             {"up_to": null, "unit_amount": "0.000015"}]}},
           {"feature": "requests", "price": {"model": "per_unit", "unit_amount": "0.001"}},
           {"feature": "active-users", "price": {"model": "per_unit", "unit_amount": "1.50"}}],
         "quotas": [
           {"feature": "chat-tokens", "limit": "5000000", "window": "billing_period", "mode": "hard",
            "overage": "denied"},
           {"feature": "requests", "limit": "1000", "window": "day", "mode": "soft", "overage": "allowed"}]}
        """

    static let gatewayKey = #"{"name": "demo gateway", "preset": "gateway"}"#
    static let portalKey =
        #"{"name": "demo portal", "scopes": ["quotas:read", "invoices:read", "subscriptions:read"], "tenant": "acme"}"#
}
