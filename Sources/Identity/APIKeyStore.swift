import BillingCore
import Postgres
import Web

/// The table `api_key`.
enum APIKeyStore {
    struct Filter: Sendable {
        var tenant: TenantID?
        var status: APIKey.Status?
        /// Not used since; a key that was never used is one of them.
        var unusedSince: Instant?
    }

    static func insert(_ key: APIKey, secretHash: SecretHash, in transaction: borrowing Transaction) throws {
        try transaction.execute(
            """
            INSERT INTO api_key (tenant_id, api_key_id, name, secret_hash, scopes, models, features, data_classes,
                cost_center, origin, created_at, expires_at, revision)
            VALUES (\(key.tenantID), \(key.id), \(key.name), \(PostgresBytes(bytes: secretHash.bytes)),
                \(key.scopes.names), \(key.narrowing.models), \(key.narrowing.features), \(key.narrowing.dataClasses),
                \(key.narrowing.costCenter), \(key.origin.rawValue), \(key.createdAt), \(key.expiresAt),
                \(key.revision))
            """
        )
    }

    /// For authentication: whatever state the key is in.
    static func find(id: String, pool: PostgresPool) async throws -> StoredSecret? {
        try await pool.query(
            .admission,
            """
            SELECT \(columns), secret_hash, previous_secret_hash
            FROM api_key WHERE api_key_id = \(id) ORDER BY tenant_id LIMIT 1
            """
        ) { row throws(PostgresError) in
            let key = try key(&row)
            return StoredSecret(
                tenantID: key.tenantID,
                scopes: key.scopes,
                narrowing: key.narrowing,
                hash: SecretHash(bytes: try row.next(PostgresBytes.self).bytes),
                previousHash: try row.next(PostgresBytes?.self).map { SecretHash(bytes: $0.bytes) },
                previousExpiresAt: key.previousSecretExpiresAt,
                expiresAt: key.expiresAt,
                revokedAt: key.revokedAt
            )
        }.first
    }

    /// - Parameter scope: the tenant's own for a bound caller, so that row-level security stands behind the filter.
    static func get(id: String, tenant: TenantID?, scope: PostgresScope, pool: PostgresPool) async throws -> APIKey? {
        try await pool.query(
            .interactive,
            as: scope,
            """
            SELECT \(columns)
            FROM api_key WHERE api_key_id = \(id) AND (\(tenant)::bigint IS NULL OR tenant_id = \(tenant))
            ORDER BY tenant_id LIMIT 1
            """,
            key
        ).first
    }

    /// In the order of the ids, which are random: a stable order that needs no date.
    static func list(
        _ filter: Filter,
        at now: Instant,
        after: String?,
        count: Int,
        scope: PostgresScope,
        pool: PostgresPool
    ) async throws -> [APIKey] {
        var conditions: [SQL] = ["api_key_id > \(after ?? "")"]
        if let tenant = filter.tenant { conditions.append("tenant_id = \(tenant)") }
        switch filter.status {
        case .active: conditions.append("revoked_at IS NULL AND (expires_at IS NULL OR expires_at > \(now))")
        case .expired: conditions.append("revoked_at IS NULL AND expires_at <= \(now)")
        case .revoked: conditions.append("revoked_at IS NOT NULL")
        case nil: break
        }
        if let since = filter.unusedSince {
            conditions.append("created_at < \(since) AND (last_used_at IS NULL OR last_used_at < \(since))")
        }
        return try await pool.query(
            .interactive,
            as: scope,
            """
            SELECT \(columns)
            FROM api_key
            WHERE \(SQL.joined(conditions, separator: " AND "))
            ORDER BY api_key_id, tenant_id
            LIMIT \(count)
            """,
            key
        )
    }

    /// The key locked for a change; nil when there is none for this tenant.
    static func lock(id: String, tenant: TenantID?, in transaction: borrowing Transaction) throws -> APIKey? {
        try transaction.first(
            """
            SELECT \(columns)
            FROM api_key WHERE api_key_id = \(id) AND (\(tenant)::bigint IS NULL OR tenant_id = \(tenant))
            ORDER BY tenant_id LIMIT 1 FOR UPDATE
            """,
            key
        )
    }

    /// Writes what may change of a key, but for its secrets.
    static func update(_ key: APIKey, in transaction: borrowing Transaction) {
        transaction.enqueue(
            """
            UPDATE api_key SET name = \(key.name), scopes = \(key.scopes.names), models = \(key.narrowing.models),
                features = \(key.narrowing.features), data_classes = \(key.narrowing.dataClasses),
                cost_center = \(key.narrowing.costCenter), expires_at = \(key.expiresAt),
                revoked_at = \(key.revokedAt), revision = \(key.revision)
            WHERE tenant_id = \(key.tenantID) AND api_key_id = \(key.id)
            """
        )
        CredentialChanges.announce(apiKey: key.id, in: transaction)
    }

    /// Puts a new secret in the place of the present one, which works on until `key.previousSecretExpiresAt`; nil drops
    /// it at once. Of the secrets before only the last is kept.
    static func rotate(_ key: APIKey, secretHash: SecretHash, in transaction: borrowing Transaction) {
        transaction.enqueue(
            """
            UPDATE api_key SET secret_hash = \(PostgresBytes(bytes: secretHash.bytes)),
                previous_secret_hash = CASE WHEN \(key.previousSecretExpiresAt)::timestamptz IS NULL THEN NULL
                    ELSE secret_hash END,
                previous_secret_expires_at = \(key.previousSecretExpiresAt), revision = \(key.revision)
            WHERE tenant_id = \(key.tenantID) AND api_key_id = \(key.id)
            """
        )
        CredentialChanges.announce(apiKey: key.id, in: transaction)
    }

    /// Notes when keys were used; a time never moves backwards.
    static func setLastUsed(_ uses: [CredentialUse.Key: Instant], pool: PostgresPool) async throws {
        let ordered = uses.sorted { ($0.key.tenantID, $0.key.id) < ($1.key.tenantID, $1.key.id) }
        try await pool.transaction(.worker, retries: .idempotent(attempts: 3)) { transaction in
            transaction.enqueue(
                """
                UPDATE api_key SET last_used_at = used.at
                FROM unnest(
                    \(ordered.map(\.key.tenantID))::bigint[], \(ordered.map(\.key.id))::text[],
                    \(ordered.map(\.value))::timestamptz[]
                ) AS used (tenant_id, api_key_id, at)
                WHERE api_key.tenant_id = used.tenant_id AND api_key.api_key_id = used.api_key_id
                  AND (last_used_at IS NULL OR last_used_at < used.at)
                """
            )
        }
    }

    /// Whether this very secret of the key was revoked.
    static func isRevoked(
        _ key: APIKey,
        secretHash: SecretHash,
        in transaction: borrowing Transaction
    ) throws -> Bool {
        try transaction.first(
            """
            SELECT revision FROM api_key
            WHERE tenant_id = \(key.tenantID) AND api_key_id = \(key.id)
              AND secret_hash = \(PostgresBytes(bytes: secretHash.bytes)) AND revoked_at IS NOT NULL
            """
        ) { row throws(PostgresError) in try row.next(Int64.self) } != nil
    }

    /// The ids of keys from the environment that are valid: one, unless somebody has been at the table.
    static func validEnvironmentKeys(pool: PostgresPool) async throws -> [String] {
        try await pool.query(
            .worker,
            """
            SELECT api_key_id FROM api_key
            WHERE tenant_id = \(TenantID.operatorWide) AND origin = \(APIKey.Origin.environment.rawValue)
              AND revoked_at IS NULL
            ORDER BY api_key_id
            LIMIT 10
            """
        ) { row throws(PostgresError) in try row.next(String.self) }
    }

    /// Makes the key from the environment the only valid one of its origin. Returns those it replaces, as they are
    /// revoked, and whether it was itself new or different.
    static func replaceEnvironmentKey(
        _ key: APIKey,
        secretHash: SecretHash,
        in transaction: borrowing Transaction
    ) throws -> (replaced: [APIKey], isChanged: Bool) {
        let replaced = try transaction.query(
            """
            UPDATE api_key SET revoked_at = \(key.createdAt), revision = revision + 1
            WHERE tenant_id = \(key.tenantID) AND origin = \(APIKey.Origin.environment.rawValue)
              AND api_key_id <> \(key.id) AND revoked_at IS NULL
            RETURNING \(columns)
            """,
            Self.key
        )
        let changed = try transaction.query(
            """
            INSERT INTO api_key AS stored (tenant_id, api_key_id, name, secret_hash, scopes, origin, created_at)
            VALUES (\(key.tenantID), \(key.id), \(key.name), \(PostgresBytes(bytes: secretHash.bytes)),
                \(key.scopes.names), \(key.origin.rawValue), \(key.createdAt))
            ON CONFLICT ON CONSTRAINT api_key_pk DO UPDATE
            SET name = excluded.name, secret_hash = excluded.secret_hash, scopes = excluded.scopes, models = NULL,
                features = NULL, data_classes = NULL, cost_center = NULL, origin = excluded.origin, expires_at = NULL,
                revoked_at = NULL, previous_secret_hash = NULL, previous_secret_expires_at = NULL,
                revision = stored.revision + 1
            WHERE stored.secret_hash <> excluded.secret_hash OR stored.scopes <> excluded.scopes
               OR stored.origin <> excluded.origin OR stored.revoked_at IS NOT NULL OR stored.expires_at IS NOT NULL
            RETURNING api_key_id
            """
        ) { row throws(PostgresError) in try row.next(String.self) }
        for id in replaced.map(\.id) + changed {
            CredentialChanges.announce(apiKey: id, in: transaction)
        }
        return (replaced, !changed.isEmpty)
    }

    private static let columns: SQL = """
        api_key_id, tenant_id, name, scopes, models, features, data_classes, cost_center, origin, created_at,
        expires_at, revoked_at, last_used_at, previous_secret_expires_at, revision
        """

    @Sendable private static func key(_ row: inout PostgresRow) throws(PostgresError) -> APIKey {
        APIKey(
            id: try row.next(),
            tenantID: try row.next(),
            name: try row.next(),
            scopes: ScopeSet(try row.next([String].self).compactMap(Scope.init(rawValue:))),
            narrowing: CredentialNarrowing(
                models: try row.next(),
                features: try row.next(),
                dataClasses: try row.next(),
                costCenter: try row.next()
            ),
            origin: APIKey.Origin(rawValue: try row.next(String.self)) ?? .api,
            createdAt: try row.next(),
            expiresAt: try row.next(),
            revokedAt: try row.next(),
            lastUsedAt: try row.next(),
            previousSecretExpiresAt: try row.next(),
            revision: try row.next()
        )
    }
}
