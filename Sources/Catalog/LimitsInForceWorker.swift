import BillingCore
package import Logging
package import Postgres
import ServiceLifecycle
package import Web

/// Changes the limits in force when a subscription starts or ends by the passing of time. Safe on every replica: each
/// tenant is done under its ledger lock, and doing it twice changes nothing.
package struct LimitsInForceWorker: Service {
    private static let batchCount = 100

    private let pool: PostgresPool
    private let catalog: Catalog
    private let usage: StoredUsageAccess
    private let clock: Clock
    private let logger: Logger
    private let loop: WorkerLoop

    package init(
        pool: PostgresPool,
        catalog: Catalog,
        usage: StoredUsageAccess,
        clock: Clock,
        interval: Duration = .seconds(1),
        logger: Logger
    ) {
        self.pool = pool
        self.catalog = catalog
        self.usage = usage
        self.clock = clock
        self.logger = logger
        loop = WorkerLoop("limits_in_force", every: interval, clock: clock, logger: logger)
    }

    package func run() async throws {
        await loop.run { try await applyDue() }
    }

    /// Does what is due, and returns for how many tenants it worked. Where it fails it goes on with the next tenant,
    /// and tries again when it is called again.
    @discardableResult
    package func applyDue() async throws -> Int {
        let now = clock.now()
        var done = 0
        var after: SubscriptionStore.DueLimits?
        repeat {
            let position = after
            let due = try await pool.transaction(.worker, retries: .idempotent(attempts: 3)) { transaction in
                try SubscriptionStore.dueLimits(at: now, after: position, limit: Self.batchCount, in: transaction)
            }
            for tenant in Set(due.map(\.tenant)).sorted() {
                if await applyIfDue(to: tenant, at: now) { done += 1 }
            }
            after = due.count < Self.batchCount ? nil : due.last
        } while after != nil && !Task.isCancelled
        return done
    }

    /// Puts in force what is due of a tenant, if it still is: another replica may have done it, and somebody changed
    /// the plan since.
    /// - Parameter now: when it was found to be due.
    /// - Returns: whether it was.
    func applyIfDue(to tenant: TenantID, at now: Instant) async -> Bool {
        do {
            let isDue = try await pool.transaction(.worker, retries: .idempotent(attempts: 3)) { transaction in
                _ = try TenantLedger.lock(tenant, in: transaction)
                guard try SubscriptionStore.areLimitsDue(of: tenant, at: now, in: transaction) else { return false }
                try TenantLedger.lockAndBump(tenant, in: transaction)
                try LimitsInForce.applyAndCount(to: tenant, at: now, catalog: catalog, usage: usage, in: transaction)
                return true
            }
            if isDue { catalog.invalidate(tenant: tenant) }
            return isDue
        } catch {
            guard !Task.isCancelled else { return false }
            // One tenant's trouble must not keep the others' limits out of force.
            logger.error(
                "limits of a tenant could not be put in force",
                metadata: ["tenant_id": "\(tenant)", "error": "\(error)"]
            )
            return false
        }
    }
}
