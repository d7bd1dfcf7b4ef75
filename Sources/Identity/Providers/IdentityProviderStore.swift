import BillingCore
import Postgres
import Web

/// The table `identity_provider`.
enum IdentityProviderStore {
    /// As many as the service keeps in mind, and lets be made.
    static let maximumCount = 500

    enum Insertion: Sendable {
        case inserted
        /// The key or the issuer is.
        case taken
        case full
    }

    static func insert(_ provider: IdentityProvider, in transaction: borrowing Transaction) throws -> Insertion {
        // They are made one after the other, so that they are counted.
        transaction.enqueue("SELECT pg_advisory_xact_lock(hashtextextended('identity providers', 0))")
        let count = try transaction.first(
            "SELECT count(*) FROM identity_provider WHERE tenant_id = \(TenantID.operatorWide)"
        ) { row throws(PostgresError) in try row.next(Int64.self) }
        let inserted = try transaction.query(
            """
            INSERT INTO identity_provider (
                tenant_id, provider_key, issuer, definition, created_at, updated_at, revision
            )
            VALUES (\(TenantID.operatorWide), \(provider.key), \(provider.issuer), \(definition(provider)),
                \(provider.createdAt), \(provider.updatedAt), \(provider.revision))
            ON CONFLICT DO NOTHING
            RETURNING revision
            """
        ) { row throws(PostgresError) in try row.next(Int64.self) }
        guard !inserted.isEmpty else { return .taken }
        return count ?? 0 < maximumCount ? .inserted : .full
    }

    static func update(_ provider: IdentityProvider, in transaction: borrowing Transaction) throws {
        try transaction.enqueue(
            """
            UPDATE identity_provider
            SET issuer = \(provider.issuer), definition = \(definition(provider)), updated_at = \(provider.updatedAt),
                revision = \(provider.revision)
            WHERE tenant_id = \(TenantID.operatorWide) AND provider_key = \(provider.key)
            """
        )
    }

    static func delete(_ key: String, in transaction: borrowing Transaction) {
        transaction.enqueue(
            "DELETE FROM identity_provider WHERE tenant_id = \(TenantID.operatorWide) AND provider_key = \(key)"
        )
    }

    static func lock(_ key: String, in transaction: borrowing Transaction) throws -> IdentityProvider? {
        try transaction.first(
            "\(columns) WHERE tenant_id = \(TenantID.operatorWide) AND provider_key = \(key) FOR UPDATE",
            provider
        ) ?? nil
    }

    static func isTaken(issuer: String, otherThan key: String, in transaction: borrowing Transaction) throws -> Bool {
        try transaction.first(
            """
            SELECT revision FROM identity_provider
            WHERE tenant_id = \(TenantID.operatorWide) AND issuer = \(issuer) AND provider_key <> \(key)
            """
        ) { row throws(PostgresError) in try row.next(Int64.self) } != nil
    }

    static func find(_ key: String, pool: PostgresPool) async throws -> IdentityProvider? {
        try await pool.query(
            .interactive,
            """
            \(columns) WHERE tenant_id = \(TenantID.operatorWide) AND provider_key = \(key)
            ORDER BY provider_key LIMIT 1
            """,
            provider
        ).first ?? nil
    }

    static func list(
        after: String? = nil,
        count: Int,
        lane: PostgresLane = .interactive,
        pool: PostgresPool
    ) async throws -> [IdentityProvider] {
        try await pool.query(
            lane,
            """
            \(columns) WHERE tenant_id = \(TenantID.operatorWide) AND provider_key > \(after ?? "")
            ORDER BY provider_key LIMIT \(count)
            """,
            provider
        ).compactMap(\.self)
    }

    private static func definition(_ provider: IdentityProvider) throws -> PostgresJSON {
        PostgresJSON(text: try JSONValue(encoding: IdentityProviderBody(provider)).text)
    }

    private static var columns: SQL {
        "SELECT provider_key, definition, created_at, updated_at, revision FROM identity_provider"
    }

    /// Nil for a definition that this program can't read: such a provider is believed in nothing.
    @Sendable private static func provider(_ row: inout PostgresRow) throws(PostgresError) -> IdentityProvider? {
        let key = try row.next(String.self)
        let definition = try row.next(PostgresJSON.self).text
        let (createdAt, updatedAt) = (try row.next(Instant.self), try row.next(Instant.self))
        let revision = try row.next(Int64.self)
        guard let json = try? JSONValue(parsing: definition), case .object(let members) = json else { return nil }
        let made: Set<String> = ["key", "created_at", "updated_at"]
        let input = JSONValue.object(members.filter { !made.contains($0.name) })
        guard var provider = try? IdentityProviderInput(JSONObjectReader(input), key: key, now: createdAt).provider
        else { return nil }
        provider.createdAt = createdAt
        provider.updatedAt = updatedAt
        provider.revision = revision
        return provider
    }
}
