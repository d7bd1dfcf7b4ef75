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
        fileprivate let takenUntil: Instant
        /// Whether nobody can hold by what was before any more.
        fileprivate let isLast: Bool
    }

    /// Says that the transaction changes what calls of a tenant are charged, or cost.
    static func note(_ tenant: TenantID, in transaction: borrowing Transaction) {
        transaction.enqueue(
            """
            INSERT INTO hold_change (tenant_id, changed_at, due_at, is_begun)
            VALUES (\(tenant), clock_timestamp(), now(), false)
            ON CONFLICT ON CONSTRAINT hold_change_pk DO UPDATE
            SET changed_at = excluded.changed_at, due_at = excluded.due_at, is_begun = false, horizon = NULL
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

    /// Takes, for a minute, the change that has been due for longest: who does not come to its end leaves it to
    /// somebody else. One that was gone through is due again when all transactions are over that may have held by what
    /// was before it. No transaction of the service lasts for a minute; those of others on the same server may.
    package static func take(pool: PostgresPool) async throws -> Change? {
        try await pool.query(
            .worker,
            """
            WITH due AS (
                SELECT tenant_id, over.is_over
                FROM hold_change
                CROSS JOIN LATERAL (
                    SELECT coalesce(horizon <= pg_snapshot_xmin(pg_current_snapshot()), false)
                        OR changed_at < now() - interval '1 minute' AS is_over
                ) AS over
                WHERE due_at <= now() AND (NOT is_begun OR over.is_over)
                ORDER BY due_at, tenant_id
                LIMIT 1
                FOR UPDATE OF hold_change SKIP LOCKED
            )
            UPDATE hold_change SET due_at = now() + interval '1 minute'
            FROM due
            WHERE hold_change.tenant_id = due.tenant_id
            RETURNING hold_change.tenant_id, changed_at, due_at, is_over
            """
        ) { row throws(PostgresError) in
            Change(
                tenant: try row.next(),
                changedAt: try row.next(),
                takenUntil: try row.next(),
                isLast: try row.next()
            )
        }.first
    }

    /// Keeps a change for another minute; nil where somebody else has it by now.
    package static func renew(_ change: Change, pool: PostgresPool) async throws -> Change? {
        try await pool.query(
            .worker,
            """
            UPDATE hold_change SET due_at = clock_timestamp() + interval '1 minute' WHERE \(isStill(change))
            RETURNING due_at
            """
        ) { row throws(PostgresError) in
            Change(
                tenant: change.tenant,
                changedAt: change.changedAt,
                takenUntil: try row.next(),
                isLast: change.isLast
            )
        }.first
    }

    /// Forgets a change that was gone through, unless there was another meanwhile; where that has to be done again, it
    /// is noted.
    package static func finish(_ change: Change, pool: PostgresPool) async throws {
        try await pool.execute(
            .worker,
            change.isLast
                ? "DELETE FROM hold_change WHERE \(isStill(change))"
                : "UPDATE hold_change SET is_begun = true, due_at = now() WHERE \(isStill(change))"
        )
    }

    /// Leaves a change that could not be gone through for a while, behind the others.
    package static func putOff(_ change: Change, pool: PostgresPool) async throws {
        try await pool.execute(
            .worker,
            "UPDATE hold_change SET due_at = now() + interval '5 seconds' WHERE \(isStill(change))"
        )
    }

    private static func isStill(_ change: Change) -> SQL {
        "tenant_id = \(change.tenant) AND changed_at = \(change.changedAt) AND due_at = \(change.takenUntil)"
    }
}
