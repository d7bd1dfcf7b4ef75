package import BillingCore
import Catalog
package import Postgres

/// What a transaction adds to one limit's window.
package struct LimitUsage: Sendable {
    package let tenant: TenantID
    package let limit: LimitID
    package let window: Interval
    /// Added to `used`; negative when usage is voided.
    package private(set) var amount: FixedDecimal
    /// The limit in force, copied into a window's new row.
    package let limitAmount: FixedDecimal
    package let limitRevision: Int64

    package init(
        tenant: TenantID,
        limit: LimitID,
        window: Interval,
        amount: FixedDecimal,
        limitAmount: FixedDecimal,
        limitRevision: Int64
    ) {
        self.tenant = tenant
        self.limit = limit
        self.window = window
        self.amount = amount
        self.limitAmount = limitAmount
        self.limitRevision = limitRevision
    }

    /// - Throws: `DecimalError.outOfRange` when the sum leaves the range of a quantity.
    package mutating func add(_ more: FixedDecimal) throws(DecimalError) {
        amount = try amount.adding(more)
    }
}

/// The state of one limit in one window.
package struct LimitState: Sendable, Hashable {
    package let limit: LimitID
    package let windowStart: Instant
    package let used: FixedDecimal
    package let held: FixedDecimal

    package init(limit: LimitID, windowStart: Instant, used: FixedDecimal, held: FixedDecimal) {
        self.limit = limit
        self.windowStart = windowStart
        self.used = used
        self.held = held
    }
}

/// All SQL over `limit_state`.
package enum LimitStateStore {
    /// Adds usage to the windows' rows, making the rows that do not exist yet. Rows are locked in key order, so
    /// two transactions cannot deadlock on them. Usage that no reservation held is overshoot (promise P3).
    package static func add(_ usage: [LimitUsage]) -> SQL {
        """
        \(rows(of: usage))
        ON CONFLICT ON CONSTRAINT limit_state_pk DO UPDATE
        SET used = state.used + excluded.used, overshoot = state.overshoot + excluded.used,
            limit_amount = excluded.limit_amount, limit_revision = excluded.limit_revision
        """
    }

    /// Sets what the windows' rows have used, whatever it was.
    package static func replace(_ usage: [LimitUsage]) -> SQL {
        """
        \(rows(of: usage))
        ON CONFLICT ON CONSTRAINT limit_state_pk DO UPDATE
        SET used = excluded.used, overshoot = state.overshoot + excluded.used - state.used,
            limit_amount = excluded.limit_amount, limit_revision = excluded.limit_revision
        """
    }

    private static func rows(of usage: [LimitUsage]) -> SQL {
        """
        INSERT INTO limit_state AS state (
            tenant_id, limit_id, scope_value, window_start, window_end, used, held, overshoot, limit_amount,
            limit_revision
        )
        SELECT tenant_id, limit_id, '', window_start, window_end, amount, 0, amount, limit_amount, limit_revision
        FROM unnest(
            \(usage.map(\.tenant))::bigint[], \(usage.map(\.limit))::bigint[],
            \(usage.map(\.window.start))::timestamptz[], \(usage.map(\.window.end))::timestamptz[],
            \(usage.map(\.amount))::numeric[], \(usage.map(\.limitAmount))::numeric[],
            \(usage.map(\.limitRevision))::bigint[]
        ) AS added (tenant_id, limit_id, window_start, window_end, amount, limit_amount, limit_revision)
        ORDER BY tenant_id, limit_id, window_start
        """
    }

    /// The states of the given windows; a window without a row has used nothing.
    package static func states(tenant: TenantID, limits: [LimitID], windowStarts: [Instant]) -> SQL {
        """
        SELECT state.limit_id, state.window_start, state.used, state.held
        FROM unnest(\(limits)::bigint[], \(windowStarts)::timestamptz[])
            AS wanted (limit_id, window_start)
        JOIN limit_state AS state
            ON state.tenant_id = \(tenant)
            AND state.limit_id = wanted.limit_id
            AND state.scope_value = ''
            AND state.window_start = wanted.window_start
        ORDER BY state.limit_id, state.window_start
        """
    }

    /// Every window of a tenant's limits, for `verify`.
    package static func allStates(tenant: TenantID) -> SQL {
        """
        SELECT limit_id, window_start, used, held
        FROM limit_state
        WHERE tenant_id = \(tenant) AND scope_value = ''
        ORDER BY limit_id, window_start
        """
    }

    @Sendable
    package static func decode(_ row: inout PostgresRow) throws(PostgresError) -> LimitState {
        LimitState(
            limit: try row.next(),
            windowStart: try row.next(),
            used: try row.next(),
            held: try row.next()
        )
    }
}
