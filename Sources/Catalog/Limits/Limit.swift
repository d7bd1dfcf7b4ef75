package import BillingCore

/// A limit as the hot paths read it: a quota of a plan, the spend cap of one, or a budget. One shared instance.
package final class Limit: Sendable {
    /// What people know it by.
    package enum Origin: Sendable, Hashable {
        case quota(FeatureID)
        case spendCap
        case budget(String)
    }

    package enum Bound: Sendable, Hashable {
        /// An amount in each window. `denies`: whether admission refuses what would exceed it.
        case window(amount: FixedDecimal, WindowKind, mode: LimitMode, denies: Bool)
        case rate(GenericCellRate, shares: CriticalityShares)
    }

    package let id: LimitID
    package let origin: Origin
    private let scopeReference: ScopeReference
    package let measure: LimitMeasure
    package let bound: Bound
    /// Of a money measure.
    package let currency: Currency?
    /// At which percentages of the amount alerts are due, ascending.
    package let thresholds: [Percent]
    package let alertsOnForecast: Bool
    package let failurePolicy: FailurePolicy
    package let fallbackUnitAmount: FixedDecimal?
    /// Rises with every change of the definition.
    package let revision: Int64
    /// One that is not active counts on, so that its windows are true when it comes into force again.
    package let isActive: Bool
    /// Usage from this time on counts; nil before any does.
    package let countedFrom: Instant?
    /// Plans are the operator's.
    package let managedBy: BudgetManager
    /// The limit in whose place it stands, within its scope.
    package let overrides: LimitID?

    package static let defaultThresholds = [50, 80, 100].compactMap { Percent(FixedDecimal($0)) }

    package init(_ quota: UsageLimit) {
        id = quota.id
        origin = .quota(quota.featureID)
        scopeReference = .everyUseOfATenant
        measure = .units
        bound = .window(
            amount: quota.amount,
            quota.window,
            mode: quota.mode,
            denies: quota.mode == .hard && quota.overage == .denied
        )
        currency = nil
        thresholds = Self.defaultThresholds
        alertsOnForecast = false
        failurePolicy = quota.mode == .hard && quota.overage == .denied ? .closed : .open
        fallbackUnitAmount = nil
        revision = quota.revision
        isActive = quota.isActive
        countedFrom = quota.countedFrom
        managedBy = .operator
        overrides = nil
    }

    /// - Parameter currency: the tenant's.
    package init(_ cap: SpendCapInForce, currency: Currency) {
        id = cap.id
        origin = .spendCap
        scopeReference = .everyUseOfATenant
        measure = .charge
        bound = .window(amount: cap.amount, .month, mode: cap.mode, denies: cap.mode == .hard)
        self.currency = currency
        thresholds = Self.defaultThresholds
        alertsOnForecast = false
        failurePolicy = FailurePolicy(of: cap.mode)
        fallbackUnitAmount = nil
        revision = cap.revision
        isActive = cap.isActive
        countedFrom = cap.countedFrom
        managedBy = .operator
        overrides = nil
    }

    package init(_ budget: Budget) {
        id = budget.id
        origin = .budget(budget.key)
        scopeReference = ScopeReference(budget.scope)
        measure = budget.measure
        switch budget.bound {
        case .window(let window):
            bound = .window(amount: window.amount, window.kind, mode: window.mode, denies: window.mode == .hard)
            currency = window.currency
        case .rate(let rate):
            bound = .rate(rate.cells, shares: CriticalityShares(rate))
            currency = nil
        }
        thresholds = budget.thresholds
        alertsOnForecast = budget.alertsOnForecast
        failurePolicy = budget.failurePolicy
        fallbackUnitAmount = budget.fallbackUnitAmount
        revision = budget.revision
        isActive = budget.isActive
        countedFrom = budget.countedFrom
        managedBy = budget.managedBy
        overrides = budget.overridden?.id
    }

    /// The same out of force: it counts, and neither denies nor alerts.
    package init(outOfForce limit: Limit) {
        id = limit.id
        origin = limit.origin
        scopeReference = limit.scopeReference
        measure = limit.measure
        bound = limit.bound
        currency = limit.currency
        thresholds = limit.thresholds
        alertsOnForecast = limit.alertsOnForecast
        failurePolicy = limit.failurePolicy
        fallbackUnitAmount = limit.fallbackUnitAmount
        revision = limit.revision
        isActive = false
        countedFrom = limit.countedFrom
        managedBy = limit.managedBy
        overrides = limit.overrides
    }

    package var scope: BudgetScope { scopeReference.scope }

    /// What a window allows; zero for a rate, which has none.
    package var amount: FixedDecimal {
        if case .window(let amount, _, _, _) = bound { amount } else { .zero }
    }

    /// In what windows it counts; nil for a rate.
    package var windowKind: WindowKind? {
        if case .window(_, let kind, _, _) = bound { kind } else { nil }
    }

    /// Whether its rows belong to the operator and not to the tenants that use it.
    package var isOperatorWide: Bool { scope.tenant == nil }

    /// Whether it bounds all that a tenant is charged, on one plan or on any: then what it holds follows the tiers of
    /// the tenant's prices.
    package var followsTiers: Bool {
        boundsAllCharges && scope.tenant != nil && scope.plan != .each
    }

    /// Whether it counts all that tenants are charged, and not for some of their usage.
    package var boundsAllCharges: Bool {
        guard measure == .charge, case .window = bound else { return false }
        return ScopeDimension.allCases.allSatisfy { $0 == .tenant || $0 == .plan || scope[$0] == nil }
    }

    package var isQuota: Bool {
        if case .quota = origin { true } else { false }
    }

    package var isBudget: Bool {
        if case .budget = origin { true } else { false }
    }

    /// Whether the tenant's plan tells how much counts in it, or in which window.
    package var followsPlan: Bool {
        measure == .charge || windowKind == .billingPeriod || scope.plan != nil
    }

    /// Whether admission refuses what would exceed it.
    package var denies: Bool {
        switch bound {
        case .window(_, _, _, let denies): denies
        case .rate: true
        }
    }

    package var mode: LimitMode {
        switch bound {
        case .window(_, _, let mode, _): mode
        case .rate: .hard
        }
    }
}

/// How important a call is. Where a limit gets short, the less important are refused first.
package enum Criticality: String, Sendable, Hashable, CaseIterable {
    case sheddable, `default`, critical
}

/// Which share of a rate's burst callers of each criticality may use.
package struct CriticalityShares: Sendable, Hashable {
    private let sheddable: Percent
    private let ordinary: Percent

    init(_ rate: RateLimit) {
        sheddable = Percent(FixedDecimal(Int64(rate.sheddablePercent))) ?? .hundred
        ordinary = Percent(FixedDecimal(Int64(rate.defaultPercent))) ?? .hundred
    }

    package subscript(criticality: Criticality) -> Percent {
        switch criticality {
        case .sheddable: sheddable
        case .default: ordinary
        case .critical: .hundred
        }
    }
}

/// A scope, which takes much room, where many limits have the same.
private final class ScopeReference: Sendable {
    let scope: BudgetScope

    init(_ scope: BudgetScope) {
        self.scope = scope
    }

    /// Of every tenant's own quotas and spend cap.
    static let everyUseOfATenant: ScopeReference = {
        var scope = BudgetScope()
        scope.tenant = .each
        return ScopeReference(scope)
    }()
}
