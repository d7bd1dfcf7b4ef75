import TestSupport
import Web

/// Two tenants on one plan, each with everything a tenant can have, so that every tenant-owned table has rows of both.
struct TwoTenants: Sendable {
    /// What names a tenant's things, or nobody's.
    struct Names: Sendable {
        var tenant: String
        var subject: String
        var subscription: String
        var apiKey: String
        var portalSession: String
        var client: String
        var source: String
        var event: String
        var idempotencyKey: String
        var budget: String
        var reservation: String

        /// Of the same shapes, and of nothing that exists.
        static let absent = Names(
            tenant: "zulu",
            subject: "zulu-subject",
            subscription: "0193a1c2-6c5e-7f3a-9d61-1b2c3d4e5f60",
            apiKey: "ZZZZZZZZZZZZZZZZ",
            portalSession: "YYYYYYYYYYYYYYYY",
            client: "zulu222222222222",
            source: "zulu-source",
            event: "zulu-event",
            idempotencyKey: "zulu-idempotency",
            budget: "zulu-budget",
            reservation: "0193a1c2-6c5e-7f3a-9d61-1b2c3d4e5f61"
        )

        /// The text without the names, so that answers about different things can be compared.
        func removed(from text: String) -> String {
            let names = [
                (subject, "<subject>"), (subscription, "<subscription>"), (apiKey, "<api key>"), (client, "<client>"),
                (portalSession, "<portal session>"), (source, "<source>"), (event, "<event>"), (invoice, "<invoice>"),
                (creditGrant, "<credit grant>"), (discount, "<discount>"), (budget, "<budget>"),
                (creditNote, "<credit note>"), (alert, "<alert>"), (webhookEndpoint, "<endpoint>"),
                (delivery, "<delivery>"), (reservation, "<reservation>"), (tenant, "<tenant>"),
            ]
            return names.reduce(text) { $0.replacing($1.0, with: $1.1) }
        }

        /// A call that is admitted for the tenant.
        var admission: String { admission(of: subject) }

        /// The same call, for whom it may be.
        func admission(of subject: String, more: String = "") -> String {
            """
            {"subject": "\(subject)", "type": "llm.completion", "source": "\(source)", "id": "\(event)-call",
             "data": {"output_tokens": 5, "user": "\(tenant)-user-0"}\(more)}
            """
        }

        /// What only an answer about the tenant itself contains.
        var secrets: [String] {
            ["\(tenant) Ltd", "\(tenant)@example.com", "\(tenant)-note", "\(tenant)-user", subject] + ids
        }

        private var ids: [String] {
            [
                subscription, apiKey, portalSession, client, invoice, creditGrant, discount, creditNote, alert, budget,
                webhookEndpoint, delivery, reservation,
            ]
        }

        /// What must not be in an answer to somebody else.
        var marks: [String] { [tenant] + ids }
    }

    struct Side: Sendable {
        let names: Names
        /// Has a key with every scope, bound to the tenant.
        let client: TestClient
    }

    let alpha: Side
    let bravo: Side

    @discardableResult
    static func make(_ server: TestServer) async throws -> TwoTenants {
        let client = server.operatorClient
        for (path, body) in catalogue { try await client.post(path, body).expecting(201) }
        try await client.post("/api/v1/plans/pair/versions/1/publish").expecting(200)
        let pair = TwoTenants(
            alpha: try await side("alpha", server),
            bravo: try await side("bravo", server)
        )
        // No operation leaves a tenant's own unmatched event; a table of tenants has rows of both all the same.
        try await server.database.run(
            """
            INSERT INTO unmatched_event (
                tenant_id, event_key, content_hash, received_at, event_time, time_given, subject, source, event_id,
                event_type, event
            )
            SELECT tenant_id, gen_random_uuid(), 0, now(), now(), true, key || '-lost', 'gw', 'lost', 'x', '{}'
            FROM tenant;
            INSERT INTO unpriced_usage (
                tenant_id, reason, provider, model, day_start, event_count, input_tokens, output_tokens,
                attempted_version
            )
            SELECT tenant_id, 'fx_rate', 'openai', 'gpt-4o', '2026-11-23Z', 1, 1, 1, 0
            FROM tenant;
            INSERT INTO alert (tenant_id, alert_id, alert_key, kind, tenant_key, raised_at, detail)
            SELECT tenant_id, ('0193a1c2-0005-7000-8000-00000000000' || tenant_id)::uuid, 'old', 'limit_reached', key,
                '2026-11-23Z', jsonb_build_object('told', key || '-note')
            FROM tenant;
            INSERT INTO signing_key (
                tenant_id, key_id, algorithm, public_jwk, sealed_private_key, created_at, signs_from
            )
            SELECT tenant_id, key, 'ES256', '{}', '', '2020-01-01Z', '2020-01-01Z' FROM tenant;
            INSERT INTO identity_provider (
                tenant_id, provider_key, issuer, definition, created_at, updated_at, revision
            )
            SELECT tenant_id, key, key, '{}', '2026-11-23Z', '2026-11-23Z', 1 FROM tenant;
            INSERT INTO revoked_token (tenant_id, token_id, revoked_at, expires_at)
            SELECT tenant_id, gen_random_uuid(), '2026-11-23Z', '2030-01-01Z' FROM tenant;
            INSERT INTO client_assertion (tenant_id, client_id, assertion_hash, expires_at)
            SELECT tenant_id, client_id, '', '2030-01-01Z' FROM oauth_client;
            INSERT INTO alert_waiting (tenant_id, alert_id, alert_key, kind, raised_at, detail)
            SELECT tenant_id, gen_random_uuid(), '', '', '2026-11-23Z', '{}' FROM tenant;
            INSERT INTO hold_change (tenant_id, changed_at, due_at, is_begun)
            SELECT tenant_id, 'infinity', 'infinity', false FROM tenant
            ON CONFLICT (tenant_id) DO UPDATE SET changed_at = excluded.changed_at, due_at = excluded.due_at;
            INSERT INTO budget_change (tenant_id, limit_id, changed_at, horizon)
            SELECT tenant_id, limit_id, 'infinity', '9223372036854775807' FROM budget;
            INSERT INTO subscription_extension (tenant_id, subscription_id, extended_from, counted_after_seq)
            SELECT tenant_id, subscription_id, '2030-01-01Z', 0 FROM subscription
            """
        )
        try await server.database.run(financeRows)
        try await server.database.run(webhookRows)
        return pair
    }

    private static func side(_ key: String, _ server: TestServer) async throws -> Side {
        let client = server.operatorClient
        let tenant = """
            {"key": "\(key)", "name": "\(key) Ltd", "currency": "USD", "subjects": ["\(key)-subject"],
             "billing_email": "\(key)@example.com", "metadata": {"note": "\(key)-note"}}
            """
        try await client.post("/api/v1/tenants", tenant).expecting(201)
        let subscription = try await client.post(
            "/api/v1/subscriptions",
            #"{"tenant": "\#(key)", "plan": "pair", "version": 1}"#
        ).expecting(201)
        try await client.send(
            "PUT",
            "/api/v1/tenants/\(key)/quotas/tokens?window=hour",
            body: Array(#"{"limit": "800"}"#.utf8)
        ).expecting(200)
        let scopes = Scope.allCases.map { "\"\($0.rawValue)\"" }.joined(separator: ",")
        let apiKey = try await client.post(
            "/api/v1/api-keys",
            #"{"name": "\#(key) key", "scopes": [\#(scopes)], "tenant": "\#(key)"}"#
        ).expecting(201)
        let session = try await client.post("/api/v1/tenants/\(key)/portal-sessions").expecting(201)
        let oauthClient = try await server.makeOAuthClient(Scope.allCases, tenant: key)
        var names = Names(
            tenant: key,
            subject: "\(key)-subject",
            subscription: subscription.json["id"]?.string ?? "",
            apiKey: apiKey.json["id"]?.string ?? "",
            portalSession: session.json["id"]?.string ?? "",
            client: oauthClient.id,
            source: "\(key)-source",
            event: "\(key)-event",
            idempotencyKey: "\(key)-idempotency",
            budget: "\(key)-budget",
            reservation: ""
        )
        let budget = """
            {"key": "\(names.budget)", "scope": {"user": "*"}, "measure": "requests", "amount": "50", "window": "day"}
            """
        let own = server.anonymous.with(key: apiKey.json["key"]?.string)
        let rate = """
            {"key": "\(names.budget)-rate", "scope": {"user": "*"}, "measure": "requests",
             "rate": {"limit": 60, "period": "minute", "burst": 10}}
            """
        for body in [budget, rate] { try await own.post("/api/v1/budgets", body).expecting(201) }
        try await report(names, with: own)
        let admission = try await own.post("/api/v1/admissions", names.admission).expecting(200)
        names.reservation = admission.json["reservation"]?["id"]?.string ?? ""
        return Side(names: names, client: own)
    }

    /// Usage through the tenant's own key, and one event taken back under an idempotency key.
    private static func report(_ names: Names, with client: TestClient) async throws {
        let events = (0..<3).map { index in
            """
            {"id": "\(names.event)\(index == 0 ? "" : "-\(index)")", "source": "\(names.source)",
             "type": "llm.completion", "subject": "\(names.subject)",
             "data": {"output_tokens": \(100 + index), "user": "\(names.tenant)-user-\(index)"}}
            """
        }
        try await client.post("/api/v1/events", "[\(events.joined(separator: ","))]").expecting(200)
        try await client.post(
            "/api/v1/events/void",
            #"{"source": "\#(names.source)", "id": "\#(names.event)-2", "tenant": "\#(names.tenant)"}"#,
            headers: ["Idempotency-Key": names.idempotencyKey]
        ).expecting(200)
    }

    private static let catalogue = [
        (
            "/api/v1/meters",
            #"{"key": "tokens", "event_type": "llm.completion", "aggregation": "sum", "value": "output_tokens"}"#
        ),
        (
            "/api/v1/meters",
            #"{"key": "users", "event_type": "llm.completion", "aggregation": "unique_count", "value": "user"}"#
        ),
        ("/api/v1/features", #"{"key": "tokens", "name": "Tokens", "meter": "tokens", "unit": "token"}"#),
        ("/api/v1/features", #"{"key": "users", "name": "Users", "meter": "users", "unit": "user"}"#),
        ("/api/v1/plans", #"{"key": "pair", "name": "Pair", "currency": "USD"}"#),
        (
            "/api/v1/plans/pair/versions",
            """
            {"interval": "month",
             "fees": [{"key": "platform", "name": "Platform fee", "amount": "20.00", "charged": "in_advance"}],
             "charges": [{"feature": "tokens", "price": {"model": "per_unit", "unit_amount": "0.01"}},
                         {"feature": "users", "price": {"model": "per_unit", "unit_amount": "1"}}],
             "spend_cap": {"amount": "500.00", "mode": "hard"},
             "quotas": [{"feature": "tokens", "limit": "1000", "window": "billing_period", "mode": "hard",
                         "overage": "denied"},
                        {"feature": "tokens", "limit": "900", "window": "day", "mode": "soft", "overage": "allowed"}]}
            """
        ),
    ]
}
