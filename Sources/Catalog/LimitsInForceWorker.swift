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
        await loop.run {
            while try await applyDue() == Self.batchCount {}
        }
    }

    /// Does what is due, up to a batch, and returns for how many tenants it worked.
    package func applyDue() async throws -> Int {
        let now = clock.now()
        let tenants = try await pool.transaction(.worker, retries: .idempotent(attempts: 3)) { transaction in
            try SubscriptionStore.tenantsWithDueLimits(at: now, limit: Self.batchCount, in: transaction)
        }
        var done = 0
        for tenant in Set(tenants).sorted() {
            do {
                try await pool.transaction(.worker, retries: .idempotent(attempts: 3)) { transaction in
                    try TenantLedger.lockAndBump(tenant, in: transaction)
                    try LimitsInForce.applyAndCount(
                        to: tenant,
                        at: now,
                        catalog: catalog,
                        usage: usage,
                        in: transaction
                    )
                }
                catalog.invalidate(tenant: tenant)
                done += 1
            } catch let error where !Task.isCancelled {
                // One tenant's trouble must not keep the others' limits out of force.
                logger.error(
                    "limits of a tenant could not be put in force",
                    metadata: ["tenant_id": "\(tenant)", "error": "\(error)"]
                )
            }
        }
        return done
    }
}
