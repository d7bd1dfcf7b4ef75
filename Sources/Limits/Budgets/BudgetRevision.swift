package import BillingCore
package import Catalog
package import Postgres

/// What a changed budget does to the windows it counts in.
package enum BudgetRevision {
    /// Puts the amount, mode and thresholds of a changed budget in force in its present and coming windows, in the
    /// transaction that changes it, under the locks of `BudgetService.lock`. Returns their rows as they are now: by
    /// them is judged which thresholds are newly met.
    @discardableResult
    package static func apply(
        _ budget: Budget,
        at now: Instant,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [BudgetState] {
        guard let window = budget.window, budget.isActive else { return [] }
        return try transaction.query(
            LimitStateStore.follow(budget, amount: window.amount, at: now),
            LimitStateStore.budgetState
        )
    }
}
