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
    private let interval: Duration
    private let logger: Logger

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
        self.interval = interval
        self.logger = logger
    }

    package func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                do {
                    while try await applyDue() == Self.batchCount {}
                } catch is CancellationError {
                    return
                } catch {
                    logger.warning("limits of changed subscriptions are late", metadata: ["error": "\(error)"])
                }
                try? await Task.sleep(for: interval)
            }
        }
    }

    /// Does what is due, up to a batch, and returns how many tenants that were.
    package func applyDue() async throws -> Int {
        let now = clock.now()
        let tenants = try await pool.transaction(.worker, retries: .idempotent(attempts: 3)) { transaction in
            try SubscriptionStore.tenantsWithDueLimits(at: now, limit: Self.batchCount, in: transaction)
        }
        for tenant in Set(tenants).sorted() {
            try await pool.transaction(.worker, retries: .idempotent(attempts: 3)) { transaction in
                try TenantLedger.lockAndBump(tenant, in: transaction)
                try LimitsInForce.apply(to: tenant, at: now, in: transaction)
                if let start = try SubscriptionStart(of: tenant, catalog: catalog, now: now, in: transaction) {
                    try usage.rate(transaction, start)
                }
            }
            catalog.invalidate(tenant: tenant)
        }
        return tenants.count
    }
}
