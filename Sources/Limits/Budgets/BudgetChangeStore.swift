import BillingCore
import Catalog
import Postgres
import Web

/// All SQL on `budget_change`.
enum BudgetChangeStore {
    /// No transaction of the service lasts for so long; those of others on the same server may.
    private static let longestSeconds: Int64 = 60

    /// Says that the transaction changes the budget.
    static func note(_ budget: Budget, at now: Instant, in transaction: borrowing Transaction) throws(PostgresError) {
        try transaction.execute(
            """
            INSERT INTO budget_change (tenant_id, limit_id, changed_at)
            VALUES (\(budget.tenantID), \(budget.id), \(now))
            ON CONFLICT ON CONSTRAINT budget_change_pk DO UPDATE SET changed_at = excluded.changed_at, horizon = NULL
            """
        )
    }

    /// Notes of changes that have been committed a transaction that began after that: this one, which gets its id with
    /// the locks of the first statement.
    static func noteHorizons(limit: Int, in transaction: borrowing Transaction) throws(PostgresError) {
        let changes = try transaction.query(
            """
            SELECT tenant_id, limit_id FROM budget_change WHERE horizon IS NULL
            ORDER BY changed_at, limit_id
            LIMIT \(limit)
            FOR UPDATE SKIP LOCKED
            """,
            change
        )
        guard !changes.isEmpty else { return }
        try transaction.execute(
            """
            UPDATE budget_change AS change
            SET horizon = pg_current_xact_id()
            FROM unnest(\(changes.map(\.tenant))::bigint[], \(changes.map(\.budget))::bigint[])
                AS locked (tenant_id, limit_id)
            WHERE change.tenant_id = locked.tenant_id AND change.limit_id = locked.limit_id
            """
        )
    }

    /// The changes whose rows can be gone through, the oldest first.
    static func due(
        at now: Instant,
        limit: Int,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [(tenant: TenantID, budget: LimitID)] {
        try transaction.query(
            """
            SELECT tenant_id, limit_id FROM budget_change WHERE \(isOver(by: now))
            ORDER BY changed_at, limit_id
            LIMIT \(limit)
            """,
            change
        )
    }

    /// Takes a change until the transaction ends, before any row that follows; false where there is none. Who is at it
    /// is waited for.
    static func claim(
        _ budget: LimitID,
        of tenant: TenantID,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> Bool {
        try transaction.first("\(change(of: budget, tenant)) FOR UPDATE", isThere) ?? false
    }

    /// The same where what was under way during the change is over; false too where somebody is at it.
    static func claim(
        _ budget: LimitID,
        of tenant: TenantID,
        overBy now: Instant,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> Bool {
        try transaction.first(
            "\(change(of: budget, tenant)) AND \(isOver(by: now)) FOR UPDATE SKIP LOCKED",
            isThere
        ) ?? false
    }

    private static func change(of budget: LimitID, _ tenant: TenantID) -> SQL {
        "SELECT true FROM budget_change WHERE tenant_id = \(tenant) AND limit_id = \(budget)"
    }

    @Sendable
    private static func isThere(_ row: inout PostgresRow) throws(PostgresError) -> Bool { try row.next() }

    static func remove(
        _ budget: LimitID,
        of tenant: TenantID,
        in transaction: borrowing Transaction
    ) throws(PostgresError) {
        try transaction.execute("DELETE FROM budget_change WHERE tenant_id = \(tenant) AND limit_id = \(budget)")
    }

    /// Whether all transactions are over that can have read the budget of before.
    private static func isOver(by now: Instant) -> SQL {
        """
        (horizon <= pg_snapshot_xmin(pg_current_snapshot()) OR changed_at < \(now.adding(seconds: -longestSeconds)))
        """
    }

    @Sendable
    private static func change(
        _ row: inout PostgresRow
    ) throws(PostgresError) -> (tenant: TenantID, budget: LimitID) {
        (try row.next(), try row.next())
    }
}
