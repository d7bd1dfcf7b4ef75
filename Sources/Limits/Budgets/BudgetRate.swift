import BillingCore
import Catalog
import Postgres
import Web

/// What is left of a rate at present, as it is answered.
struct BudgetRateBody: Encodable, Sendable {
    /// The budget's scope, with values in place of each "each".
    let scope: JSONValue
    /// How many units may be used at once; callers of less than critical importance may use fewer.
    let remaining: Int64
    /// When the whole burst is there again; nil where it is now.
    let fullAt: Instant?

    init(_ rate: RateLimit, _ scope: BudgetScope, arrival: FixedDecimal?, at now: Instant) throws(DecimalError) {
        self.scope = scope.json
        (remaining, fullAt) = try rate.cells.standing(arrival: arrival, at: now)
    }
}

extension BudgetStatuses {
    /// What is left of each rate. Where each user, tenant or model has a row of its own these are those that are not
    /// full, the emptiest first, and at most `limit`.
    func rates(of budgets: [Budget], limit: Int, _ context: RequestContext) async throws -> [LimitID: BudgetStatusBody]
    {
        let now = context.clock.now()
        let active = budgets.filter { $0.isActive && $0.rate != nil }
        guard !active.isEmpty else { return [:] }
        let rows = try await desk.read(context) { transaction in
            try transaction.query(
                RateStateStore.busiest(of: active, limit: limit + 1, at: now),
                RateStateStore.decode
            )
        }
        let tenants = try await tenants(of: rows.map(\.row.tenant))
        let byLimit = Dictionary(grouping: rows, by: \.row.limit)
        var statuses: [LimitID: BudgetStatusBody] = [:]
        for budget in active {
            guard let rate = budget.rate else { continue }
            let found = byLimit[budget.id] ?? []
            var bodies: [BudgetRateBody] = []
            if budget.isSplit {
                for (row, arrival) in found.prefix(limit) {
                    guard let scope = budget.scope(of: row, tenantKey: tenants[row.tenant]?.key) else { continue }
                    bodies.append(try BudgetRateBody(rate, scope, arrival: arrival, at: now))
                }
            } else {
                bodies.append(try BudgetRateBody(rate, budget.scope, arrival: found.first?.arrival, at: now))
            }
            statuses[budget.id] = BudgetStatusBody(rates: bodies, isTruncated: found.count > limit)
        }
        return statuses
    }
}

extension RateStateStore {
    /// For each rate, so many rows that are not full, the emptiest first. Rows decode with `decode`.
    static func busiest(of budgets: [Budget], limit: Int, at now: Instant) -> SQL {
        let wanted = budgets.compactMap { budget in budget.rate.map { (budget.id, $0.cells.interval) } }
        return """
            SELECT row.*
            FROM unnest(\(wanted.map(\.0))::bigint[], \(wanted.map(\.1))::numeric[]) AS wanted (limit_id, unit_interval)
            CROSS JOIN LATERAL (
                SELECT state.tenant_id, state.limit_id, state.scope_value,
                    \(arrival(at: now, pace: "wanted.unit_interval")) AS arrival
                FROM rate_state AS state
                WHERE state.limit_id = wanted.limit_id AND state.arrival > \(FixedDecimal(now.microseconds))
                ORDER BY arrival DESC, state.tenant_id, state.scope_value
                LIMIT \(limit)
            ) AS row
            ORDER BY row.limit_id, row.arrival DESC, row.tenant_id, row.scope_value
            """
    }
}
