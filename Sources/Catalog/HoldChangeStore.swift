package import BillingCore
package import Postgres

/// All SQL on `hold_change`: whose open calls may hold less than they can come to cost by now, since a plan or a price
/// was changed.
package enum HoldChangeStore {
    /// A change that is to be gone through.
    package struct Change: Sendable {
        /// `operatorWide` for prices and exchange rates, which concern everybody.
        package let tenant: TenantID
        fileprivate let changedAt: Instant
    }

    /// Says that the transaction changes what calls of a tenant are charged, or cost.
    static func note(_ tenant: TenantID, in transaction: borrowing Transaction) {
        transaction.enqueue(
            """
            INSERT INTO hold_change (tenant_id, changed_at) VALUES (\(tenant), now())
            ON CONFLICT ON CONSTRAINT hold_change_pk DO UPDATE SET changed_at = excluded.changed_at, horizon = NULL
            """
        )
    }

    /// Notes of changes that have been committed a transaction that began after that: this one, which gets its id with
    /// the locks of the statement.
    package static func noteHorizons(pool: PostgresPool) async throws {
        try await pool.execute(
            .worker,
            """
            UPDATE hold_change SET horizon = pg_current_xact_id()
            WHERE tenant_id IN (
                SELECT tenant_id FROM hold_change WHERE horizon IS NULL ORDER BY tenant_id FOR UPDATE SKIP LOCKED
            )
            """
        )
    }

    /// The changes of which all transactions are over that can have held by what was before, the oldest first. No
    /// transaction of the service lasts for a minute; those of others on the same server may.
    package static func due(pool: PostgresPool) async throws -> [Change] {
        try await pool.query(
            .worker,
            """
            SELECT tenant_id, changed_at FROM hold_change
            WHERE horizon <= pg_snapshot_xmin(pg_current_snapshot()) OR changed_at < now() - interval '1 minute'
            ORDER BY changed_at, tenant_id
            LIMIT 100
            """
        ) { row throws(PostgresError) in Change(tenant: try row.next(), changedAt: try row.next()) }
    }

    /// Forgets a change that was gone through, unless there was another meanwhile.
    package static func remove(_ change: Change, pool: PostgresPool) async throws {
        try await pool.execute(
            .worker,
            "DELETE FROM hold_change WHERE tenant_id = \(change.tenant) AND changed_at = \(change.changedAt)"
        )
    }
}
