import BillingCore
package import Catalog
import HTTPTypes
package import Postgres
package import Web

/// `GET /tenants/{key}/spend-cap`: what is left of the bound that the tenant's plan sets on its charges in a month.
package struct SpendCapRoutes: Sendable {
    let catalog: Catalog
    let pool: PostgresPool

    package init(catalog: Catalog, pool: PostgresPool) {
        self.catalog = catalog
        self.pool = pool
    }

    package func register(in operations: Operations) {
        operations.get("/tenants/{key}/spend-cap", "getSpendCap", scope: .quotasRead, isQuiet: true, handler: get)
    }

    @Sendable
    private func get(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        try request.query().finish()
        let tenant = try await catalog.tenant(request.parameter("key"), for: context)
        guard let cap = tenant.spendCap, cap.isActive else { throw Problem.noSpendCap(tenant.key) }
        let now = context.clock.now()
        let window = CalendarWindows(zone: tenant.zone).window(.month, containing: now)
        let row = LimitRow(tenant: tenant.id, limit: cap.id, windowStart: window.start)
        let state = try await pool.query(
            .interactive,
            as: .tenant(tenant.id.rawValue),
            LimitStateStore.states(of: [row]),
            LimitStateStore.decode
        ).first
        return try .json(SpendCapBody(cap, of: tenant, window, state?.balance, at: now))
    }
}

/// A spend cap as it is answered, with what is used of it in the present month.
private struct SpendCapBody: Encodable {
    let amount: String
    let currency: String
    let mode: String
    let timezone: String
    let use: WindowUseBody

    init(
        _ cap: SpendCapInForce,
        of tenant: TenantSnapshot,
        _ window: Interval,
        _ balance: LimitBalance?,
        at now: Instant
    ) {
        let bound = BudgetWindow(amount: cap.amount, kind: .month, mode: cap.mode, currency: tenant.currency)
        amount = bound.shown(cap.amount)
        currency = tenant.currency.code
        mode = cap.mode.rawValue
        timezone = tenant.zone.identifier
        use = WindowUseBody(.charge, bound, balance, in: window, countedFrom: cap.countedFrom, at: now)
    }

    private enum CodingKeys: String, CodingKey {
        case amount, currency, mode, timezone
    }

    func encode(to encoder: any Encoder) throws {
        try use.encode(to: encoder)
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(amount, forKey: .amount)
        try container.encode(currency, forKey: .currency)
        try container.encode(mode, forKey: .mode)
        try container.encode(timezone, forKey: .timezone)
    }
}

extension Problem {
    fileprivate static func noSpendCap(_ tenant: String) -> Problem {
        Problem(
            .notFound,
            code: "spend_cap_not_found",
            detail: "The tenant '\(tenant)' has no subscription now, or one to a plan that sets no spend cap."
        )
    }
}
