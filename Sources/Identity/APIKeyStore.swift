import BillingCore
import Postgres
import Web

/// The table `api_key`.
enum APIKeyStore {
    struct Stored: Sendable {
        let key: APIKey
        let secretHash: SecretHash
    }

    /// The channel on which a changed key is announced, with its id as payload.
    static let changes = "turnpike_credentials"

    static func insert(_ key: APIKey, secretHash: SecretHash, in transaction: borrowing Transaction) throws {
        try transaction.execute(
            """
            INSERT INTO api_key (tenant_id, api_key_id, name, secret_hash, scopes, origin, created_at, expires_at)
            VALUES (\(key.tenantID), \(key.id), \(key.name), \(PostgresBytes(bytes: secretHash.bytes)),
                \(key.scopes.names), \(key.origin.rawValue), \(key.createdAt), \(key.expiresAt))
            """
        )
    }

    /// For authentication: whatever state the key is in.
    static func find(id: String, pool: PostgresPool) async throws -> Stored? {
        try await pool.query(.admission, "\(columns) WHERE api_key_id = \(id) ORDER BY tenant_id LIMIT 1", stored)
            .first
    }

    /// - Parameter scope: the tenant's own for a bound caller, so that row-level security stands behind the filter.
    static func get(id: String, tenant: TenantID?, scope: PostgresScope, pool: PostgresPool) async throws -> APIKey? {
        try await pool.query(
            .interactive,
            as: scope,
            """
            \(columns) WHERE api_key_id = \(id) AND (\(tenant)::bigint IS NULL OR tenant_id = \(tenant))
            ORDER BY tenant_id LIMIT 1
            """,
            stored
        ).first?.key
    }

    /// In the order of the ids, which are random: a stable order that needs no date.
    static func list(
        tenant: TenantID?,
        after: String?,
        count: Int,
        scope: PostgresScope,
        pool: PostgresPool
    ) async throws -> [APIKey] {
        try await pool.query(
            .interactive,
            as: scope,
            """
            \(columns)
            WHERE (\(tenant)::bigint IS NULL OR tenant_id = \(tenant))
              AND api_key_id > \(after ?? "")
            ORDER BY api_key_id, tenant_id
            LIMIT \(count)
            """,
            stored
        ).map(\.key)
    }

    /// The key locked for a change; nil when there is none for this tenant.
    static func lock(id: String, tenant: TenantID?, in transaction: borrowing Transaction) throws -> APIKey? {
        try transaction.first(
            """
            \(columns) WHERE api_key_id = \(id) AND (\(tenant)::bigint IS NULL OR tenant_id = \(tenant))
            ORDER BY tenant_id LIMIT 1 FOR UPDATE
            """,
            stored
        )?.key
    }

    static func revoke(_ key: APIKey, at now: Instant, in transaction: borrowing Transaction) throws {
        transaction.enqueue(
            """
            UPDATE api_key SET revoked_at = \(now)
            WHERE tenant_id = \(key.tenantID) AND api_key_id = \(key.id) AND revoked_at IS NULL
            """
        )
        transaction.enqueue("SELECT pg_notify(\(changes), \(key.id))")
    }

    /// Makes the key from the environment the only valid one of its origin. Returns the ids of those it replaces, and
    /// whether it was itself new or different.
    static func replaceEnvironmentKey(
        _ key: APIKey,
        secretHash: SecretHash,
        in transaction: borrowing Transaction
    ) throws -> (replaced: [String], isChanged: Bool) {
        let replaced = try transaction.query(
            """
            UPDATE api_key SET revoked_at = \(key.createdAt)
            WHERE tenant_id = \(key.tenantID) AND origin = \(APIKey.Origin.environment.rawValue)
              AND api_key_id <> \(key.id) AND revoked_at IS NULL
            RETURNING api_key_id
            """
        ) { row throws(PostgresError) in try row.next(String.self) }
        let changed = try transaction.query(
            """
            INSERT INTO api_key AS stored (tenant_id, api_key_id, name, secret_hash, scopes, origin, created_at)
            VALUES (\(key.tenantID), \(key.id), \(key.name), \(PostgresBytes(bytes: secretHash.bytes)),
                \(key.scopes.names), \(key.origin.rawValue), \(key.createdAt))
            ON CONFLICT ON CONSTRAINT api_key_pk DO UPDATE
            SET name = excluded.name, secret_hash = excluded.secret_hash, scopes = excluded.scopes,
                origin = excluded.origin, expires_at = NULL, revoked_at = NULL
            WHERE stored.secret_hash <> excluded.secret_hash OR stored.scopes <> excluded.scopes
               OR stored.origin <> excluded.origin OR stored.revoked_at IS NOT NULL OR stored.expires_at IS NOT NULL
            RETURNING api_key_id
            """
        ) { row throws(PostgresError) in try row.next(String.self) }
        for id in replaced + changed {
            transaction.enqueue("SELECT pg_notify(\(changes), \(id))")
        }
        return (replaced, !changed.isEmpty)
    }

    private static var columns: SQL {
        """
        SELECT api_key_id, tenant_id, name, scopes, origin, created_at, expires_at, revoked_at, secret_hash
        FROM api_key
        """
    }

    @Sendable private static func stored(_ row: inout PostgresRow) throws(PostgresError) -> Stored {
        let key = APIKey(
            id: try row.next(),
            tenantID: try row.next(),
            name: try row.next(),
            scopes: ScopeSet(try row.next([String].self).compactMap(Scope.init(rawValue:))),
            origin: APIKey.Origin(rawValue: try row.next(String.self)) ?? .api,
            createdAt: try row.next(),
            expiresAt: try row.next(),
            revokedAt: try row.next()
        )
        return Stored(key: key, secretHash: SecretHash(bytes: try row.next(PostgresBytes.self).bytes))
    }
}
