import TestSupport

@testable import Postgres

/// A migrated database, and questions to its system catalogue as the owner.
struct SchemaInspection: Sendable {
    /// Shared by all tenants. Whoever adds one decides that here.
    static let referenceTables = [
        "catalog_version", "feature", "fx_rate", "meter", "mitigation", "plan", "plan_version", "price_book",
        "price_set",
        "price_set_entry", "schema_migration", "service_setting",
    ]
    /// The documented exception: tenant-owned by its policies, but unique over all tenants (see `docs/adr`).
    static let directory = "subject_directory"
    /// Updated in place with every flush.
    static let counters = ["limit_state", "rate_state", "tenant_ledger", "usage_counter", "usage_distinct"]

    let database: TestDatabase
    private let owner: PostgresPool

    static func run<Result: Sendable>(_ body: (SchemaInspection) async throws -> Result) async throws -> Result {
        let database = try await TestDatabase.create()
        do {
            let result = try await run(on: database, body)
            try await database.drop()
            return result
        } catch {
            try await database.drop()
            throw error
        }
    }

    static func run<Result: Sendable>(
        on database: TestDatabase,
        _ body: (SchemaInspection) async throws -> Result
    ) async throws -> Result {
        let owner = PostgresPool(PostgresConfiguration(url: database.url).asOwner(), logger: .silent)
        do {
            _ = try await owner.query(.worker, "SELECT ensure_usage_event_partition('2026-11-01')") {
                row throws(PostgresError) in try row.next(Bool.self)
            }
            let result = try await body(SchemaInspection(database: database, owner: owner))
            await owner.close()
            return result
        } catch {
            await owner.close()
            throw error
        }
    }

    /// The first column of every row.
    func texts(_ question: SQL) async throws -> [String] {
        try await owner.query(.worker, question) { row throws(PostgresError) in try row.next(String.self) }
    }

    /// The same for text that is put together here.
    func texts(trusted text: String) async throws -> [String] {
        try await texts(SQL(trusted: text))
    }

    /// Tables with a tenant, partitions aside, sorted by name.
    func tenantOwned(having condition: String = "true") async throws -> [String] {
        try await texts(
            trusted: """
                SELECT relname::text FROM pg_class
                WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
                    AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = pg_class.oid AND attname = 'tenant_id')
                    AND (\(condition))
                ORDER BY 1
                """
        )
    }
}
