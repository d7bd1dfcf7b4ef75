import BillingCore
import Postgres
import Web

/// The table `client_assertion`.
enum ClientAssertionStore {
    /// Tells whether the client uses this assertion for the first time: of many at once, on any replica, one is.
    /// - Parameter hash: the SHA-256 of its `jti`.
    static func use(_ hash: [UInt8], of client: OAuthClient, until: Instant, pool: PostgresPool) async throws -> Bool {
        try await pool.execute(
            .interactive,
            """
            INSERT INTO client_assertion (tenant_id, client_id, assertion_hash, expires_at)
            VALUES (\(client.tenantID), \(client.id), \(PostgresBytes(bytes: hash)), \(until))
            ON CONFLICT ON CONSTRAINT client_assertion_pk DO NOTHING
            """
        ) == 1
    }

    /// Removes up to `maximumCount` rows of assertions that have expired, and tells how many there were.
    static func removeExpired(pool: PostgresPool, now: Instant, maximumCount: Int) async throws -> Int {
        try await pool.execute(
            .worker,
            """
            DELETE FROM client_assertion
            WHERE ctid = ANY (ARRAY(
                SELECT ctid FROM client_assertion WHERE expires_at <= \(now) ORDER BY expires_at LIMIT \(maximumCount)
            ))
            """
        )
    }
}
