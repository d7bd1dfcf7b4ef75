package import BillingCore
package import Postgres

/// All SQL on `budget`.
package enum BudgetStore {
    package static func nextID(in transaction: borrowing Transaction) throws(PostgresError) -> LimitID {
        try transaction.identifier("SELECT nextval('limit_id_seq')")
    }

    /// Inserts the budget, behind the locks of `BudgetService.lock`, unless its tenant has one of the same key; false
    /// says it has.
    package static func insert(_ budget: Budget, in transaction: borrowing Transaction) throws(PostgresError) -> Bool {
        let window = budget.window
        let rate = budget.rate
        return try transaction.execute(
            """
            INSERT INTO budget (
                tenant_id, limit_id, key, scope, measure, amount, currency, window_kind, mode, rate_limit, rate_period,
                rate_burst, rate_sheddable_percent, rate_default_percent, thresholds, alerts_on_forecast,
                failure_policy, fallback_unit_amount, managed_by, overridden_limit_id, overrides, created_at,
                updated_at, archived_at, revision, counted_after_seq, since_version
            )
            VALUES (
                \(budget.tenantID), \(budget.id), \(budget.key), \(budget.scope), \(budget.measure),
                \(window?.amount), \(window?.currency), \(window?.kind), \(window?.mode), \(rate?.limit),
                \(rate?.period), \(rate?.burst), \(rate?.sheddablePercent), \(rate?.defaultPercent),
                \(budget.thresholds), \(budget.alertsOnForecast), \(budget.failurePolicy),
                \(budget.fallbackUnitAmount), \(budget.managedBy), \(budget.overridden?.id),
                \(budget.overridden?.key), \(budget.createdAt), \(budget.updatedAt), \(budget.archivedAt),
                \(budget.revision),
                (SELECT ledger_seq FROM tenant_ledger WHERE tenant_id = \(budget.tenantID)),
                (SELECT version FROM catalog_version WHERE \(budget.tenantID) = 0)
            )
            ON CONFLICT ON CONSTRAINT budget_key_unique DO NOTHING
            """
        ) == 1
    }

    /// How many budgets the tenant has made for itself: ever, in force, and of these how many count several values
    /// apart.
    static func count(
        madeBy tenant: TenantID,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> (ever: Int64, all: Int, divided: Int) {
        let results = try transaction.pipeline([
            "SELECT count(*) FROM budget WHERE tenant_id = \(tenant) AND managed_by = \(BudgetManager.tenant)",
            """
            SELECT scope
            FROM budget
            WHERE tenant_id = \(tenant) AND managed_by = \(BudgetManager.tenant) AND archived_at IS NULL
            """,
        ])
        let ever = try results[0].map { row throws(PostgresError) in try row.next(Int64.self) }
        let scopes = try results[1].map { row throws(PostgresError) in try row.next(BudgetScope.self) }
        return (ever.first ?? 0, scopes.count, scopes.count { !$0.splitDimensions.isEmpty })
    }

    /// Writes what may change of a budget.
    package static func update(_ budget: Budget, in transaction: borrowing Transaction) throws(PostgresError) {
        try transaction.execute(
            """
            UPDATE budget
            SET amount = \(budget.window?.amount), mode = \(budget.window?.mode), rate_limit = \(budget.rate?.limit),
                rate_burst = \(budget.rate?.burst), rate_sheddable_percent = \(budget.rate?.sheddablePercent),
                rate_default_percent = \(budget.rate?.defaultPercent), thresholds = \(budget.thresholds),
                alerts_on_forecast = \(budget.alertsOnForecast), failure_policy = \(budget.failurePolicy),
                fallback_unit_amount = \(budget.fallbackUnitAmount), updated_at = \(budget.updatedAt),
                archived_at = \(budget.archivedAt), revision = \(budget.revision)
            WHERE tenant_id = \(budget.tenantID) AND limit_id = \(budget.id)
            """
        )
    }

    /// The budgets in force that name no tenant exactly, by ascending id: part of the shared catalogue.
    static func shared(in transaction: borrowing Transaction) throws(PostgresError) -> [Budget] {
        try transaction.query(ofTenants([.operatorWide]), budget)
    }

    /// The budgets in force of these tenants, by tenant and id: part of their snapshots. Rows decode with `budget`.
    static func ofTenants(_ ids: [TenantID]) -> SQL {
        """
        \(selection)
        WHERE tenant_id = ANY(\(ids)::bigint[]) AND archived_at IS NULL
        ORDER BY tenant_id, limit_id
        """
    }

    package static func find(
        _ id: LimitID,
        of tenant: TenantID,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> Budget? {
        try transaction.first(
            """
            \(selection)
            WHERE tenant_id = \(tenant) AND limit_id = \(id)
            """,
            budget
        )
    }

    /// The budgets of a key, of one tenant if one is given, those that are archived last: first what belongs to no
    /// tenant, then what operators made, then by tenant.
    package static func find(
        key: String,
        of tenant: TenantID?,
        limit: Int,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [Budget] {
        try transaction.query(
            """
            \(selection)
            WHERE key = \(key) AND (\(tenant)::bigint IS NULL OR tenant_id = \(tenant))
            ORDER BY archived_at IS NOT NULL, tenant_id <> 0, managed_by <> 'operator', tenant_id
            LIMIT \(limit)
            """,
            budget
        )
    }

    /// The scopes of the budgets in force that stand in place of one.
    package static func scopes(
        overriding id: LimitID,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [BudgetScope] {
        try transaction.query(
            """
            SELECT scope
            FROM budget
            WHERE overridden_limit_id = \(id) AND archived_at IS NULL
            ORDER BY tenant_id, limit_id
            """
        ) { row throws(PostgresError) in try row.next(BudgetScope.self) }
    }

    /// What a list is narrowed to.
    package struct Filter: Sendable {
        package var tenant: TenantID?
        package var measure: LimitMeasure?
        /// Leaves provider costs out, which are the operator's only.
        package var hidesCost = false
        package var includesArchived = false

        package init() {}
    }

    /// The place of a budget in the order of lists.
    package struct Position: Sendable {
        package let key: String
        package let tenant: TenantID

        package init(key: String, tenant: TenantID) {
            self.key = key
            self.tenant = tenant
        }
    }

    /// Budgets by ascending key, those of the same key by tenant.
    package static func list(
        _ filter: Filter,
        after position: Position?,
        limit: Int,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [Budget] {
        try transaction.query(page(filter, after: position, limit: limit), budget)
    }

    static func page(_ filter: Filter, after position: Position?, limit: Int) -> SQL {
        var conditions: [SQL] = ["true"]
        if let tenant = filter.tenant { conditions.append("tenant_id = \(tenant)") }
        if let measure = filter.measure { conditions.append("measure = \(measure)") }
        if filter.hidesCost { conditions.append("measure <> 'cost'") }
        if !filter.includesArchived { conditions.append("archived_at IS NULL") }
        if let position { conditions.append("(key, tenant_id) > (\(position.key), \(position.tenant))") }
        return """
            \(selection)
            WHERE \(SQL.joined(conditions, separator: " AND "))
            ORDER BY key, tenant_id
            LIMIT \(limit)
            """
    }

    /// Keys of the budgets in force that name a feature.
    static func keys(
        naming feature: String,
        limit: Int,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [String] {
        try transaction.query(
            """
            SELECT DISTINCT key
            FROM budget
            WHERE scope ->> 'feature' = \(feature) AND archived_at IS NULL
            ORDER BY key
            LIMIT \(limit)
            """
        ) { row throws(PostgresError) in try row.next(String.self) }
    }

    /// Whether a budget in force counts in windows of the tenant's zone: one of its own, or of each tenant.
    static func haveWindows(of tenant: TenantID, in transaction: borrowing Transaction) throws(PostgresError) -> Bool {
        try transaction.first(
            """
            SELECT EXISTS (
                SELECT FROM budget
                WHERE (tenant_id = \(tenant) OR tenant_id = 0 AND scope ->> 'tenant' = '*')
                    AND window_kind IS NOT NULL AND archived_at IS NULL
            )
            """
        ) { row throws(PostgresError) in try row.next(Bool.self) } ?? false
    }

    private static let selection: SQL = """
        SELECT tenant_id, limit_id, key, scope, measure, amount, currency, window_kind, mode, rate_limit, rate_period,
            rate_burst, rate_sheddable_percent, rate_default_percent, thresholds, alerts_on_forecast, failure_policy,
            fallback_unit_amount, managed_by, overridden_limit_id, overrides, created_at, updated_at, archived_at,
            revision
        FROM budget
        """

    @Sendable
    static func budget(_ row: inout PostgresRow) throws(PostgresError) -> Budget {
        let tenant = try row.next(TenantID.self)
        let id = try row.next(LimitID.self)
        let key = try row.next(String.self)
        let scope = try row.next(BudgetScope.self)
        let measure = try row.next(LimitMeasure.self)
        let window = try window(&row)
        let rate = try rate(&row)
        guard let bound = window.map(BudgetBound.window) ?? rate.map(BudgetBound.rate) else {
            throw PostgresError(.decoding, "the budget \(id) has neither an amount nor a rate")
        }
        return Budget(
            id: id,
            tenantID: tenant,
            key: key,
            scope: scope,
            measure: measure,
            bound: bound,
            thresholds: try row.next(),
            alertsOnForecast: try row.next(),
            failurePolicy: try row.next(),
            fallbackUnitAmount: try row.next(),
            managedBy: try row.next(),
            overridden: try overridden(&row),
            createdAt: try row.next(),
            updatedAt: try row.next(),
            archivedAt: try row.next(),
            revision: try row.next()
        )
    }

    private static func overridden(_ row: inout PostgresRow) throws(PostgresError) -> OverriddenBudget? {
        let id = try row.next(LimitID?.self)
        let key = try row.next(String?.self)
        guard let id, let key else { return nil }
        return OverriddenBudget(id: id, key: key)
    }

    private static func window(_ row: inout PostgresRow) throws(PostgresError) -> BudgetWindow? {
        let amount = try row.next(FixedDecimal?.self)
        let currency = try row.next(Currency?.self)
        let kind = try row.next(WindowKind?.self)
        let mode = try row.next(LimitMode?.self)
        guard let amount, let kind, let mode else { return nil }
        return BudgetWindow(amount: amount, kind: kind, mode: mode, currency: currency)
    }

    private static func rate(_ row: inout PostgresRow) throws(PostgresError) -> RateLimit? {
        let limit = try row.next(Int64?.self)
        let period = try row.next(RatePeriod?.self)
        let burst = try row.next(Int64?.self)
        let sheddable = try row.next(Int32?.self)
        let ordinary = try row.next(Int32?.self)
        guard let limit, let period, let burst, let sheddable, let ordinary else { return nil }
        return RateLimit(
            limit: limit,
            period: period,
            burst: burst,
            sheddablePercent: sheddable,
            defaultPercent: ordinary
        )
    }
}

extension BudgetManager: PostgresConvertible {}
extension FailurePolicy: PostgresConvertible {}
extension LimitMeasure: PostgresConvertible {}
extension RatePeriod: PostgresConvertible {}

extension Percent: PostgresConvertible {
    package init?(postgres: FixedDecimal) {
        self.init(postgres)
    }

    package var postgres: FixedDecimal { value }
}
