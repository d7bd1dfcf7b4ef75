import BillingCore
import Postgres

/// Which of a tenant's limits are in force: the quotas of the segment that covers the present, with the tenant's own in
/// their place.
enum LimitsInForce {
    /// Puts them in force, notes when that next changes, and has open calls follow. Call it under the tenant's ledger
    /// lock, whenever a subscription was made, changed or ended, or has started, changed or ended by the passing of
    /// time.
    static func apply(to tenant: TenantID, at now: Instant, in transaction: borrowing Transaction) throws {
        let plan = try plan(of: tenant, at: now, in: transaction)
        let own = plan == nil ? [] : try QuotaOverrideStore.active(of: tenant, in: transaction)
        try UsageLimitStore.replace(with: own.replacing(plan?.quotas ?? []), for: tenant, in: transaction)
        try SpendCapStore.replace(with: plan?.terms.spendCap, for: tenant, at: now, in: transaction)
        try SpendCapStore.prepare(for: tenant, at: now, in: transaction)
        try SubscriptionStore.scheduleLimits(after: now, tenant: tenant, in: transaction)
        HoldChangeStore.note(tenant, in: transaction)
    }

    /// The plan version in force, with what the subscription has in place of it.
    private static func plan(
        of tenant: TenantID,
        at now: Instant,
        in transaction: borrowing Transaction
    ) throws -> PlanVersion? {
        let stored = try SubscriptionSegmentStore.segment(covering: now, tenant: tenant, in: transaction)
        guard let stored else { return nil }
        return try SegmentPlans(of: [stored], in: transaction).segment(stored).planVersion
    }

    /// The same, and counts what the windows of limits that come into force have seen so far.
    /// - Parameter limitsFrom: the instant whose windows are the first that such limits count in; by default the start
    ///   of the segment in force.
    static func applyAndCount(
        to tenant: TenantID,
        at now: Instant,
        limitsFrom: Instant? = nil,
        catalog: Catalog,
        usage: StoredUsageAccess,
        in transaction: borrowing Transaction
    ) throws {
        try apply(to: tenant, at: now, in: transaction)
        let start = try SubscriptionStart(
            of: tenant,
            limitsFrom: limitsFrom,
            catalog: catalog,
            now: now,
            in: transaction
        )
        if let start { try usage.rate(transaction, start) }
    }
}
