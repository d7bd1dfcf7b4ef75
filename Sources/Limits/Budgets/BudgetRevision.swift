import BillingCore
import Catalog
import Postgres
import Web

/// What a changed budget does to the windows it counts in.
struct BudgetRevision: Sendable {
    let catalog: Catalog
    let ids: IDSource

    /// Puts amount, mode and thresholds in force in present and coming windows, in the transaction that changes the
    /// budget, under the locks of `BudgetService.lock`. Thresholds that use has met already and that did not fire, or
    /// fired and were no longer met in between, fire now. Of a rate what was used stays so many units.
    func apply(_ budget: Budget, after before: Budget, at now: Instant, in transaction: borrowing Transaction) throws {
        if let rate = budget.rate, rate.limit != before.rate?.limit {
            let statement = RateStateStore.follow(budget.id, interval: rate.cells.interval, at: now)
            _ = try transaction.execute(statement)
        }
        guard budget.window != nil, budget.isActive else { return }
        let limit = Limit(budget)
        let states = try transaction.query(
            LimitStateStore.follow([limit], of: nil, at: now),
            LimitStateStore.decode
        )
        let keys = try tenantKeys(of: budget, states, in: transaction)
        let counted = states.map { CountedLimit(limit: limit, state: $0, tenantKey: keys[$0.row.tenant]) }
        let drafts = LimitAlerts.due(
            counted,
            catalog: catalog.current,
            at: now,
            isRevised: true,
            in: transaction
        )
        try AlertStore.raise(drafts, at: now, ids: ids, in: transaction)
    }

    /// The keys of the tenants that rows belong to.
    private func tenantKeys(
        of budget: Budget,
        _ states: [LimitState],
        in transaction: borrowing Transaction
    ) throws -> [TenantID: String] {
        if let key = budget.scope.exact(.tenant) { return [budget.tenantID: key] }
        guard budget.scope.tenant == .each, !states.isEmpty else { return [:] }
        return try TenantStore.keys(of: Set(states.map(\.row.tenant)).sorted(), in: transaction)
    }
}
