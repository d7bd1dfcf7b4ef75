import BillingCore
import Postgres
import Web

/// The table `oauth_client`.
enum OAuthClientStore {
    /// A client and what it proves itself with.
    struct Stored: Sendable {
        let client: OAuthClient
        let secrets: ClientSecretHashes
    }

    /// What decides whether a token is still good.
    struct Standing: Sendable {
        let client: OAuthClient
        let isRevoked: Bool
    }

    static func insert(_ client: OAuthClient, secret: SecretHash?, in transaction: borrowing Transaction) throws {
        try transaction.execute(
            """
            INSERT INTO oauth_client (tenant_id, client_id, name, scopes, models, features, data_classes, cost_center,
                token_endpoint_auth_method, jwks, secret_hash, enabled, created_at, updated_at, revision)
            VALUES (\(client.tenantID), \(client.id), \(client.name), \(client.scopes.names),
                \(client.narrowing.models), \(client.narrowing.features), \(client.narrowing.dataClasses),
                \(client.narrowing.costCenter), \(client.method.rawValue), \(jwks(of: client)),
                \(secret.map { PostgresBytes(bytes: $0.bytes) }), \(client.isEnabled), \(client.createdAt),
                \(client.updatedAt), \(client.revision))
            """
        )
    }

    /// For authentication: whatever state the client is in.
    static func find(id: String, pool: PostgresPool) async throws -> Stored? {
        try await pool.query(
            .admission,
            """
            SELECT \(columns), secret_hash, previous_secret_hash
            FROM oauth_client WHERE client_id = \(id) ORDER BY tenant_id LIMIT 1
            """
        ) { row throws(PostgresError) in
            let client = try client(&row)
            return Stored(
                client: client,
                secrets: ClientSecretHashes(
                    current: try row.next(PostgresBytes?.self).map { SecretHash(bytes: $0.bytes) },
                    previous: try row.next(PostgresBytes?.self).map { SecretHash(bytes: $0.bytes) },
                    previousExpiresAt: client.previousSecretExpiresAt
                )
            )
        }.first
    }

    /// For authentication: the client of a token, and whether the token was taken back. One statement.
    static func standing(of token: AccessToken, pool: PostgresPool) async throws -> Standing? {
        try await pool.query(
            .admission,
            """
            SELECT \(columns), EXISTS (
                SELECT FROM revoked_token
                WHERE revoked_token.tenant_id = oauth_client.tenant_id AND token_id = \(token.id)
            )
            FROM oauth_client WHERE client_id = \(token.clientID) ORDER BY tenant_id LIMIT 1
            """
        ) { row throws(PostgresError) in
            Standing(client: try client(&row), isRevoked: try row.next())
        }.first
    }

    /// - Parameters:
    ///   - tenant: the caller's own; nil for an operator's.
    ///   - scope: the tenant's own for a bound caller, so that row-level security stands behind the filter.
    static func get(
        id: String,
        tenant: TenantID?,
        scope: PostgresScope,
        pool: PostgresPool
    ) async throws -> OAuthClient? {
        try await pool.query(
            .interactive,
            as: scope,
            """
            SELECT \(columns) FROM oauth_client
            WHERE client_id = \(id) AND (\(tenant)::bigint IS NULL OR tenant_id = \(tenant))
            ORDER BY tenant_id LIMIT 1
            """,
            client
        ).first
    }

    /// In the order of the ids, which are random: a stable order that needs no date.
    static func list(
        tenant: TenantID?,
        after: String?,
        count: Int,
        scope: PostgresScope,
        pool: PostgresPool
    ) async throws -> [OAuthClient] {
        try await pool.query(
            .interactive,
            as: scope,
            """
            SELECT \(columns) FROM oauth_client
            WHERE (\(tenant)::bigint IS NULL OR tenant_id = \(tenant)) AND client_id > \(after ?? "")
            ORDER BY client_id, tenant_id
            LIMIT \(count)
            """,
            client
        )
    }

    /// The client locked for a change; nil when there is none for this tenant.
    static func lock(id: String, tenant: TenantID?, in transaction: borrowing Transaction) throws -> OAuthClient? {
        try transaction.first(
            """
            SELECT \(columns) FROM oauth_client
            WHERE client_id = \(id) AND (\(tenant)::bigint IS NULL OR tenant_id = \(tenant))
            ORDER BY tenant_id LIMIT 1 FOR UPDATE
            """,
            client
        )
    }

    /// Writes what may change of a client, its secret aside.
    static func update(_ client: OAuthClient, in transaction: borrowing Transaction) {
        transaction.enqueue(
            """
            UPDATE oauth_client
            SET name = \(client.name), scopes = \(client.scopes.names), models = \(client.narrowing.models),
                features = \(client.narrowing.features), data_classes = \(client.narrowing.dataClasses),
                cost_center = \(client.narrowing.costCenter), jwks = \(jwks(of: client)),
                enabled = \(client.isEnabled), updated_at = \(client.updatedAt), revoked_at = \(client.revokedAt),
                revision = \(client.revision)
            WHERE tenant_id = \(client.tenantID) AND client_id = \(client.id)
            """
        )
        CredentialChanges.announce(client: client.id, in: transaction)
    }

    /// Makes another secret the client's; its present one works until `previousSecretExpiresAt`.
    static func rotate(_ client: OAuthClient, to secret: SecretHash, in transaction: borrowing Transaction) {
        transaction.enqueue(
            """
            UPDATE oauth_client
            SET previous_secret_hash = secret_hash, previous_secret_expires_at = \(client.previousSecretExpiresAt),
                secret_hash = \(PostgresBytes(bytes: secret.bytes)), updated_at = \(client.updatedAt),
                revision = \(client.revision)
            WHERE tenant_id = \(client.tenantID) AND client_id = \(client.id)
            """
        )
    }

    private static func jwks(of client: OAuthClient) -> PostgresJSON? {
        client.method.usesSecret ? nil : PostgresJSON(text: client.keys.json.text)
    }

    private static var columns: SQL {
        """
        oauth_client.tenant_id, client_id, name, scopes, models, features, data_classes, cost_center,
            token_endpoint_auth_method, jwks, enabled, created_at, updated_at, oauth_client.revoked_at,
            previous_secret_expires_at, revision
        """
    }

    @Sendable private static func client(_ row: inout PostgresRow) throws(PostgresError) -> OAuthClient {
        let (tenantID, id, name) = (try row.next(TenantID.self), try row.next(String.self), try row.next(String.self))
        let scopes = ScopeSet(try row.next([String].self).compactMap(Scope.init(rawValue:)))
        let narrowing = CredentialNarrowing(
            models: try row.next(),
            features: try row.next(),
            dataClasses: try row.next(),
            costCenter: try row.next()
        )
        let method = OAuthClient.AuthenticationMethod(rawValue: try row.next(String.self)) ?? .privateKeyJWT
        let jwks = try row.next(PostgresJSON?.self).flatMap { try? JSONValue(parsing: $0.text) }
        return OAuthClient(
            id: id,
            tenantID: tenantID,
            name: name,
            scopes: scopes,
            narrowing: narrowing,
            method: method,
            keys: jwks.map { ClientKeys(stored: $0) } ?? .none,
            isEnabled: try row.next(),
            createdAt: try row.next(),
            updatedAt: try row.next(),
            revokedAt: try row.next(),
            previousSecretExpiresAt: try row.next(),
            revision: try row.next()
        )
    }
}
