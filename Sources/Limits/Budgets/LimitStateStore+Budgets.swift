package import BillingCore
import Catalog
import Postgres

/// A row of `limit_state` that a budget counts in.
package struct BudgetState: Sendable, Hashable {
    package let tenant: TenantID
    package let limit: LimitID
    /// See `BudgetScope.scopeValue`.
    package let scopeValue: String
    package let window: Interval
    package let used: FixedDecimal
    package let held: FixedDecimal
}

extension LimitStateStore {
    /// The rows that windows of budgets without an "each" in their scope have; a window without a row has used nothing.
    static func windows(_ wanted: [(budget: Budget, window: Interval)]) -> SQL {
        """
        SELECT state.tenant_id, state.limit_id, state.scope_value, state.window_start, state.window_end, state.used,
            state.held
        FROM unnest(
            \(wanted.map(\.budget.tenantID))::bigint[], \(wanted.map(\.budget.id))::bigint[],
            \(wanted.map(\.window.start))::timestamptz[]
        ) AS wanted (tenant_id, limit_id, window_start)
        JOIN limit_state AS state
            ON state.tenant_id = wanted.tenant_id
            AND state.limit_id = wanted.limit_id
            AND state.scope_value = ''
            AND state.window_start = wanted.window_start
        ORDER BY state.tenant_id, state.limit_id
        """
    }

    /// For each budget, so many rows of windows that contain the present, those with the most use first.
    static func fullest(of budgets: [Budget], limit: Int, at now: Instant) -> SQL {
        """
        SELECT row.tenant_id, row.limit_id, row.scope_value, row.window_start, row.window_end, row.used, row.held
        FROM unnest(
            \(budgets.map(\.id))::bigint[], \(budgets.map { $0.earliestWindowStart(at: now) })::timestamptz[]
        ) AS wanted (limit_id, earliest)
        CROSS JOIN LATERAL (
            \(current(of: "wanted.limit_id", since: "wanted.earliest", at: now))
            ORDER BY used DESC, tenant_id, scope_value, window_start
            LIMIT \(limit)
        ) AS row
        ORDER BY row.limit_id, row.used DESC, row.tenant_id, row.scope_value
        """
    }

    /// The place of a row in the order of `fullest`.
    struct Position: Sendable {
        let used: FixedDecimal
        let tenant: TenantID
        let scopeValue: String
    }

    /// The same of one budget, page by page.
    static func fullest(of budget: Budget, after position: Position?, limit: Int, at now: Instant) -> SQL {
        var after: SQL = "true"
        if let position {
            after = """
                (used < \(position.used) OR used = \(position.used)
                    AND (tenant_id, scope_value) > (\(position.tenant), \(position.scopeValue)))
                """
        }
        return """
            \(current(of: "\(budget.id)", since: "\(budget.earliestWindowStart(at: now))", at: now)) AND \(after)
            ORDER BY used DESC, tenant_id, scope_value, window_start
            LIMIT \(limit)
            """
    }

    private static func current(of limit: SQL, since earliest: SQL, at now: Instant) -> SQL {
        """
        SELECT tenant_id, limit_id, scope_value, window_start, window_end, used, held
        FROM limit_state
        WHERE limit_id = \(limit) AND window_start BETWEEN \(earliest) AND \(now) AND window_end > \(now)
        """
    }

    /// Copies a changed budget's amount and revision into its rows of present and coming windows, and returns them.
    /// What exceeds a lowered amount is overshoot, so that `used + held - overshoot <= limit_amount` goes on to hold
    /// (promise P3). Rows are locked in key order, as counting does.
    static func follow(_ budget: Budget, amount: FixedDecimal, at now: Instant) -> SQL {
        """
        INSERT INTO limit_state AS state (
            tenant_id, limit_id, scope_value, window_start, window_end, used, held, overshoot, limit_amount,
            limit_revision
        )
        SELECT tenant_id, limit_id, scope_value, window_start, window_end, 0, 0, 0, \(amount), \(budget.revision)
        FROM limit_state
        WHERE limit_id = \(budget.id) AND window_start >= \(budget.earliestWindowStart(at: now))
            AND window_end > \(now)
        ORDER BY tenant_id, limit_id, scope_value, window_start
        ON CONFLICT ON CONSTRAINT limit_state_pk DO UPDATE
        SET limit_amount = excluded.limit_amount, limit_revision = excluded.limit_revision,
            overshoot = greatest(state.overshoot, state.used + state.held - excluded.limit_amount)
        RETURNING tenant_id, limit_id, scope_value, window_start, window_end, used, held
        """
    }

    /// Decodes a row of these statements.
    @Sendable
    static func budgetState(_ row: inout PostgresRow) throws(PostgresError) -> BudgetState {
        BudgetState(
            tenant: try row.next(),
            limit: try row.next(),
            scopeValue: try row.next(),
            window: Interval(start: try row.next(), end: try row.next()),
            used: try row.next(),
            held: try row.next()
        )
    }
}

extension Budget {
    /// No window that contains the present starts earlier: it lets the index find the rows of such windows.
    fileprivate func earliestWindowStart(at now: Instant) -> Instant {
        let longestSeconds: Int64? =
            switch window?.kind {
            case .minute: 60
            case .hour: 3_600
            // Clocks that are set back make a day longer, by an hour or two as a rule.
            case .day: 2 * 86_400
            case .week: 9 * 86_400
            case .month, .billingPeriod: 33 * 86_400
            case .lifetime, nil: nil
            }
        return longestSeconds.map { now.adding(seconds: -$0) } ?? .minimum
    }
}
