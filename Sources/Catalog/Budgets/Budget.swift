package import BillingCore

/// What a limit counts.
package enum LimitMeasure: String, Sendable, Hashable, CaseIterable {
    /// Units of the feature that the scope names.
    case units
    /// What the tenants are charged for usage: unrounded, before discounts, commitment, credits and tax.
    case charge
    /// What providers bill the operator.
    case cost
    /// Usage events, each one a request.
    case requests
    /// Input and output tokens together; for rates only.
    case tokens

    package var isMoney: Bool { self == .charge || self == .cost }
}

extension LimitBalance {
    /// As admission goes by it. What was charged falls below zero where usage of others, or of before a budget, is
    /// voided: that is no allowance.
    package func allowing(_ measure: LimitMeasure) -> LimitBalance {
        var balance = self
        if measure == .charge { balance.used = max(.zero, used) }
        return balance
    }
}

/// What admission answers for a limit while the database is away: nothing may pass, or everything.
package enum FailurePolicy: String, Sendable, Hashable, CaseIterable {
    case closed, open

    /// What holds of a limit that says nothing of it.
    package init(of mode: LimitMode) { self = mode == .hard ? .closed : .open }
}

/// Who made a budget, and so may change it.
package enum BudgetManager: String, Sendable, Hashable, CaseIterable {
    /// An operator; tenants only read it.
    case `operator`
    case tenant
}

/// A bound on a measure within a scope: what people call a cap, a budget or a rate limit. Beside it stands the quota of
/// a plan (`UsageLimit`); both count in `limit_state` under ids of one sequence.
package struct Budget: Sendable, Hashable {
    package let id: LimitID
    /// The tenant that the scope names exactly, otherwise the operator's. Rows of `limit_state` belong to it too,
    /// except those of a scope of every tenant (`"*"`), which belong to each tenant.
    package let tenantID: TenantID
    /// Unique within `tenantID`.
    package let key: String
    package let scope: BudgetScope
    package let measure: LimitMeasure
    package var bound: BudgetBound
    /// Percentages of the amount at which alerts are due, ascending; none for a rate.
    package var thresholds: [Percent]
    /// Whether an alert is due when the use projected to the window's end reaches the amount.
    package var alertsOnForecast: Bool
    package var failurePolicy: FailurePolicy
    /// What a token of a call is held at whose price is unknown, in the budget's currency; nil denies such calls.
    package var fallbackUnitAmount: FixedDecimal?
    package let managedBy: BudgetManager
    /// The one in whose place it stands, see `BudgetScope.overrides`; that one counts on.
    package let overridden: OverriddenBudget?
    package let createdAt: Instant
    package var updatedAt: Instant
    /// Set when it was archived: from then on it neither counts nor denies.
    package var archivedAt: Instant?
    /// Rises with every change.
    package var revision: Int64

    package init(
        id: LimitID,
        tenantID: TenantID,
        key: String,
        scope: BudgetScope,
        measure: LimitMeasure,
        bound: BudgetBound,
        thresholds: [Percent] = [],
        alertsOnForecast: Bool = false,
        failurePolicy: FailurePolicy = .closed,
        fallbackUnitAmount: FixedDecimal? = nil,
        managedBy: BudgetManager = .operator,
        overridden: OverriddenBudget? = nil,
        createdAt: Instant,
        updatedAt: Instant,
        archivedAt: Instant? = nil,
        revision: Int64 = 1
    ) {
        self.id = id
        self.tenantID = tenantID
        self.key = key
        self.scope = scope
        self.measure = measure
        self.bound = bound
        self.thresholds = thresholds
        self.alertsOnForecast = alertsOnForecast
        self.failurePolicy = failurePolicy
        self.fallbackUnitAmount = fallbackUnitAmount
        self.managedBy = managedBy
        self.overridden = overridden
        self.createdAt = createdAt
        self.updatedAt = updatedAt
        self.archivedAt = archivedAt
        self.revision = revision
    }

    package var isActive: Bool { archivedAt == nil }

    /// Usage from this time on counts.
    package var countedFrom: Instant { createdAt }

    /// The bound over windows; nil for a rate.
    package var window: BudgetWindow? {
        guard case .window(let window) = bound else { return nil }
        return window
    }

    /// The bound on a rate; nil for one over windows.
    package var rate: RateLimit? {
        guard case .rate(let rate) = bound else { return nil }
        return rate
    }
}

/// A budget that another one of the same tenant's, or the operator's, stands in place of.
package struct OverriddenBudget: Sendable, Hashable {
    package let id: LimitID
    package let key: String

    package init(id: LimitID, key: String) {
        self.id = id
        self.key = key
    }
}

/// How much a budget allows.
package enum BudgetBound: Sendable, Hashable {
    /// An amount in each window.
    case window(BudgetWindow)
    /// So much in a period at any time.
    case rate(RateLimit)
}

/// At most `amount` in each window of a kind.
package struct BudgetWindow: Sendable, Hashable {
    package var amount: FixedDecimal
    /// Days, weeks and months are those of the tenant's zone; of a scope without a tenant, of the operator's.
    package let kind: WindowKind
    package var mode: LimitMode
    /// Of an amount of money; nil for units and requests.
    package let currency: Currency?

    package init(amount: FixedDecimal, kind: WindowKind, mode: LimitMode, currency: Currency? = nil) {
        self.amount = amount
        self.kind = kind
        self.mode = mode
        self.currency = currency
    }
}

/// The period of a rate.
package enum RatePeriod: String, Sendable, Hashable, CaseIterable {
    case second, minute, hour, day

    package var microseconds: Int64 {
        switch self {
        case .second: 1_000_000
        case .minute: 60_000_000
        case .hour: 3_600_000_000
        case .day: 86_400_000_000
        }
    }
}

/// At most `limit` in a period, spread evenly but for bursts.
package struct RateLimit: Sendable, Hashable {
    package var limit: Int64
    package let period: RatePeriod
    /// How much may come at once after a pause.
    package var burst: Int64
    /// The share of the burst that callers of criticality `sheddable` may use, in percent: they are refused first.
    package var sheddablePercent: Int32
    /// The same for callers of criticality `default`. Those of criticality `critical` may use all of it.
    package var defaultPercent: Int32

    package static let sheddablePercent: Int32 = 80
    package static let defaultPercent: Int32 = 95

    package init(
        limit: Int64,
        period: RatePeriod,
        burst: Int64,
        sheddablePercent: Int32 = Self.sheddablePercent,
        defaultPercent: Int32 = Self.defaultPercent
    ) {
        self.limit = limit
        self.period = period
        self.burst = burst
        self.sheddablePercent = sheddablePercent
        self.defaultPercent = defaultPercent
    }

    /// The bound that a use is decided by.
    package var cells: GenericCellRate {
        GenericCellRate(limit: limit, periodMicroseconds: period.microseconds, burst: burst)
    }
}
