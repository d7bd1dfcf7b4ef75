package import BillingCore
import Postgres

/// Names one row of `limit_state`: one window of a limit, for one of the values that it tells apart.
package struct LimitRow: Sendable, Hashable {
    /// Whose row it is; `TenantID.operatorWide` for a limit over all tenants.
    package let tenant: TenantID
    package let limit: LimitID
    /// Empty for a limit that tells no values apart.
    package let scopeValue: String
    package let windowStart: Instant

    package init(tenant: TenantID, limit: LimitID, scopeValue: String = "", windowStart: Instant) {
        self.tenant = tenant
        self.limit = limit
        self.scopeValue = scopeValue
        self.windowStart = windowStart
    }

    /// As the database compares them: texts that look the same and are written otherwise are two.
    package static func == (left: Self, right: Self) -> Bool {
        left.limit == right.limit && left.windowStart == right.windowStart && left.tenant == right.tenant
            && left.scopeValue.hasSameBytes(as: right.scopeValue)
    }

    /// A limit's rows mostly differ by their windows: these spread as well as all four.
    package func hash(into hasher: inout Hasher) {
        hasher.combine(limit)
        hasher.combine(windowStart)
        if !scopeValue.isEmpty { hasher.combine(scopeValue) }
        hasher.combine(tenant)
    }

    /// Reads tenant, limit, value and start of the window.
    @Sendable
    static func decode(_ row: inout PostgresRow) throws(PostgresError) -> LimitRow {
        LimitRow(tenant: try row.next(), limit: try row.next(), scopeValue: try row.next(), windowStart: try row.next())
    }
}

/// Names all rows of a limit that belong to one tenant, or to the operator.
package struct TenantLimit: Sendable, Hashable {
    let tenant: TenantID
    let limit: LimitID

    package init(tenant: TenantID, limit: LimitID) {
        self.tenant = tenant
        self.limit = limit
    }

    package init(of row: LimitRow) {
        self.init(tenant: row.tenant, limit: row.limit)
    }
}

/// The state of one row.
package struct LimitState: Sendable, Hashable {
    package let row: LimitRow
    package let windowEnd: Instant
    package var balance: LimitBalance
    /// Which definition of the limit the amount is of.
    package let revision: Int64
    /// Percentages whose alert was raised, or need not be, under that revision.
    package let firedThresholds: [FixedDecimal]

    package init(
        row: LimitRow,
        windowEnd: Instant,
        balance: LimitBalance,
        revision: Int64,
        firedThresholds: [FixedDecimal] = []
    ) {
        self.row = row
        self.windowEnd = windowEnd
        self.balance = balance
        self.revision = revision
        self.firedThresholds = firedThresholds
    }
}

/// Columns of rows, as statements take them.
struct LimitRowColumns {
    /// In which rows of limits are locked, by whatever locks several: those of each tenant before those that all share.
    static func lockOrder(of row: SQL) -> SQL { "\(rateLockOrder(of: row)), \(row).window_start" }

    /// The same of rates.
    static func rateLockOrder(of row: SQL) -> SQL {
        "\(row).tenant_id = \(TenantID.operatorWide), \(row).tenant_id, \(row).limit_id, \(row).scope_value"
    }

    /// That a row says how what a limit on charges holds divides, beside the limit's own row, see `ChargeHolds`.
    static func isPart(_ row: SQL) -> SQL { "\(row).scope_value LIKE '#%'" }

    static func isNoPart(_ row: SQL) -> SQL { "NOT \(isPart(row))" }

    let tenants: [TenantID]
    let limits: [LimitID]
    let scopeValues: [String]
    let windowStarts: [Instant]

    /// `tenant_id`, `limit_id`, `scope_value` and `window_start`, for `unnest`.
    var key: SQL { "\(rateKey), \(windowStarts)::timestamptz[]" }
    /// The first three.
    var rateKey: SQL { "\(tenants)::bigint[], \(limits)::bigint[], \(scopeValues)::text[]" }

    /// That the row `state` is the one that another relation names.
    static func isRow(of other: SQL) -> SQL { "\(isRate(of: other)) AND state.window_start = \(other).window_start" }

    static func isRate(of other: SQL) -> SQL {
        """
        state.tenant_id = \(other).tenant_id AND state.limit_id = \(other).limit_id
            AND state.scope_value = \(other).scope_value
        """
    }

    init(_ rows: some Sequence<LimitRow>) {
        tenants = rows.map(\.tenant)
        limits = rows.map(\.limit)
        scopeValues = rows.map(\.scopeValue)
        windowStarts = rows.map(\.windowStart)
    }
}
