import BillingCore
import Postgres
import Testing
import TestSupport
import Web

@testable import Catalog

/// A migrated database of its own with a pool and a read model over it, for tests below HTTP.
struct CatalogFixture: Sendable {
    let database: TestDatabase
    let pool: PostgresPool
    let clock = TestClock()
    let catalog: Catalog

    var configuration: PostgresConfiguration { PostgresConfiguration(url: database.url) }

    static func run(
        capacity: Int = 1_000,
        _ body: (CatalogFixture) async throws -> Void
    ) async throws {
        let database = try await TestDatabase.create()
        let pool = PostgresPool(PostgresConfiguration(url: database.url), logger: .silent)
        let fixture = CatalogFixture(database: database, pool: pool, capacity: capacity)
        do {
            try await body(fixture)
        } catch {
            await pool.close()
            try await database.drop()
            throw error
        }
        await pool.close()
        try await database.drop()
    }

    private init(database: TestDatabase, pool: PostgresPool, capacity: Int) {
        self.database = database
        self.pool = pool
        catalog = Catalog(pool: pool, clock: clock.clock, capacity: capacity)
    }

    /// Tenants `t1`, `t2`, ... by generated rows; each also answers to the subject `s<n>`.
    func addTenants(_ count: Int) async throws {
        try await database.run(
            """
            INSERT INTO tenant (tenant_id, key, name, currency, timezone, metadata, status, created_at, updated_at,
                revision)
            SELECT n, 't' || n, 'Tenant', 'USD', 'UTC', '{}', 'active', now(), now(), 1 FROM generate_series(1,
                \(count)) n;
            INSERT INTO subject_directory (subject, tenant_id, is_key)
            SELECT 't' || n, n, true FROM generate_series(1, \(count)) n
            UNION ALL SELECT 's' || n, n, false FROM generate_series(1, \(count)) n;
            INSERT INTO tenant_ledger (tenant_id, ledger_seq, catalog_version)
            SELECT n, 0, 1 FROM generate_series(1, \(count)) n;
            SELECT setval('tenant_id_seq', \(count));
            """
        )
    }

    /// One published plan of nothing, to which every tenant subscribes from the start of 2026.
    func subscribeEverybody() async throws {
        try await database.run(
            """
            INSERT INTO plan (plan_id, key, name, currency, created_at, updated_at, revision)
            VALUES (1, 'pro', 'Pro', 'USD', now(), now(), 1);
            INSERT INTO plan_version (plan_version_id, plan_id, version, status, definition, created_at, updated_at,
                published_at, revision)
            VALUES (1, 1, 1, 'published', '{"interval":"month"}', now(), now(), now(), 1);
            INSERT INTO subscription (tenant_id, subscription_id, plan_version_id, timezone, anchor, starts_at,
                created_at, updated_at, revision)
            SELECT tenant_id,
                overlay(overlay(gen_random_uuid()::text placing '7' from 15) placing '8' from 20)::uuid, 1,
                'UTC', '2026-01-01Z', '2026-01-01Z', now(), now(), 1
            FROM tenant;
            INSERT INTO subscription_segment (tenant_id, subscription_id, ordinal, plan_version_id, starts_at,
                created_at)
            SELECT tenant_id, subscription_id, 0, plan_version_id, starts_at, created_at FROM subscription;
            """
        )
    }

    func transaction<R: Sendable>(_ body: @Sendable (borrowing Transaction) throws -> R) async throws -> R {
        try await pool.transaction(.worker, body)
    }
}

extension TestServer {
    /// Sends to `/api/v1` and expects a status.
    func expect(
        _ status: Int,
        _ method: String,
        _ path: String,
        _ json: String = "",
        headers: [String: String] = [:],
        as client: TestClient? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> TestResponse {
        let response = try await (client ?? operatorClient).send(
            method,
            "/api/v1\(path)",
            body: json.isEmpty ? nil : Array(json.utf8),
            headers: headers
        )
        #expect(response.status == status, "\(method) \(path): \(response)", sourceLocation: sourceLocation)
        return response
    }

    /// A tenant, a token meter with a feature over it, and a plan.
    func arrange(tenant: String = "acme", currency: String = "USD") async throws {
        _ = try await expect(
            201,
            "POST",
            "/tenants",
            #"{"key":"\#(tenant)","name":"Acme","currency":"\#(currency)","timezone":"Europe/Berlin"}"#
        )
        _ = try await expect(201, "POST", "/meters", Self.meter)
        _ = try await expect(201, "POST", "/features", #"{"key":"tokens","meter":"llm-tokens","unit":"token"}"#)
        _ = try await expect(201, "POST", "/plans", #"{"key":"pro","name":"Pro","currency":"USD"}"#)
    }

    /// A draft of the plan with one quota on the feature, published.
    func publish(limit: String, window: String = "billing_period", version: Int = 1) async throws {
        let body = """
            {"charges":[{"feature":"tokens","price":{"model":"per_unit","unit_amount":"0.01"}}],
             "quotas":[{"feature":"tokens","limit":"\(limit)","window":"\(window)","mode":"hard"}]}
            """
        _ = try await expect(201, "POST", "/plans/pro/versions", body)
        _ = try await expect(200, "POST", "/plans/pro/versions/\(version)/publish")
    }

    static let meter = """
        {"key":"llm-tokens","event_type":"llm.completion","aggregation":"sum",
         "value":{"uncached_input":"uncached_input_tokens","cached_input":"cached_input_tokens",
                  "cache_write":"cache_write_tokens","output":"output_tokens"},
         "class_dimension":"token_class","dimensions":{"model":"model"}}
        """
}
