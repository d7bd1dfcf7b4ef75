import BillingCore
import Postgres
import Web

/// The table `portal_session`.
enum PortalSessionStore {
    static func insert(_ session: PortalSession, secretHash: SecretHash, in transaction: borrowing Transaction) throws {
        try transaction.execute(
            """
            INSERT INTO portal_session (tenant_id, portal_session_id, secret_hash, scopes, created_by, created_at,
                expires_at)
            VALUES (\(session.tenantID), \(session.id), \(PostgresBytes(bytes: secretHash.bytes)),
                \(session.scopes.names), \(session.createdBy), \(session.createdAt), \(session.expiresAt))
            """
        )
    }

    /// For authentication: whatever state the session is in.
    static func find(id: String, pool: PostgresPool) async throws -> StoredSecret? {
        try await pool.query(
            .admission,
            """
            SELECT \(columns), secret_hash
            FROM portal_session WHERE portal_session_id = \(id) ORDER BY tenant_id LIMIT 1
            """
        ) { row throws(PostgresError) in
            let session = try session(&row)
            return StoredSecret(
                tenantID: session.tenantID,
                scopes: session.scopes,
                hash: SecretHash(bytes: try row.next(PostgresBytes.self).bytes),
                expiresAt: session.expiresAt,
                revokedAt: session.revokedAt
            )
        }.first
    }

    /// Those of a tenant that still open something, in the order of the ids.
    static func open(
        tenant: TenantID,
        at now: Instant,
        after: String?,
        count: Int,
        scope: PostgresScope,
        pool: PostgresPool
    ) async throws -> [PortalSession] {
        try await pool.query(
            .interactive,
            as: scope,
            """
            SELECT \(columns)
            FROM portal_session
            WHERE tenant_id = \(tenant) AND portal_session_id > \(after ?? "")
                AND revoked_at IS NULL AND expires_at > \(now)
            ORDER BY portal_session_id
            LIMIT \(count)
            """,
            session
        )
    }

    static func exists(id: String, tenant: TenantID, scope: PostgresScope, pool: PostgresPool) async throws -> Bool {
        try await pool.query(
            .interactive,
            as: scope,
            """
            SELECT \(columns)
            FROM portal_session
            WHERE tenant_id = \(tenant) AND portal_session_id = \(id)
            ORDER BY portal_session_id
            LIMIT 1
            """,
            session
        ).first != nil
    }

    /// The session locked for a change; nil when the tenant has none of this id.
    static func lock(id: String, tenant: TenantID, in transaction: borrowing Transaction) throws -> PortalSession? {
        try transaction.first(
            """
            SELECT \(columns)
            FROM portal_session WHERE tenant_id = \(tenant) AND portal_session_id = \(id) FOR UPDATE
            """,
            session
        )
    }

    static func revoke(_ session: PortalSession, at now: Instant, in transaction: borrowing Transaction) {
        transaction.enqueue(
            """
            UPDATE portal_session SET revoked_at = \(now)
            WHERE tenant_id = \(session.tenantID) AND portal_session_id = \(session.id)
            """
        )
        CredentialChanges.announce(portalSession: session.id, in: transaction)
    }

    /// Deletes some of the sessions that ended before a time. Returns how many.
    static func removeEnded(before time: Instant, limit: Int, pool: PostgresPool) async throws -> Int {
        try await pool.query(
            .worker,
            """
            DELETE FROM portal_session
            WHERE (tenant_id, portal_session_id) IN (
                SELECT tenant_id, portal_session_id FROM portal_session
                WHERE expires_at < \(time)
                ORDER BY expires_at
                LIMIT \(limit)
            )
            RETURNING portal_session_id
            """
        ) { row throws(PostgresError) in try row.next(String.self) }.count
    }

    private static let columns: SQL = """
        portal_session_id, tenant_id, scopes, created_by, created_at, expires_at, revoked_at
        """

    @Sendable private static func session(_ row: inout PostgresRow) throws(PostgresError) -> PortalSession {
        PortalSession(
            id: try row.next(),
            tenantID: try row.next(),
            scopes: ScopeSet(try row.next([String].self).compactMap(Scope.init(rawValue:))),
            createdBy: try row.next(),
            createdAt: try row.next(),
            expiresAt: try row.next(),
            revokedAt: try row.next()
        )
    }
}
