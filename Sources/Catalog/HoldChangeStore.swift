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

    /// Says that the transaction changes what calls of a tenant are charged, or cost, or which of its limits are in
    /// force.
    package static func note(_ tenant: TenantID, in transaction: borrowing Transaction) {
        transaction.enqueue(
            """
            INSERT INTO hold_change (tenant_id, changed_at, due_at, is_begun)
            VALUES (\(tenant), clock_timestamp(), now(), false)
            ON CONFLICT ON CONSTRAINT hold_change_pk DO UPDATE
            SET changed_at = excluded.changed_at, due_at = excluded.due_at, is_begun = false, horizon = NULL
            """
        )
    }

    /// Whether open calls of a tenant may not have followed a change yet, of its own or of everybody's.
    package static func isUnderWay(of tenant: TenantID, pool: PostgresPool) async throws -> Bool {
        try await pool.query(
            .interactive,
            "SELECT FROM hold_change WHERE tenant_id IN (\(TenantID.operatorWide), \(tenant)) LIMIT 1"
        ) { _ throws(PostgresError) in true }.first ?? false
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

    /// Takes, for a minute, those that have been due for longest: who does not come to their end leaves them to
    /// somebody else. A change that was gone through is due again when all transactions are over that may have held by
    /// what was before it. No transaction of the service lasts for a minute; those of others on the same server may.
    package static func take(atMost limit: Int, pool: PostgresPool) async throws -> [Change] {
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
                LIMIT \(limit)
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
        }
    }

    /// Keeps changes for another minute.
    /// - Returns: those that nobody else has by now, and that were not made anew meanwhile.
    package static func renew(_ changes: [Change], pool: PostgresPool) async throws -> [Change] {
        let rows = try await pool.query(
            .worker,
            """
            UPDATE hold_change SET due_at = clock_timestamp() + interval '1 minute'
            WHERE tenant_id IN (\(still(changes)))
            RETURNING tenant_id, due_at
            """
        ) { row throws(PostgresError) in
            (tenant: try row.next(TenantID.self), takenUntil: try row.next(Instant.self))
        }
        let takenUntil = Dictionary(rows.map { ($0.tenant, $0.takenUntil) }) { first, _ in first }
        return changes.compactMap { change in
            takenUntil[change.tenant].map {
                Change(tenant: change.tenant, changedAt: change.changedAt, takenUntil: $0, isLast: change.isLast)
            }
        }
    }

    /// Forgets changes that were gone through, unless there was another meanwhile; where that has to be done again, it
    /// is noted.
    package static func finish(_ changes: [Change], pool: PostgresPool) async throws {
        let last = changes.filter(\.isLast)
        if !last.isEmpty {
            try await pool.execute(.worker, "DELETE FROM hold_change WHERE tenant_id IN (\(still(last)))")
        }
        let first = changes.filter { !$0.isLast }
        guard !first.isEmpty else { return }
        try await pool.execute(
            .worker,
            "UPDATE hold_change SET is_begun = true, due_at = now() WHERE tenant_id IN (\(still(first)))"
        )
    }

    /// Leaves changes that could not be gone through for a while, behind the others.
    package static func putOff(_ changes: [Change], pool: PostgresPool) async throws {
        guard !changes.isEmpty else { return }
        try await pool.execute(
            .worker,
            """
            UPDATE hold_change SET due_at = now() + interval '5 seconds' WHERE tenant_id IN (\(still(changes)))
            """
        )
    }

    /// Whose changes are still the ones that were taken. A row that somebody has locked is being changed anew.
    private static func still(_ changes: [Change]) -> SQL {
        """
        SELECT tenant_id
        FROM hold_change
        JOIN unnest(
            \(changes.map(\.tenant))::bigint[], \(changes.map(\.changedAt))::timestamptz[],
            \(changes.map(\.takenUntil))::timestamptz[]
        ) AS taken (tenant_id, changed_at, due_at) USING (tenant_id, changed_at, due_at)
        FOR UPDATE OF hold_change SKIP LOCKED
        """
    }
}
