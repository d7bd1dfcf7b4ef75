import BillingCore
import Postgres

/// Which of a tenant's limits are in force: the quotas of the plan version that covers the present.
enum LimitsInForce {
    /// Puts them in force, and notes when that next changes. Call it under the tenant's ledger lock, whenever a
    /// subscription was made, ended, or has started or ended by the passing of time.
    static func apply(to tenant: TenantID, at now: Instant, in transaction: borrowing Transaction) throws {
        let version = try SubscriptionStore.planVersion(covering: now, tenant: tenant, in: transaction)
        let plan = try version.flatMap { try PlanVersionStore.snapshots([$0], in: transaction).first }
        try UsageLimitStore.replace(with: plan?.quotas ?? [], for: tenant, in: transaction)
        try SubscriptionStore.scheduleLimits(after: now, tenant: tenant, in: transaction)
    }

    /// The same, and counts what the windows of limits that come into force have seen so far.
    static func applyAndCount(
        to tenant: TenantID,
        at now: Instant,
        catalog: Catalog,
        usage: StoredUsageAccess,
        in transaction: borrowing Transaction
    ) throws {
        try apply(to: tenant, at: now, in: transaction)
        if let start = try SubscriptionStart(of: tenant, catalog: catalog, now: now, in: transaction) {
            try usage.rate(transaction, start)
        }
    }
}
