package import BillingCore
import Catalog
import Postgres

extension LimitStateStore {
    /// Puts a tenant's changed limits in force in their rows of present and coming windows, and returns them. What
    /// exceeds a changed amount is overshoot, so that `used + held - overshoot <= limit_amount` goes on to hold. Of
    /// the thresholds that have fired those are kept that are still met. Rows are locked in the order of `count`.
    /// - Parameter periodStart: where the tenant's billing period begins: one of before, of a subscription that was
    ///   ended, is no present window, whenever it should have ended.
    static func follow(_ limits: [Limit], of tenant: TenantID, periodStart: Instant, at now: Instant) -> SQL {
        follow(limits, periodStart: periodStart, where: "row.tenant_id = \(tenant)", at: now)
    }

    /// The same of a budget, for some of its rows, whosesoever they are.
    static func follow(_ budget: Limit, _ piece: LimitRowPiece, at now: Instant) -> SQL {
        let isInPiece = piece.condition("row.window_start, row.tenant_id, row.scope_value", place)
        guard budget.windowKind == .billingPeriod else { return follow([budget], where: isInPiece, at: now) }
        let isPresent = BillingPeriodStore.isOfPresentSubscription(
            tenant: "row.tenant_id",
            start: "row.window_start",
            at: now
        )
        return follow([budget], where: "\(isInPiece) AND \(isPresent)", at: now)
    }

    private static func follow(
        _ limits: [Limit],
        periodStart: Instant = .minimum,
        where isWanted: SQL,
        at now: Instant
    ) -> SQL {
        """
        INSERT INTO limit_state AS state (
            tenant_id, limit_id, scope_value, window_start, window_end, used, held, overshoot, limit_amount,
            limit_revision
        )
        SELECT row.tenant_id, row.limit_id, row.scope_value, row.window_start, row.window_end, 0, 0, 0,
            changed.amount, changed.revision
        \(following(limits, periodStart: periodStart, where: isWanted, at: now))
        ON CONFLICT ON CONSTRAINT limit_state_pk DO UPDATE
        SET limit_amount = excluded.limit_amount, limit_revision = excluded.limit_revision,
            overshoot = CASE WHEN excluded.limit_revision > state.limit_revision
                THEN greatest(state.overshoot, least(\(greatest), state.used + state.held - excluded.limit_amount))
                ELSE state.overshoot END,
            thresholds_fired = \(stillFired)
        RETURNING \(returned)
        """
    }

    /// Locks the rows that `follow` of a tenant's limits writes, for a transaction that writes some of them before.
    static func lockFollowing(_ limits: [Limit], of tenant: TenantID, periodStart: Instant, at now: Instant) -> SQL {
        """
        SELECT
        \(following(limits, periodStart: periodStart, where: "row.tenant_id = \(tenant)", at: now))
        FOR NO KEY UPDATE OF row
        """
    }

    /// The rows `row` of limits in present and coming windows, and what is `changed` of each.
    private static func following(
        _ limits: [Limit],
        periodStart: Instant,
        where isWanted: SQL,
        at now: Instant
    ) -> SQL {
        let bounds = limits.compactMap { limit -> (limit: Limit, amount: FixedDecimal, kind: WindowKind)? in
            guard case .window(let amount, let kind, _, _) = limit.bound else { return nil }
            return (limit, amount, kind)
        }
        return """
            FROM unnest(
                \(bounds.map(\.limit.id))::bigint[], \(bounds.map(\.amount))::numeric[],
                \(bounds.map(\.limit.revision))::bigint[],
                \(bounds.map { $0.kind == .billingPeriod ? periodStart : $0.kind.earliestStart(ofWindowAt: now) })
                    ::timestamptz[]
            ) AS changed (limit_id, amount, revision, earliest)
            JOIN limit_state AS row
                ON row.limit_id = changed.limit_id AND row.window_start >= changed.earliest
                AND row.window_end > \(now) AND \(LimitRowColumns.isNoPart("row")) AND \(isWanted)
            ORDER BY \(LimitRowColumns.lockOrder(of: "row"))
            """
    }

    /// The last of the next so many rows of a budget, the newest windows first; none where fewer are left. Rows of
    /// windows that are over count as well: where nothing says how early a present one can start there may be many.
    static func lastOfNext(
        _ count: Int,
        of budget: LimitID,
        _ kind: WindowKind,
        after row: LimitRow?,
        at now: Instant
    ) -> SQL {
        """
        SELECT tenant_id, limit_id, scope_value, window_start
        FROM limit_state
        WHERE limit_id = \(budget) AND window_start >= \(kind.earliestStart(ofWindowAt: now))
            AND \(LimitRowPiece(after: row).condition("window_start, tenant_id, scope_value", place))
        ORDER BY limit_id DESC, window_start DESC, tenant_id DESC, scope_value DESC
        OFFSET \(count - 1)
        LIMIT 1
        """
    }

    private static func place(of row: LimitRow) -> SQL { "\(row.windowStart), \(row.tenant), \(row.scopeValue)" }
}

extension RateStateStore {
    /// Puts another pace in force in some of the rows that are there. One that is made meanwhile, or is used by calls
    /// that are still decided at the pace of before, follows when it is used next.
    static func follow(_ budget: LimitID, interval: FixedDecimal, _ piece: LimitRowPiece, at now: Instant) -> SQL {
        """
        INSERT INTO rate_state AS state (tenant_id, limit_id, scope_value, arrival, unit_interval)
        SELECT tenant_id, limit_id, scope_value, arrival, \(interval)::numeric
        FROM rate_state
        WHERE limit_id = \(budget) AND \(piece.condition("tenant_id, scope_value", place))
        ORDER BY \(LimitRowColumns.rateLockOrder(of: "rate_state"))
        ON CONFLICT ON CONSTRAINT rate_state_pk DO UPDATE
        SET arrival = \(arrival(at: now, pace: "excluded.unit_interval")), unit_interval = excluded.unit_interval
        """
    }

    /// The last of the next so many rows of a rate; none where fewer are left.
    static func lastOfNext(_ count: Int, of budget: LimitID, after row: LimitRow?) -> SQL {
        """
        SELECT tenant_id, limit_id, scope_value, \(Interval.allTime.start)::timestamptz
        FROM rate_state
        WHERE limit_id = \(budget) AND \(LimitRowPiece(after: row).condition("tenant_id, scope_value", place))
        ORDER BY limit_id DESC, tenant_id DESC, scope_value DESC
        OFFSET \(count - 1)
        LIMIT 1
        """
    }

    private static func place(of row: LimitRow) -> SQL { "\(row.tenant), \(row.scopeValue)" }
}

/// Some of a limit's rows that follow one another backwards in the order in which an index has them.
struct LimitRowPiece: Sendable {
    /// Nil where it begins with the first row.
    var after: LimitRow?
    /// Nil where it goes to the last row.
    var through: LimitRow?

    /// - Parameters:
    ///   - columns: those of the order.
    ///   - place: the values of a row in them.
    fileprivate func condition(_ columns: SQL, _ place: (LimitRow) -> SQL) -> SQL {
        var bounds: [SQL] = ["true"]
        if let after { bounds.append("(\(columns)) < (\(place(after)))") }
        if let through { bounds.append("(\(columns)) >= (\(place(through)))") }
        return .joined(bounds, separator: " AND ")
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
