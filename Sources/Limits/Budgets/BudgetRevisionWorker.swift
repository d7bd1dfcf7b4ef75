import BillingCore
package import Catalog
package import Logging
package import Postgres
import ServiceLifecycle
import Synchronization
package import Web

/// Has all rows of budgets follow that were changed, see `BudgetRevision`. Safe on every replica: one at a time is at a
/// budget, and doing it twice changes nothing.
package struct BudgetRevisionWorker: Service {
    private static let batch = 100
    /// How long a budget is left alone of which somebody has a row locked: all its rows are gone through anew then.
    private static let pause = Duration.seconds(5)

    private let pool: PostgresPool
    private let revision: BudgetRevision
    private let clock: Clock
    private let loop: WorkerLoop
    private let pausedUntil = PausedBudgets()

    package init(
        pool: PostgresPool,
        catalog: Catalog,
        ids: IDSource,
        clock: Clock,
        interval: Duration = .seconds(1),
        logger: Logger
    ) {
        self.pool = pool
        revision = BudgetRevision(pool: pool, catalog: catalog, ids: ids, clock: clock)
        self.clock = clock
        loop = WorkerLoop("budget_revision", every: interval, clock: clock, logger: logger)
    }

    package func run() async throws {
        await loop.run { try await followAll() }
    }

    /// Goes through the budgets that were changed and have no more rows in the making. What one of them meets keeps
    /// none of the others from following.
    package func followAll() async throws {
        let now = clock.now()
        let due = try await pool.transaction(.worker, retries: .idempotent(attempts: 3)) { transaction in
            try BudgetChangeStore.noteHorizons(limit: Self.batch, in: transaction)
            return try BudgetChangeStore.due(at: now, limit: Self.batch, in: transaction)
        }
        var failure: (any Error)?
        for (tenant, budget) in due where !Task.isCancelled && !pausedUntil.contains(budget) {
            do {
                try await follow(budget, of: tenant)
            } catch let error as PostgresError where error.isLockTimeout {
                pausedUntil.insert(budget, for: Self.pause)
            } catch {
                failure = failure ?? error
            }
        }
        if let failure { throw failure }
    }

    private func follow(_ budget: LimitID, of tenant: TenantID) async throws {
        var pass: BudgetRevision.Pass? = .init()
        while let current = pass, !Task.isCancelled {
            pass = try await revision.follow(budget, of: tenant, after: current)
        }
    }
}

/// Budgets that are left alone for a while.
private final class PausedBudgets: Sendable {
    private let ends = Mutex<[LimitID: ContinuousClock.Instant]>([:])

    func insert(_ budget: LimitID, for pause: Duration) {
        let now = ContinuousClock.now
        ends.withLock { ends in
            ends = ends.filter { $0.value > now }
            ends[budget] = now + pause
        }
    }

    func contains(_ budget: LimitID) -> Bool {
        ends.withLock { $0[budget].map { $0 > .now } ?? false }
    }
}

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

    /// Takes a change until the transaction ends, before any row that follows; false where there is none.
    /// - Parameter time: when what was under way during the change has to be over, and nobody else at it; nil where
    ///   neither need be: who is at it is waited for.
    static func claim(
        _ budget: LimitID,
        of tenant: TenantID,
        overBy time: Instant?,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> Bool {
        let whereTaken: SQL = time == nil ? "" : "SKIP LOCKED"
        return try transaction.first(
            """
            SELECT true FROM budget_change
            WHERE tenant_id = \(tenant) AND limit_id = \(budget) AND \(time.map(isOver) ?? "true")
            FOR UPDATE \(whereTaken)
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
