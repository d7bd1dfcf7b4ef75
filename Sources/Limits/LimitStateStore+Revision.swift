package import BillingCore
import Catalog
import Postgres

extension LimitStateStore {
    /// Puts changed limits in force in their rows of present and coming windows, and returns them. What exceeds a
    /// lowered amount is overshoot, so that `used + held - overshoot <= limit_amount` goes on to hold (promise P3). Of
    /// the thresholds that have fired those are kept that are still met. Rows are locked in the order of `count`.
    /// - Parameters:
    ///   - tenant: whose rows; nil for those of all tenants and the operator.
    ///   - periodStart: where the tenant's billing period begins: one of before, of a subscription that was ended, is
    ///     no present window, whenever it should have ended.
    static func follow(
        _ limits: [Limit],
        of tenant: TenantID?,
        periodStart: Instant = .minimum,
        at now: Instant
    ) -> SQL {
        let bounds = limits.compactMap { limit -> (limit: Limit, amount: FixedDecimal, kind: WindowKind)? in
            guard case .window(let amount, let kind, _, _) = limit.bound else { return nil }
            return (limit, amount, kind)
        }
        return """
            INSERT INTO limit_state AS state (
                tenant_id, limit_id, scope_value, window_start, window_end, used, held, overshoot, limit_amount,
                limit_revision
            )
            SELECT row.tenant_id, row.limit_id, row.scope_value, row.window_start, row.window_end, 0, 0, 0,
                changed.amount, changed.revision
            FROM unnest(
                \(bounds.map(\.limit.id))::bigint[], \(bounds.map(\.amount))::numeric[],
                \(bounds.map(\.limit.revision))::bigint[],
                \(bounds.map { $0.kind == .billingPeriod ? periodStart : $0.kind.earliestStart(ofWindowAt: now) })
                    ::timestamptz[]
            ) AS changed (limit_id, amount, revision, earliest)
            JOIN limit_state AS row
                ON row.limit_id = changed.limit_id AND row.window_start >= changed.earliest
                AND row.window_end > \(now) AND row.scope_value NOT LIKE '#%'
                AND (\(tenant)::bigint IS NULL OR row.tenant_id = \(tenant)::bigint)
            ORDER BY row.tenant_id = 0, row.tenant_id, row.limit_id, row.scope_value, row.window_start
            ON CONFLICT ON CONSTRAINT limit_state_pk DO UPDATE
            SET limit_amount = excluded.limit_amount, limit_revision = excluded.limit_revision,
                overshoot = greatest(
                    state.overshoot, least(\(greatest), state.used + state.held - excluded.limit_amount)
                ),
                thresholds_fired = \(stillMet)
            RETURNING \(returned)
            """
    }
}

extension WindowKind {
    /// No window that contains the present starts earlier: it lets the index find the rows of such windows.
    package func earliestStart(ofWindowAt now: Instant) -> Instant {
        let longestSeconds: Int64? =
            switch self {
            case .minute: 60
            case .hour: 3_600
            // Clocks that are set back make a day longer, by an hour or two as a rule.
            case .day: 2 * 86_400
            case .week: 9 * 86_400
            case .month: 33 * 86_400
            // A trial is one, however long.
            case .billingPeriod, .lifetime: nil
            }
        return longestSeconds.map { now.adding(seconds: -$0) } ?? .minimum
    }
}
