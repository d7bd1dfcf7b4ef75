import BillingCore
import Catalog
import Postgres
import Web

/// What a changed budget does to the rows it counts in: amount, mode and thresholds are put in force in present and
/// coming windows. Thresholds that use has met already and that did not fire, or fired and were no longer met in
/// between, fire then. Of a rate what was used stays so many units. A budget for each user can have very many rows:
/// they follow a piece at a time, so that nobody waits for all of them. Whatever counts in one that has not followed
/// yet brings the budget in force along.
struct BudgetRevision: Sendable {
    /// How many rows are locked at a time.
    private static let together = 500

    let catalog: Catalog
    let ids: IDSource

    /// Runs in the transaction that changes the budget, under the locks of `BudgetService.lock`: the first piece
    /// follows with it. `BudgetRevisionWorker` goes through all of them afterwards, those too that were being made
    /// meanwhile.
    func begin(_ budget: Budget, at now: Instant, in transaction: borrowing Transaction) throws {
        // Before any row, as the worker does.
        try BudgetChangeStore.note(budget, at: now, in: transaction)
        _ = try follow(budget, after: nil, at: now, in: transaction)
    }

    /// The next piece of rows follows.
    /// - Returns: the last of them; nil where none are left.
    func follow(
        _ budget: Budget,
        after row: LimitRow?,
        at now: Instant,
        in transaction: borrowing Transaction
    ) throws -> LimitRow? {
        guard budget.isActive else { return nil }
        switch budget.bound {
        case .window(let window):
            let statement = LimitStateStore.lastOfNext(Self.together, of: budget.id, window.kind, after: row, at: now)
            let last = try transaction.first(statement, LimitRow.decode)
            try follow(budget, LimitRowPiece(after: row, through: last), at: now, in: transaction)
            return last
        case .rate(let rate):
            let statement = RateStateStore.lastOfNext(Self.together, of: budget.id, after: row)
            let last = try transaction.first(statement, LimitRow.decode)
            let piece = LimitRowPiece(after: row, through: last)
            try transaction.execute(
                RateStateStore.follow(budget.id, interval: rate.cells.interval, piece, at: now)
            )
            return last
        }
    }

    private func follow(
        _ budget: Budget,
        _ piece: LimitRowPiece,
        at now: Instant,
        in transaction: borrowing Transaction
    ) throws {
        let limit = Limit(budget)
        let states = try transaction.query(LimitStateStore.follow(limit, piece, at: now), LimitStateStore.decode)
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
