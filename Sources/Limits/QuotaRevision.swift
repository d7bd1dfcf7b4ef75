package import BillingCore
package import Catalog
package import Postgres

/// What a change of plan, or of a tenant's own quotas, does to the windows that its quotas and spend cap count in.
package enum QuotaRevision {
    /// Puts the amounts in force in present and coming windows, those of limits that go out of force too. Runs in the
    /// transaction that changes the limits in force, under the tenant's ledger lock.
    /// - Returns: the alerts of thresholds that use has met already, for the caller to raise.
    package static func apply(
        to tenant: TenantSnapshot,
        catalog: CatalogSnapshot,
        at now: Instant,
        in transaction: borrowing Transaction
    ) throws -> [AlertDraft] {
        let limits = revised(of: tenant)
        guard !limits.isEmpty else { return [] }
        let byID = Dictionary(limits.map { ($0.id, $0) }) { first, _ in first }
        let states = try transaction.query(
            LimitStateStore.follow(limits, of: tenant.id, periodStart: tenant.periodStart(at: now), at: now),
            LimitStateStore.decode
        )
        let counted = states.compactMap { state in
            byID[state.row.limit].map { CountedLimit(limit: $0, state: state, tenantKey: tenant.key) }
        }
        return LimitAlerts.due(counted, catalog: catalog, at: now, in: transaction)
    }

    /// Locks the rows that `apply` will write, in the order in which everybody locks rows, for a transaction that
    /// writes some of them before.
    package static func lock(_ tenant: TenantSnapshot, at now: Instant, in transaction: borrowing Transaction) {
        let limits = revised(of: tenant)
        guard !limits.isEmpty else { return }
        transaction.enqueue(
            LimitStateStore.lockFollowing(limits, of: tenant.id, periodStart: tenant.periodStart(at: now), at: now)
        )
    }

    private static func revised(of tenant: TenantSnapshot) -> [Limit] { tenant.ownLimits.filter { !$0.isBudget } }
}
