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
            } catch  where error.isLockTimeout {
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
