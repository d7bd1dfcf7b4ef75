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

    let pool: PostgresPool
    let catalog: Catalog
    let ids: IDSource
    let clock: Clock

    /// How far the rows of a budget have followed.
    struct Pass: Sendable {
        /// Which definition of the budget they follow.
        fileprivate(set) var revision: Int64?
        fileprivate(set) var row: LimitRow?
    }

    /// The first piece of rows follows at once, for whoever has just changed the budget.
    func begin(_ id: LimitID, of tenant: TenantID) async throws {
        try await transaction(.interactive) { transaction in
            guard try BudgetChangeStore.claim(id, of: tenant, in: transaction),
                let budget = try BudgetStore.find(id, of: tenant, in: transaction)
            else { return }
            _ = try followNext(budget, after: nil, at: clock.now(), in: transaction)
        }
    }

    /// The next piece of rows follows, those too that were being made during the change.
    /// - Returns: how far it has come; nil where nothing is left, or it can't go on now.
    func follow(_ id: LimitID, of tenant: TenantID, after pass: Pass) async throws -> Pass? {
        let now = clock.now()
        return try await transaction(.worker) { transaction in
            guard try BudgetChangeStore.claim(id, of: tenant, overBy: now, in: transaction),
                let budget = try BudgetStore.find(id, of: tenant, in: transaction)
            else { return nil }
            // Changed again meanwhile: from the start.
            let row = budget.revision == pass.revision ? pass.row : nil
            if let last = try followNext(budget, after: row, at: now, in: transaction) {
                return Pass(revision: budget.revision, row: last)
            }
            try BudgetChangeStore.remove(id, of: tenant, in: transaction)
            return nil
        }
    }

    /// Calls and usage in the rows of a piece wait for one that somebody else has locked no longer than that.
    private func transaction<Value: Sendable>(
        _ lane: PostgresLane,
        _ work: @Sendable @escaping (borrowing Transaction) throws -> Value
    ) async throws -> Value {
        try await pool.transaction(lane, retries: .idempotent(attempts: 3)) { transaction in
            transaction.waitForLocks(atMost: .milliseconds(100))
            return try work(transaction)
        }
    }

    /// - Returns: the last of the rows that have followed; nil where none are left behind them.
    private func followNext(
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
        // Where another budget stands in its place it does not alert.
        let overriding = states.isEmpty ? [] : try BudgetStore.scopes(overriding: budget.id, in: transaction)
        let counted = states.filter { state in
            let values = budget.scope.values(inScopeValue: state.row.scopeValue) ?? [:]
            return !overriding.contains { $0.includes(values, tenant: keys[state.row.tenant]) }
        }.map { CountedLimit(limit: limit, state: $0, tenantKey: keys[$0.row.tenant]) }
        let drafts = LimitAlerts.due(
            counted,
            catalog: catalog.current,
            at: now,
            revisedAt: budget.updatedAt,
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
