import TestSupport
import Testing

@testable import Postgres

/// Row-level security, the second wall: that it stands around every table, and that it holds when the first is gone.
@Suite(.timeLimit(.minutes(15)))
struct SchemaWallTests {
    @Test("row-level security is forced on every tenant-owned table and every partition")
    func wallStandsEverywhere() async throws {
        try await SchemaInspection.run { schema in
            #expect(try await schema.tenantOwned(having: "NOT (relrowsecurity AND relforcerowsecurity)") == [])
            let partitions = try await schema.texts(
                "SELECT relname::text FROM pg_class WHERE relispartition AND relkind = 'r' ORDER BY 1"
            )
            #expect(!partitions.isEmpty)
            let open = try await schema.texts(
                """
                SELECT relname::text FROM pg_class
                WHERE relispartition AND relkind = 'r' AND NOT (
                    relrowsecurity AND relforcerowsecurity
                    AND NOT EXISTS (
                        SELECT FROM aclexplode(coalesce(relacl, acldefault('r', relowner))) WHERE grantee <> relowner
                    )
                )
                ORDER BY 1
                """
            )
            #expect(open == [], "reachable past the wall")
        }
    }

    @Test("every tenant-owned table has a policy for the service, one for its owner and one for its tenant")
    func policiesAreComplete() async throws {
        try await SchemaInspection.run { schema in
            let setting = "current_setting('turnpike.tenant_id'::text, true)"
            let tenantCondition = "(tenant_id = (NULLIF(\(setting), ''::text))::bigint)"
            let policies = try await schema.texts(
                """
                SELECT tablename || ' ' || CASE
                    WHEN roles = ARRAY['turnpike_tenant']::name[] THEN 'tenant ' || (
                        qual = CASE tablename
                            WHEN 'webhook_event' THEN '(' || \(tenantCondition) || ' AND (NOT operator_only))'
                            ELSE \(tenantCondition)
                        END AND with_check = qual
                    )::text
                    WHEN roles = ARRAY['turnpike_service']::name[] THEN 'service ' || (qual = 'true')::text
                    WHEN roles = ARRAY[tableowner] THEN 'owner ' || (qual = 'true')::text
                    ELSE 'other ' || roles::text
                END || CASE WHEN permissive = 'PERMISSIVE' AND cmd = 'ALL' THEN '' ELSE ' odd' END
                FROM pg_policies JOIN pg_tables USING (schemaname, tablename)
                ORDER BY 1
                """
            )
            let expected = try await schema.tenantOwned().flatMap { table in
                ["owner", "service", "tenant"].map { "\(table) \($0) true" }
            }
            // A dump reads each partition by itself, as its owner.
            let partitions = try await schema.texts(
                "SELECT relname || ' owner true' FROM pg_class WHERE relispartition AND relkind = 'r'"
            )
            #expect(!partitions.isEmpty)
            #expect(policies.sorted() == (expected + partitions).sorted())
        }
    }

    @Test("the roles of the service own nothing, cannot log in and have no rights beyond their tables")
    func rolesAreWeak() async throws {
        try await SchemaInspection.run { schema in
            let strong = try await schema.texts(
                """
                SELECT rolname::text FROM pg_roles
                WHERE rolname IN ('turnpike_service', 'turnpike_tenant') AND (
                    rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication OR rolcanlogin
                    OR has_schema_privilege(oid, 'public', 'CREATE')
                    OR EXISTS (SELECT FROM pg_class WHERE relowner = pg_roles.oid)
                )
                ORDER BY 1
                """
            )
            #expect(strong == [])
            let writable = try await schema.texts(
                """
                SELECT relname || ' ' || privilege
                FROM pg_class,
                    unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS privilege
                WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
                    AND CASE WHEN privilege IN ('INSERT', 'UPDATE', 'REFERENCES')
                        THEN has_any_column_privilege('turnpike_tenant', oid, privilege)
                        ELSE has_table_privilege('turnpike_tenant', oid, privilege) END
                ORDER BY 1
                """
            )
            #expect(writable == [], "a tenant's transaction only reads")
            let publicly = try await schema.texts(
                """
                SELECT relname::text FROM pg_class, aclexplode(coalesce(relacl, acldefault(relkind, relowner)))
                WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'S') AND grantee = 0
                ORDER BY 1
                """
            )
            #expect(publicly == [], "granted to everybody")
        }
    }

    @Test("without any filter of ours, a tenant's transaction reads its own rows of every table and no others")
    func wallHoldsAlone() async throws {
        try await TestServer.run { server in
            try await TwoTenants.make(server)
            try await SchemaInspection.run(on: server.database) { schema in
                let tenants = try await schema.texts("SELECT tenant_id::text FROM tenant ORDER BY tenant_id")
                #expect(tenants.count == 2)
                // Some tables are not granted to a tenant at all; here they are, so that the wall stands alone.
                try await server.database.run("GRANT SELECT ON ALL TABLES IN SCHEMA public TO turnpike_tenant")
                let pool = PostgresPool(PostgresConfiguration(url: server.database.url), logger: .silent)
                for table in try await schema.tenantOwned() {
                    for tenant in tenants.compactMap({ Int64($0) }) {
                        let seen = try await pool.query(
                            .worker,
                            as: .tenant(tenant),
                            SQL(trusted: "SELECT DISTINCT tenant_id FROM \(table) ORDER BY 1")
                        ) { row throws(PostgresError) in try row.next(Int64.self) }
                        #expect(seen == [tenant], "\(table), read for tenant \(tenant)")
                    }
                    let unset = try await Self.rowsWithoutATenant(table, server.database.url)
                    #expect(unset == 0, "\(table), read for nobody")
                }
                await pool.close()
            }
        }
    }

    @Test("tables that a tenant has no business with are not granted to it")
    func secretsAreNotGranted() async throws {
        try await SchemaInspection.run { schema in
            let granted = try await schema.tenantOwned(having: "has_table_privilege('turnpike_tenant', oid, 'SELECT')")
            let internals = [
                "alert_waiting", "budget_change", "client_assertion", "event_dedup", "hold_change",
                "idempotency_key", "identity_provider", "oauth_client", "revoked_token", "signing_key",
                "subscription_extension", "unmatched_event",
                "usage_distinct",
            ]
            #expect(granted.filter(internals.contains) == [])
            let operators = try await schema.texts(
                """
                SELECT relname::text FROM pg_class
                WHERE relname IN ('schema_migration', 'service_setting')
                    AND has_table_privilege('turnpike_tenant', oid, 'SELECT')
                ORDER BY 1
                """
            )
            #expect(operators == [], "what only the operator reads")
            let hashes = try await schema.texts(
                """
                SELECT relname || '.' || attname
                FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
                WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND attnum > 0
                    AND attname ~ '(secret|hash|sealed|private)' AND attname !~ '_at$' AND relname IN
                        ('api_key', 'oauth_client', 'portal_session', 'signing_key', 'client_assertion',
                            'webhook_endpoint')
                    AND has_column_privilege('turnpike_tenant', attrelid, attnum, 'SELECT')
                ORDER BY 1
                """
            )
            #expect(hashes == [], "secrets in the hands of a tenant's role")
        }
    }

    /// What a transaction sees that took the tenant's role and never said for whom.
    private static func rowsWithoutATenant(_ table: String, _ url: String) async throws -> Int64 {
        var configuration = PostgresConfiguration(url: url)
        configuration.serviceRole = "turnpike_tenant"
        let pool = PostgresPool(configuration, logger: .silent)
        let counts = try await pool.query(.worker, SQL(trusted: "SELECT count(*) FROM \(table)")) {
            row throws(PostgresError) in try row.next(Int64.self)
        }
        await pool.close()
        return counts[0]
    }
}
