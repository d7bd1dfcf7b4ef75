package import BillingCore
package import Catalog
package import Postgres
package import Web

/// What a change of plan, or of a tenant's own quotas, does to the windows that its quotas and spend cap count in.
package enum QuotaRevision {
    /// Puts the amounts in force in present and coming windows, and raises the alerts of thresholds that use has met
    /// already. Runs in the transaction that changes the limits in force, under the tenant's ledger lock.
    package static func apply(
        to tenant: TenantSnapshot,
        catalog: CatalogSnapshot,
        at now: Instant,
        ids: IDSource,
        in transaction: borrowing Transaction
    ) throws {
        let limits = tenant.ownLimits.filter { $0.isActive && !$0.isBudget }
        guard !limits.isEmpty else { return }
        let byID = Dictionary(limits.map { ($0.id, $0) }) { first, _ in first }
        let states = try transaction.query(
            LimitStateStore.follow(limits, of: tenant.id, at: now),
            LimitStateStore.decode
        )
        let counted = states.compactMap { state in
            byID[state.row.limit].map { CountedLimit(limit: $0, state: state, tenantKey: tenant.key) }
        }
        let drafts = LimitAlerts.due(counted, catalog: catalog, at: now, in: transaction)
        try AlertStore.raise(drafts, at: now, ids: ids, in: transaction)
    }
}
