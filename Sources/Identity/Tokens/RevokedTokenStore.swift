import BillingCore
import Postgres
import Web

/// The table `revoked_token`.
enum RevokedTokenStore {
    /// Tells whether it was not revoked before.
    static func insert(
        _ token: AccessToken,
        tenant: TenantID,
        at now: Instant,
        in transaction: borrowing Transaction
    ) throws -> Bool {
        let isNew = try !transaction.query(
            """
            INSERT INTO revoked_token (tenant_id, token_id, revoked_at, expires_at)
            VALUES (\(tenant), \(token.id), \(now), \(token.expiresAt))
            ON CONFLICT ON CONSTRAINT revoked_token_pk DO NOTHING
            RETURNING token_id
            """
        ) { row throws(PostgresError) in try row.next(UUIDv7.self) }.isEmpty
        if isNew { CredentialChanges.announce(token: token.id, in: transaction) }
        return isNew
    }

    /// Removes up to `maximumCount` rows of tokens that have expired, and tells how many there were.
    static func removeExpired(pool: PostgresPool, now: Instant, maximumCount: Int) async throws -> Int {
        try await pool.execute(
            .worker,
            """
            DELETE FROM revoked_token
            WHERE ctid = ANY (ARRAY(
                SELECT ctid FROM revoked_token WHERE expires_at <= \(now) ORDER BY expires_at LIMIT \(maximumCount)
            ))
            """
        )
    }
}
