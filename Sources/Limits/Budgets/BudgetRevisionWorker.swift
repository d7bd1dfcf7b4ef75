import BillingCore
package import Catalog
package import Logging
package import Postgres
import ServiceLifecycle
package import Web

/// Has all rows of budgets follow that were changed, see `BudgetRevision`. Safe on every replica: one at a time is at a
/// budget, and doing it twice changes nothing.
package struct BudgetRevisionWorker: Service {
    private static let batch = 100

    private let pool: PostgresPool
    private let revision: BudgetRevision
    private let clock: Clock
    private let loop: WorkerLoop

    package init(
        pool: PostgresPool,
        catalog: Catalog,
        ids: IDSource,
        clock: Clock,
        interval: Duration = .seconds(1),
        logger: Logger
    ) {
        self.pool = pool
        revision = BudgetRevision(catalog: catalog, ids: ids)
        self.clock = clock
        loop = WorkerLoop("budget_revision", every: interval, clock: clock, logger: logger)
    }

    package func run() async throws {
        await loop.run { try await followAll() }
    }

    /// Goes through the budgets whose changes are over.
    package func followAll() async throws {
        let due = try await pool.transaction(.worker, retries: .idempotent(attempts: 3)) { transaction in
            try BudgetChangeStore.due(at: clock.now(), limit: Self.batch, in: transaction)
        }
        for (tenant, budget) in due {
            var pass: Pass? = Pass()
            while let current = pass, !Task.isCancelled { pass = try await followSome(of: budget, tenant, current) }
        }
    }

    /// How far a budget has been gone through.
    private struct Pass: Sendable {
        /// Which definition of the budget its rows have come to follow.
        var revision: Int64?
        var row: LimitRow?
    }

    /// - Returns: how far it has come; nil where nothing is left, or somebody else is at it.
    private func followSome(of id: LimitID, _ tenant: TenantID, _ pass: Pass) async throws -> Pass? {
        try await pool.transaction(.worker, retries: .idempotent(attempts: 3)) { transaction in
            let now = clock.now()
            guard try BudgetChangeStore.claim(id, of: tenant, at: now, in: transaction),
                let budget = try BudgetStore.find(id, of: tenant, in: transaction)
            else { return nil }
            // Changed again meanwhile: from the start.
            let row = budget.revision == pass.revision ? pass.row : nil
            let last = try revision.follow(budget, after: row, at: now, in: transaction)
            guard let last else {
                try BudgetChangeStore.remove(id, of: tenant, in: transaction)
                return nil
            }
            return Pass(revision: budget.revision, row: last)
        }
    }
}

/// All SQL on `budget_change`.
enum BudgetChangeStore {
    /// No transaction of the service lasts for so long; those of others on the same server may.
    private static let longestSeconds: Int64 = 60

    /// Says that the transaction changes the budget, and keeps `claim` waiting for its end.
    static func note(_ budget: Budget, at now: Instant, in transaction: borrowing Transaction) throws(PostgresError) {
        try transaction.execute(
            """
            INSERT INTO budget_change (tenant_id, limit_id, changed_in, changed_at)
            VALUES (\(budget.tenantID), \(budget.id), pg_current_xact_id(), \(now))
            ON CONFLICT ON CONSTRAINT budget_change_pk DO UPDATE
            SET changed_in = excluded.changed_in, changed_at = excluded.changed_at
            """
        )
    }

    static func due(
        at now: Instant,
        limit: Int,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [(tenant: TenantID, budget: LimitID)] {
        try transaction.query(
            """
            SELECT tenant_id, limit_id
            FROM budget_change
            WHERE \(isOver(at: now))
            ORDER BY tenant_id, limit_id
            LIMIT \(limit)
            """
        ) { row throws(PostgresError) in (try row.next(TenantID.self), try row.next(LimitID.self)) }
    }

    /// Takes the budget until the transaction ends; false where it has none to follow yet, or somebody has taken it.
    static func claim(
        _ budget: LimitID,
        of tenant: TenantID,
        at now: Instant,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> Bool {
        try transaction.first(
            """
            SELECT true
            FROM budget_change
            WHERE tenant_id = \(tenant) AND limit_id = \(budget) AND \(isOver(at: now))
            FOR UPDATE SKIP LOCKED
            """
        ) { row throws(PostgresError) in try row.next(Bool.self) } ?? false
    }

    static func remove(
        _ budget: LimitID,
        of tenant: TenantID,
        in transaction: borrowing Transaction
    ) throws(PostgresError) {
        try transaction.execute("DELETE FROM budget_change WHERE tenant_id = \(tenant) AND limit_id = \(budget)")
    }

    /// Whether all transactions are over that can have begun before the change was committed.
    private static func isOver(at now: Instant) -> SQL {
        "(changed_in < pg_snapshot_xmin(pg_current_snapshot()) OR changed_at < \(now.adding(seconds: -longestSeconds)))"
    }
}
