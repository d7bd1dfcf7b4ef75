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

    package init(of row: LimitRow) {
        tenant = row.tenant
        limit = row.limit
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
    let tenants: [TenantID]
    let limits: [LimitID]
    let scopeValues: [String]
    let windowStarts: [Instant]

    init(_ rows: some Sequence<LimitRow>) {
        tenants = rows.map(\.tenant)
        limits = rows.map(\.limit)
        scopeValues = rows.map(\.scopeValue)
        windowStarts = rows.map(\.windowStart)
    }
}
