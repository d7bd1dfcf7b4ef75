import Postgres
import TestSupport
import Testing
import Web

/// The service under a login that owns nothing, as production should run it, and what its updates leave behind.
@Suite(.timeLimit(.minutes(15)))
struct SchemaLoginTests {
    @Test("a login that owns nothing runs the whole service, partitions included, while the owner migrates")
    func serviceNeedsNoOwnership() async throws {
        try await ServedTurnpike.run(settings: Self.separateLogins) { turnpike in
            let client = turnpike.client
            try await CrashCatalogue.make(client)
            let senders = IngestSenders(senders: 3, batches: 3, seed: CrashTests.seed, client: client)
            await senders.run()
            #expect(senders.journal.entries.violations == [])
            let loginURL = Self.url(of: "service_login", turnpike.databaseURL)
            let audit = IngestAudit(databaseURL: loginURL, client: client, clock: .system)
            #expect(try await audit.findings(senders.journal.entries.acknowledged) == [])

            let old = """
                {"id": "old", "source": "s", "type": "llm.completion", "subject": "alpha",
                 "time": "2024-02-29T12:00:00Z", "data": {"output_tokens": 1}}
                """
            try await client.post("/api/v1/events", old).expecting(200)
            let void = #"{"source": "s", "id": "old", "tenant": "alpha"}"#
            try await client.post("/api/v1/events/void", void).expecting(200)
            try await client.post("/api/v1/unmatched-events/replay").expecting(200)
            try await client.get("/api/v1/audit-log").expecting(200)
            try await Self.expectBoundKeyWorks(client)

            let owner = PostgresPool(PostgresConfiguration(url: turnpike.databaseURL).asOwner(), logger: .silent)
            let text: @Sendable (inout PostgresRow) throws(PostgresError) -> String = { row throws(PostgresError) in
                try row.next(String.self)
            }
            let owners = try await owner.query(
                .worker,
                """
                SELECT DISTINCT tableowner::text
                    || CASE WHEN tablename = 'usage_event_2024_02' THEN ' backfilled' ELSE '' END
                FROM pg_tables WHERE schemaname = 'public' ORDER BY 1
                """,
                text
            )
            #expect(owners == ["schema_owner", "schema_owner backfilled"])
            let logins = try await owner.query(
                .worker,
                """
                SELECT DISTINCT usename::text FROM pg_stat_activity
                WHERE application_name LIKE 'turnpike%' AND pid <> pg_backend_pid() ORDER BY 1
                """,
                text
            )
            #expect(logins == ["service_login"])
            await owner.close()
        }
    }

    @Test("usage that comes in on existing counters updates them in place")
    func countersAreUpdatedInPlace() async throws {
        let database = try await TestDatabase.create()
        let updates = 120
        try await TestServer.run(on: database) { server in
            try await CrashCatalogue.make(server.operatorClient)
            for index in 0...updates {
                let event = SentEvent(tenant: "alpha", source: "hot", id: "\(index)", tokens: 1)
                try await server.operatorClient.post("/api/v1/events", event.json).expecting(200)
            }
        }
        // The service has ended, so all its sessions have reported.
        let rows = try await SchemaInspection.run(on: database) { schema in
            try await schema.texts(
                """
                SELECT relname || ' ' || (n_tup_upd >= \(Int64(updates)) AND n_tup_hot_upd >= n_tup_upd * 0.95)::text
                    || CASE WHEN n_tup_hot_upd >= n_tup_upd * 0.95 THEN '' ELSE
                        ' ' || n_tup_hot_upd::text || ' of ' || n_tup_upd::text END
                FROM pg_stat_user_tables
                WHERE relname = ANY (\(["limit_state", "tenant_ledger", "usage_counter"])) ORDER BY 1
                """
            )
        }
        #expect(rows == ["limit_state true", "tenant_ledger true", "usage_counter true"])
        try await database.drop()
    }

    private static func expectBoundKeyWorks(_ client: TestClient) async throws {
        let scopes = ["quotas", "invoices", "events", "tenants", "subscriptions", "audit"]
            .map { "\"\($0):read\"" }.joined(separator: ",")
        let created = try await client.post(
            "/api/v1/api-keys",
            #"{"name": "portal", "scopes": [\#(scopes)], "tenant": "beta"}"#,
            headers: ["Idempotency-Key": "portal-key"]
        ).expecting(201)
        let portal = client.with(key: created.json["key"]?.string)
        for path in [
            "tenants/beta", "tenants/beta/quotas", "tenants/beta/upcoming-invoice", "events", "subscriptions",
            "audit-log",
        ] {
            try await portal.get("/api/v1/\(path)").expecting(200)
        }
    }

    /// What an administrator prepares: two roles without a login, and two logins, one of which owns the database.
    private static func separateLogins(_ url: String) async throws -> [String: String] {
        try await PostgresDatabase.run(
            """
            CREATE ROLE turnpike_service NOLOGIN;
            CREATE ROLE turnpike_tenant NOLOGIN;
            CREATE ROLE schema_owner LOGIN PASSWORD 'schema_owner';
            CREATE ROLE service_login LOGIN PASSWORD 'service_login';
            GRANT turnpike_service, turnpike_tenant TO schema_owner, service_login;
            ALTER DATABASE turnpike OWNER TO schema_owner;
            """,
            at: url
        )
        return [
            "DATABASE_URL": self.url(of: "service_login", url),
            "TURNPIKE_MIGRATION_URL": self.url(of: "schema_owner", url),
        ]
    }

    private static func url(of login: String, _ url: String) -> String {
        let host = url.split(separator: "@").last.map(String.init) ?? ""
        return "postgresql://\(login):\(login)@\(host)"
    }
}
