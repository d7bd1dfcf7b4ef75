import BillingCore
import Catalog
import Postgres
import Web

/// What is used of budgets at present.
struct BudgetStatuses: Sendable {
    let desk: CatalogDesk
    /// Where the days of operator-wide budgets begin.
    let operatorZone: Zone
    private static let passedOverTogether = 1_000

    /// The windows of each budget that contain the present. Where each user, tenant or model has a row of its own these
    /// are the fullest, and at most `limit`. Of a rate, what is left of it.
    func read(_ budgets: [Budget], limit: Int, _ context: RequestContext) async throws -> [LimitID: BudgetStatusBody] {
        let now = context.clock.now()
        let counting = budgets.filter { $0.isActive && $0.window != nil }
        let split = counting.filter(\.isSplit)
        let whole = try await whole(counting.filter { !$0.isSplit }, at: now)
        let earliest = try await withEarliestStart(split, at: now)
        let (own, fullest) = try await desk.read(context) { transaction in
            let rows = whole.map { budget, window in
                LimitRow(tenant: budget.tenantID, limit: budget.id, windowStart: window.start)
            }
            return (
                try transaction.query(LimitStateStore.states(of: rows), LimitStateStore.decode),
                try transaction.query(
                    LimitStateStore.fullest(of: earliest, limit: limit + 1, at: now),
                    LimitStateStore.decode
                )
            )
        }
        let byLimit = Dictionary(own.map { ($0.row.limit, $0) }) { first, _ in first }
        let tenants = try await tenants(of: fullest.map(\.row.tenant))
        let rows = Dictionary(grouping: fullest, by: \.row.limit)
        var statuses = try await rates(of: budgets, limit: limit, context)
        for (budget, window) in whole {
            let body = BudgetWindowBody(budget, budget.scope, window, byLimit[budget.id], at: now)
            statuses[budget.id] = BudgetStatusBody(windows: [body].compactMap(\.self), isTruncated: false)
        }
        for budget in split {
            let found = rows[budget.id] ?? []
            var windows = found.compactMap { present(budget, $0, tenants, at: now) }
            if windows.count < found.count, found.count > limit {
                windows = try await presentWindows(of: budget, after: nil, count: limit + 1, at: now, context)
                    .map(\.body)
            }
            let isTruncated = windows.count > limit
            statuses[budget.id] = BudgetStatusBody(windows: Array(windows.prefix(limit)), isTruncated: isTruncated)
        }
        return statuses
    }

    /// The same of one budget, page by page.
    func page(of budget: Budget, _ page: PageRequest, _ context: RequestContext) async throws -> Page<BudgetWindowBody>
    {
        guard budget.isSplit, budget.isActive, budget.window != nil else {
            let status = try await read([budget], limit: 1, context)[budget.id]
            return Page(data: page.after == nil ? status?.windows ?? [] : [], nextCursor: nil)
        }
        let now = context.clock.now()
        let position = try Self.position(page, of: budget)
        let found = try await presentWindows(of: budget, after: position, count: page.fetchCount, at: now, context)
        let cut = page.page(found) { window in
            let row = window.state.row
            let values = budget.scope.values(inScopeValue: row.scopeValue) ?? [:]
            return [
                String(row.limit.rawValue), window.state.taken.description, String(row.tenant.rawValue),
                row.windowStart.description,
            ] + budget.scope.splitDimensions.map { values[$0] ?? "" }
        }
        return Page(data: cut.data.map(\.body), nextCursor: cut.nextCursor)
    }

    /// The fullest windows behind a position, so many if there are.
    private func presentWindows(
        of budget: Budget,
        after position: LimitStateStore.Position?,
        count: Int,
        at now: Instant,
        _ context: RequestContext
    ) async throws -> [(state: LimitState, body: BudgetWindowBody)] {
        var found: [(state: LimitState, body: BudgetWindowBody)] = []
        var position = position
        var limit = count
        let earliest = try await withEarliestStart([budget], at: now)[0].earliest
        while true {
            let (after, most) = (position, limit)
            let states = try await desk.read(context) { transaction in
                try transaction.query(
                    LimitStateStore.fullest(of: budget, since: earliest, after: after, limit: most, at: now),
                    LimitStateStore.decode
                )
            }
            let tenants = try await tenants(of: states.map(\.row.tenant))
            found += states.compactMap { state in
                present(budget, state, tenants, at: now).map { (state, $0) }
            }
            guard found.count < count, states.count == most, let last = states.last else {
                return Array(found.prefix(count))
            }
            position = LimitStateStore.Position(of: last)
            limit = max(limit, Self.passedOverTogether)
        }
    }

    /// A row as it is answered; nil for one that isn't of the budget's scope, or whose window is over before its end,
    /// as a billing period of a subscription that was ended is.
    private func present(
        _ budget: Budget,
        _ state: LimitState,
        _ tenants: [TenantID: TenantSnapshot],
        at now: Instant
    ) -> BudgetWindowBody? {
        let tenant = tenants[state.row.tenant]
        guard let scope = budget.scope(of: state.row, tenantKey: tenant?.key),
            let window = budget.window?.interval(containing: now, of: tenant, operatorZone: operatorZone),
            window.start == state.row.windowStart
        else { return nil }
        return BudgetWindowBody(budget, scope, window, state, at: now)
    }

    private static func position(
        _ page: PageRequest,
        of budget: Budget
    ) throws -> LimitStateStore.Position? {
        guard let after = page.after else { return nil }
        guard after.count == 4 + budget.scope.splitDimensions.count, after[0] == String(budget.id.rawValue),
            let taken = try? FixedDecimal(parsing: after[1]),
            let tenant = Int64(after[2]), let start = try? Instant(parsing: after[3])
        else { throw PageRequest.invalidCursor }
        return LimitStateStore.Position(
            taken: taken,
            tenant: TenantID(rawValue: tenant),
            scopeValue: BudgetScope.scopeValue(Array(after.dropFirst(4))),
            windowStart: start
        )
    }

    /// Budgets with the present window of each; those that have none are left out.
    private func whole(_ budgets: [Budget], at now: Instant) async throws -> [(budget: Budget, window: Interval)] {
        let owners = Set(budgets.map(\.tenantID)).subtracting([.operatorWide])
        let tenants = try await desk.catalog.tenants(ids: owners)
        return budgets.compactMap { budget in
            let tenant = tenants[budget.tenantID]
            guard tenant != nil || budget.tenantID == .operatorWide else { return nil }
            let interval = budget.window?.interval(containing: now, of: tenant, operatorZone: operatorZone)
            return interval.map { (budget, $0) }
        }
    }

    /// Budgets, each with where its rows of the present begin at the earliest.
    private func withEarliestStart(
        _ budgets: [Budget],
        at now: Instant
    ) async throws -> [(budget: Budget, earliest: Instant)] {
        let owners = try await tenants(of: budgets.map(\.tenantID))
        return budgets.map { budget in
            let owner = owners[budget.tenantID]
            return (budget, budget.earliestWindowStart(at: now, of: owner, operatorZone: operatorZone))
        }
    }

    /// The tenants that rows belong to.
    func tenants(of owners: [TenantID]) async throws -> [TenantID: TenantSnapshot] {
        try await desk.catalog.tenants(ids: Set(owners).subtracting([.operatorWide]))
    }
}

extension Budget {
    /// Whether it has more than one row in a window: one for each tenant, or for each value of another dimension.
    var isSplit: Bool { scope.tenant == .each || !scope.splitDimensions.isEmpty }

    /// The scope with a row's values in place of each "each"; nil for a row that isn't of this scope.
    func scope(of row: LimitRow, tenantKey: String?) -> BudgetScope? {
        guard let values = scope.values(inScopeValue: row.scopeValue) else { return nil }
        var scope = scope
        for (dimension, value) in values { scope[dimension] = .exact(value) }
        if scope.tenant == .each { scope.tenant = tenantKey.map(ScopeMatch.exact) }
        return scope
    }
}

extension LimitState {
    /// Of a row that has not followed a change of its budget yet: what that leaves above the amount is overshoot.
    fileprivate func balance(under budget: Budget, _ bound: BudgetWindow) -> LimitBalance {
        guard revision < budget.revision, let excess = try? taken.subtracting(bound.amount) else { return balance }
        var balance = balance
        balance.overshoot = max(balance.overshoot, excess)
        return balance
    }
}

/// What is used of a budget, as it is answered.
struct BudgetStatusBody: Encodable, Sendable {
    /// None of a rate.
    var windows: [BudgetWindowBody] = []
    /// Of a rate alone.
    var rates: [BudgetRateBody] = []
    /// Whether there are more rows than are shown.
    let isTruncated: Bool

    static let empty = BudgetStatusBody(isTruncated: false)

    private enum CodingKeys: String, CodingKey {
        case windows, rates
        case isTruncated = "truncated"
    }
}

/// What is used of an amount in a window, as it is answered.
struct WindowUseBody: Encodable, Sendable {
    let used: String
    let held: String
    let overshoot: String
    let remaining: String
    let percent: FixedDecimal?
    let projected: String?
    let countedSince: Instant
    let window: LimitWindowBody

    /// - Parameter balance: nil where nothing was used yet; its amount is that of the bound.
    init(
        _ measure: LimitMeasure,
        _ bound: BudgetWindow,
        _ balance: LimitBalance?,
        in interval: Interval,
        countedFrom: Instant,
        at now: Instant
    ) {
        var balance = balance ?? LimitBalance(amount: bound.amount)
        balance.amount = bound.amount
        let use = WindowUse(balance, in: interval, countedFrom: countedFrom)
        used = bound.shown(balance.used)
        held = bound.shown(balance.held)
        overshoot = bound.shown(balance.overshoot)
        remaining = bound.shown(balance.allowing(measure).remaining)
        percent = use.percent
        projected = use.projected(at: now).map(bound.shown)
        countedSince = use.countedSince
        window = LimitWindowBody(bound.kind, interval)
    }
}

/// What is used of a budget in a window, as it is answered.
struct BudgetWindowBody: Encodable, Sendable {
    /// The budget's scope, with values in place of each "each".
    let scope: JSONValue
    let use: WindowUseBody

    /// Nil for a rate.
    init?(_ budget: Budget, _ scope: BudgetScope, _ interval: Interval, _ state: LimitState?, at now: Instant) {
        guard let bound = budget.window else { return nil }
        self.scope = scope.json
        use = WindowUseBody(
            budget.measure,
            bound,
            state?.balance(under: budget, bound),
            in: interval,
            countedFrom: budget.countedFrom,
            at: now
        )
    }

    private enum CodingKeys: String, CodingKey {
        case scope
    }

    func encode(to encoder: any Encoder) throws {
        try use.encode(to: encoder)
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(scope, forKey: .scope)
    }
}
