package import BillingCore
import Catalog
package import Postgres

extension LimitStateStore {
    /// For each budget, so many rows of windows that contain the present, the fullest first: those with the most used
    /// and held.
    /// - Parameter budgets: each with `earliestWindowStart`.
    static func fullest(of budgets: [(budget: Budget, earliest: Instant)], limit: Int, at now: Instant) -> SQL {
        """
        SELECT row.*
        FROM unnest(
            \(budgets.map(\.budget.id))::bigint[], \(budgets.map(\.earliest))::timestamptz[]
        ) AS wanted (limit_id, earliest)
        CROSS JOIN LATERAL (
            \(current(of: "wanted.limit_id", since: "wanted.earliest", at: now))
            ORDER BY state.used + state.held DESC, state.tenant_id, state.scope_value, state.window_start
            LIMIT \(limit)
        ) AS row
        ORDER BY row.limit_id, row.used + row.held DESC, row.tenant_id, row.scope_value
        """
    }

    /// The place of a row in the order of `fullest`.
    struct Position: Sendable {
        /// What is used and held.
        let taken: FixedDecimal
        let tenant: TenantID
        let scopeValue: String
        let windowStart: Instant

        init(of state: LimitState) {
            self.init(
                taken: state.taken,
                tenant: state.row.tenant,
                scopeValue: state.row.scopeValue,
                windowStart: state.row.windowStart
            )
        }

        init(taken: FixedDecimal, tenant: TenantID, scopeValue: String, windowStart: Instant) {
            self.taken = taken
            self.tenant = tenant
            self.scopeValue = scopeValue
            self.windowStart = windowStart
        }
    }

    /// The same of one budget, page by page.
    static func fullest(
        of budget: Budget,
        since earliest: Instant,
        after position: Position?,
        limit: Int,
        at now: Instant
    ) -> SQL {
        var after: SQL = "true"
        if let position {
            after = """
                (state.used + state.held < \(position.taken) OR state.used + state.held = \(position.taken)
                    AND (state.tenant_id, state.scope_value, state.window_start)
                        > (\(position.tenant), \(position.scopeValue), \(position.windowStart)))
                """
        }
        return """
            \(current(of: "\(budget.id)", since: "\(earliest)", at: now)) AND \(after)
            ORDER BY state.used + state.held DESC, state.tenant_id, state.scope_value, state.window_start
            LIMIT \(limit)
            """
    }

    /// Every window of budgets in force that a tenant (of no tenant: 0) has rows of, for `verify`.
    package static func budgetStates(tenant: TenantID) -> SQL {
        """
        SELECT \(returned)
        FROM budget
        JOIN limit_state AS state ON state.limit_id = budget.limit_id AND state.tenant_id = \(tenant)
        WHERE budget.tenant_id IN (0, \(tenant)) AND budget.archived_at IS NULL AND \(LimitRowColumns.isNoPart("state"))
        ORDER BY state.limit_id, state.window_start, state.scope_value
        """
    }

    /// Rows that count: not those beside them, which say how what is held divides among counters.
    private static func current(of limit: SQL, since earliest: SQL, at now: Instant) -> SQL {
        """
        SELECT \(returned)
        FROM limit_state AS state
        WHERE state.limit_id = \(limit) AND state.window_start BETWEEN \(earliest) AND \(now)
            AND state.window_end > \(now) AND \(LimitRowColumns.isNoPart("state"))
        """
    }
}

extension LimitState {
    /// What is used and held. Rows of limits over all tenants can be at the end of the range.
    var taken: FixedDecimal { (try? balance.used.adding(balance.held)) ?? .greatest }
}

extension Budget {
    /// No window that contains the present starts earlier: it lets the index find the rows of such windows. A budget
    /// that is not one for each tenant has a single one at a time.
    /// - Parameters:
    ///   - tenant: whose budget it is; nil where it is the operator's.
    ///   - operatorZone: where the days of a scope without a tenant begin.
    func earliestWindowStart(at now: Instant, of tenant: TenantSnapshot?, operatorZone: Zone) -> Instant {
        guard let window else { return .minimum }
        guard scope.tenant != .each else { return window.kind.earliestStart(ofWindowAt: now) }
        return window.interval(containing: now, of: tenant, operatorZone: operatorZone)?.start ?? now
    }
}
