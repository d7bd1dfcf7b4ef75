package import BillingCore
package import Postgres
import Web

/// The work on budgets that spans their row, what their scope names, and the locks.
package enum BudgetService {
    /// How many budgets in force a tenant may have made for itself: every call of its own looks at all of them, in a
    /// transaction that it shares with calls of others.
    package static let perTenant = 100
    /// How many of them may have a row for each of several values, such as users: its events can name as many as it
    /// likes, and each makes that many rows.
    package static let dividedPerTenant = 10
    /// How many it makes over time, those that it archives too: they stay.
    package static let everPerTenant = 1_000

    /// What was asked for, as a budget, stored. The caller has locked its tenant (see `lock`).
    /// - Parameter tenant: the one that the scope names exactly.
    package static func create(
        _ input: BudgetInput,
        for tenant: TenantSnapshot?,
        managedBy manager: BudgetManager,
        now: Instant,
        in transaction: borrowing Transaction
    ) throws -> Budget {
        var faults = try Self.faults(of: input, tenant: tenant, managedBy: manager, in: transaction)
        let candidates = try overridable(input.overrides, by: tenant, managedBy: manager, in: transaction)
        let overridden = candidates.first { input.overrides($0) }
        if let key = input.overrides, overridden == nil { faults.append(.overridden(key, exists: !candidates.isEmpty)) }
        guard faults.isEmpty else { throw ValidationFailure(faults) }
        if manager == .tenant, let tenant { try requireRoom(for: input.scope, of: tenant, in: transaction) }
        let budget = Budget(
            id: try BudgetStore.nextID(in: transaction),
            tenantID: tenant?.id ?? .operatorWide,
            key: input.key,
            scope: input.scope,
            measure: input.measure,
            bound: input.bound,
            thresholds: input.thresholds,
            alertsOnForecast: input.alertsOnForecast,
            failurePolicy: input.failurePolicy,
            fallbackUnitAmount: input.fallbackUnitAmount,
            managedBy: manager,
            overridden: overridden.map { OverriddenBudget(id: $0.id, key: $0.key) },
            createdAt: now,
            updatedAt: now
        )
        guard try BudgetStore.insert(budget, in: transaction) else {
            let first = try BudgetStore.find(key: budget.key, of: budget.tenantID, limit: 1, in: transaction).first
            throw first?.isActive == false
                ? CatalogFault.keyOfArchivedBudget(budget.key) : .keyTaken(.budget, budget.key)
        }
        return budget
    }

    /// The budgets in force of a key that one of the tenant's may override, its own first, or one over all tenants: a
    /// tenant's own credential none of the operator's.
    private static func overridable(
        _ key: String?,
        by tenant: TenantSnapshot?,
        managedBy manager: BudgetManager,
        in transaction: borrowing Transaction
    ) throws -> [Budget] {
        guard let key else { return [] }
        let owners = [tenant?.id, .operatorWide].compactMap { $0 }
        let found = try owners.flatMap { try BudgetStore.find(key: key, of: $0, limit: 1, in: transaction) }
        return found.filter { $0.isActive && (manager == .operator || $0.managedBy == .tenant) }
    }

    private static func requireRoom(
        for scope: BudgetScope,
        of tenant: TenantSnapshot,
        in transaction: borrowing Transaction
    ) throws {
        let counts = try BudgetStore.count(madeBy: tenant.id, in: transaction)
        guard counts.ever < everPerTenant else {
            throw CatalogFault.tooManyBudgetsEver(tenant: tenant.key, limit: everPerTenant)
        }
        guard counts.all < perTenant else {
            throw CatalogFault.tooManyBudgets(tenant: tenant.key, limit: perTenant, divided: false)
        }
        guard scope.splitDimensions.isEmpty || counts.divided < dividedPerTenant else {
            throw CatalogFault.tooManyBudgets(tenant: tenant.key, limit: dividedPerTenant, divided: true)
        }
    }

    /// Locks what a change of the tenant's budgets (of tenant 0: of those of no tenant) must hold, raises the version
    /// under which replicas have read them, and keeps features and plans as they are. Call it first.
    package static func lock(_ tenant: TenantID, in transaction: borrowing Transaction) throws {
        guard tenant != .operatorWide else {
            _ = try CatalogVersion.bump(in: transaction)
            return
        }
        try TenantLedger.lockAndBump(tenant, in: transaction)
        try CatalogVersion.hold(in: transaction)
    }

    private static func faults(
        of input: BudgetInput,
        tenant: TenantSnapshot?,
        managedBy manager: BudgetManager,
        in transaction: borrowing Transaction
    ) throws -> [FieldFault] {
        var faults: [FieldFault] = []
        if let key = input.scope.exact(.feature) {
            let feature = try PlanVersionService.metered([key], in: transaction)[key]
            faults += Self.faults(of: feature, key: key, measure: input.measure)
        }
        let charged = input.chargeCurrency
        if let key = input.scope.exact(.plan) {
            let asking = manager == .tenant ? tenant : nil
            faults += try Self.faults(ofPlan: key, for: asking, chargedIn: charged, in: transaction)
        }
        if let charged, let tenant, charged != tenant.currency {
            let detail = "the tenant \"\(tenant.key)\" is charged in \(tenant.currency): \"currency\" must be that"
            faults.append(FieldFault(pointer: "/currency", code: "currency_mismatch", detail: detail))
        }
        return faults
    }

    /// - Parameters:
    ///   - tenant: who asks, where that is a tenant: other plans than its own are not told from ones that do not exist.
    ///   - currency: of what the budget counts of charges.
    private static func faults(
        ofPlan key: String,
        for tenant: TenantSnapshot?,
        chargedIn currency: Currency?,
        in transaction: borrowing Transaction
    ) throws -> [FieldFault] {
        if let tenant {
            guard try !SubscriptionStore.isSubscribed(tenant.id, toPlan: key, in: transaction) else { return [] }
            let detail = "no subscription of \"\(tenant.key)\" is on a plan \"\(key)\""
            return [FieldFault(pointer: "/scope/plan", code: "unknown_plan", detail: detail)]
        }
        guard let plan = try PlanStore.find(key: key, in: transaction)?.plan else {
            return [.unknown(.plan, key)]
        }
        guard let currency, currency != plan.currency else { return [] }
        let detail = "the plan \"\(key)\" charges in \(plan.currency): \"currency\" must be that"
        return [FieldFault(pointer: "/currency", code: "currency_mismatch", detail: detail)]
    }

    private static func faults(of feature: MeteredFeature?, key: String, measure: LimitMeasure) -> [FieldFault] {
        let pointer = "/scope/feature"
        guard let feature else { return [.unknown(.feature, key)] }
        guard feature.feature.archivedVersion == nil else {
            return [FieldFault(pointer: pointer, code: "archived", detail: "the feature \"\(key)\" is archived")]
        }
        let aggregation = feature.meter.definition.aggregation
        let detail: String
        switch measure {
        case .units where !aggregation.acceptsHardLimits:
            detail = "budgets count units by sum and count only; \"\(key)\" is \(aggregation.rawValue)"
        case .charge where aggregation == .uniqueCount:
            detail = "what distinct values (\"\(key)\") are charged counts in limits on all charges alone"
        default:
            return []
        }
        return [FieldFault(pointer: pointer, code: "not_applicable", detail: detail)]
    }
}

extension FieldFault {
    fileprivate static func overridden(_ key: String, exists: Bool) -> FieldFault {
        guard exists else {
            let detail = "there is no budget \"\(key)\" in force that the caller may override"
            return FieldFault(pointer: "/overrides", code: "unknown_budget", detail: detail)
        }
        let detail =
            "\"scope\" must be that of \"\(key)\" with one value in place of a \"*\", \"feature\" excepted; "
            + "\"measure\" and \"currency\" must be the same, as a rate or in windows as it is there"
        return FieldFault(pointer: "/overrides", code: "not_applicable", detail: detail)
    }
}

extension BudgetInput {
    /// Whether it may stand in place of the other.
    fileprivate func overrides(_ other: Budget) -> Bool {
        let fits =
            switch (bound, other.bound) {
            case (.rate, .rate): true
            case (.window(let own), .window(let others)): own.currency == others.currency
            default: false
            }
        return fits && measure == other.measure && scope.overrides(other.scope)
    }

    /// Of a budget on charges.
    fileprivate var chargeCurrency: Currency? {
        guard measure == .charge, case .window(let window) = bound else { return nil }
        return window.currency
    }
}
