import BillingCore
import Catalog
import Postgres

extension LimitStateStore {
    /// For each budget, so many rows of windows that contain the present, those with the most use first.
    static func fullest(of budgets: [Budget], limit: Int, at now: Instant) -> SQL {
        """
        SELECT row.*
        FROM unnest(
            \(budgets.map(\.id))::bigint[], \(budgets.map { $0.earliestWindowStart(at: now) })::timestamptz[]
        ) AS wanted (limit_id, earliest)
        CROSS JOIN LATERAL (
            \(current(of: "wanted.limit_id", since: "wanted.earliest", at: now))
            ORDER BY state.used DESC, state.tenant_id, state.scope_value, state.window_start
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
                (state.used < \(position.used) OR state.used = \(position.used)
                    AND (state.tenant_id, state.scope_value) > (\(position.tenant), \(position.scopeValue)))
                """
        }
        return """
            \(current(of: "\(budget.id)", since: "\(budget.earliestWindowStart(at: now))", at: now)) AND \(after)
            ORDER BY state.used DESC, state.tenant_id, state.scope_value, state.window_start
            LIMIT \(limit)
            """
    }

    /// Rows that count: not those beside them, which say how what is held divides among counters.
    private static func current(of limit: SQL, since earliest: SQL, at now: Instant) -> SQL {
        """
        SELECT \(returned)
        FROM limit_state AS state
        WHERE state.limit_id = \(limit) AND state.window_start BETWEEN \(earliest) AND \(now)
            AND state.window_end > \(now) AND state.scope_value NOT LIKE '#%'
        """
    }

    /// Puts a changed budget in force in its rows of present and coming windows, and returns them. What exceeds a
    /// lowered amount is overshoot, so that `used + held - overshoot <= limit_amount` goes on to hold (promise P3). Of
    /// the thresholds that have fired those are kept that are still met. Rows are locked in the order of `count`.
    static func follow(_ budget: Budget, amount: FixedDecimal, at now: Instant) -> SQL {
        """
        INSERT INTO limit_state AS state (
            tenant_id, limit_id, scope_value, window_start, window_end, used, held, overshoot, limit_amount,
            limit_revision
        )
        SELECT tenant_id, limit_id, scope_value, window_start, window_end, 0, 0, 0, \(amount), \(budget.revision)
        FROM limit_state
        WHERE limit_id = \(budget.id) AND window_start >= \(budget.earliestWindowStart(at: now))
            AND window_end > \(now) AND scope_value NOT LIKE '#%'
        ORDER BY tenant_id = 0, tenant_id, limit_id, scope_value, window_start
        ON CONFLICT ON CONSTRAINT limit_state_pk DO UPDATE
        SET limit_amount = excluded.limit_amount, limit_revision = excluded.limit_revision,
            overshoot = greatest(state.overshoot, state.used + state.held - excluded.limit_amount),
            thresholds_fired = ARRAY(
                SELECT threshold
                FROM unnest(state.thresholds_fired) AS threshold
                WHERE state.used * 100 >= excluded.limit_amount * threshold
                ORDER BY threshold
            )
        RETURNING \(returned)
        """
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
