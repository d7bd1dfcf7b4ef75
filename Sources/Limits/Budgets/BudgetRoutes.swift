package import BillingCore
package import Catalog
import Logging
package import Postgres
package import Web

/// `/budgets`: the limits that operators and tenants set beside the quotas of plans. A tenant sees and makes those of
/// its own, and never one of provider costs.
package struct BudgetRoutes: Sendable {
    /// How many rows a budget shows where each user, model or tenant has one.
    private static let shownRows = 50
    /// The same in a list.
    private static let listedRows = 5

    private let desk: CatalogDesk
    private let statuses: BudgetStatuses
    private let costCurrency: Currency

    /// - Parameters:
    ///   - costCurrency: the operator's, in which provider costs are.
    ///   - operatorZone: where the days of operator-wide budgets begin.
    package init(catalog: Catalog, pool: PostgresPool, costCurrency: Currency, operatorZone: Zone) {
        desk = CatalogDesk(pool: pool, catalog: catalog)
        statuses = BudgetStatuses(desk: desk, operatorZone: operatorZone)
        self.costCurrency = costCurrency
    }

    package func register(in operations: Operations) {
        operations.get("/budgets", "listBudgets", scope: .budgetsRead) { try await list($0, $1) }
        operations.post("/budgets", "createBudget", scope: .budgetsWrite) { try await create($0, $1) }
        operations.get("/budgets/{key}", "getBudget", scope: .budgetsRead) { try await get($0, $1) }
        operations.patch("/budgets/{key}", "updateBudget", scope: .budgetsWrite, readsQuery: true) {
            try await update($0, $1)
        }
        operations.delete("/budgets/{key}", "archiveBudget", scope: .budgetsWrite, readsQuery: true) {
            try await archive($0, $1)
        }
        operations.get("/budgets/{key}/status", "listBudgetStatus", scope: .budgetsRead) { try await status($0, $1) }
    }

    // MARK: Reading

    private func list(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let query = request.query()
        let page = query.page()
        let asked = query.string("tenant")
        var filter = BudgetStore.Filter()
        filter.measure = query.oneOf("measure", LimitMeasure.self)
        filter.includesArchived = query.bool("include_archived") ?? false
        filter.hidesCost = !context.principal.isOperatorWide
        try query.finish()
        filter.tenant = try await desk.catalog.tenantFilter(asked, for: context)?.id
        let position = try Self.position(page)
        let wanted = filter
        let budgets = try await desk.read(context) { transaction in
            try BudgetStore.list(wanted, after: position, limit: page.fetchCount, in: transaction)
        }
        let listed = page.page(budgets) { [$0.key, String($0.tenantID.rawValue)] }
        let uses = try await statuses.read(listed.data, limit: Self.listedRows, context)
        return try .json(listed.map { BudgetWithStatusBody($0, uses[$0.id]) })
    }

    private static func position(_ page: PageRequest) throws -> BudgetStore.Position? {
        guard let after = page.after else { return nil }
        guard after.count == 2, let tenant = Int64(after[1]) else { throw PageRequest.invalidCursor }
        return BudgetStore.Position(key: after[0], tenant: TenantID(rawValue: tenant))
    }

    private func get(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let query = request.query()
        let tenant = query.string("tenant")
        try query.finish()
        let budget = try await existing(request, of: tenant, context)
        let uses = try await statuses.read([budget], limit: Self.shownRows, context)
        return try .json(BudgetWithStatusBody(budget, uses[budget.id]), revision: budget.revision)
    }

    private func status(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let query = request.query()
        let page = query.page()
        let tenant = query.string("tenant")
        try query.finish()
        let budget = try await existing(request, of: tenant, context)
        return try .json(try await statuses.page(of: budget, page, context))
    }

    /// The budget of the key in the path. Keys are unique within a tenant: where several have one, an operator says
    /// whose is meant. What is in force comes first, of that what belongs to no tenant, then what operators made.
    /// - Parameter isToChange: whether it is to be changed. A tenant's is then named with its tenant where anybody else
    ///   has the key, archived or not: a repeated `DELETE` of what is archived would find another's.
    private func existing(
        _ request: APIRequest,
        of asked: String?,
        isToChange: Bool = false,
        _ context: RequestContext
    ) async throws -> Budget {
        let key = try request.parameter("key")
        let tenant = try await desk.catalog.tenantFilter(asked, for: context)?.id
        let hidesCost = !context.principal.isOperatorWide
        let found = try await desk.read(context) { transaction in
            try BudgetStore.find(key: key, of: tenant, limit: 2, in: transaction)
        }.filter { !hidesCost || $0.measure != .cost }
        guard let first = found.first else { throw CatalogFault.notFound(.budget, key).problem }
        if let second = found.dropFirst().first, first.tenantID != .operatorWide,
            isToChange || first.isActive == second.isActive && first.managedBy == second.managedBy
        {
            throw CatalogFault.budgetAmbiguous(key).problem
        }
        return first
    }

    // MARK: Writing

    private func create(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let own = context.principal.tenantKey
        let input = try BudgetInput.read(try request.fields(), of: own, costCurrency: costCurrency)
        if own != nil {
            guard input.scope.tenant != .each else { throw CatalogFault.operatorOnly.problem }
            guard input.measure != .cost else { throw Problem.costsAreOfOperators }
        }
        let tenant = try await named(input.scope, context)
        let manager: BudgetManager = context.principal.isOperatorWide ? .operator : .tenant
        let now = context.clock.now()
        let owner = tenant?.id ?? .operatorWide
        return try await write(owner, request, context) { transaction in
            let budget = try BudgetService.create(input, for: tenant, managedBy: manager, now: now, in: transaction)
            let body = BudgetBody(budget)
            try CatalogDesk.audit(
                "created",
                .budget,
                budget.key,
                by: context,
                after: body,
                tenant: budget.auditOwner,
                in: transaction
            )
            let owned = tenant.map { "?tenant=\($0.key)" } ?? ""
            return try .created(body, location: "/budgets/\(budget.key)\(owned)", revision: budget.revision)
        }
    }

    /// The tenant that a scope names exactly. One that the caller must not know of is one that there isn't.
    private func named(_ scope: BudgetScope, _ context: RequestContext) async throws -> TenantSnapshot? {
        guard let key = scope.exact(.tenant) else { return nil }
        guard let tenant = try await desk.catalog.tenant(key: key), context.principal.mayAccess(tenant: tenant.id)
        else { throw ValidationFailure([.unknown(.tenant, key)]) }
        return tenant
    }

    private func update(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let patch = try BudgetPatch.read(try request.json())
        return try await change("updated", request, context) { budget, now in
            guard budget.isActive else { throw CatalogFault.budgetArchived(budget.key) }
            return try patch.applied(to: budget, now: now)
        } answer: { budget in
            try .json(BudgetBody(budget), revision: budget.revision)
        }
    }

    /// Its rows stay; the key does too, so that what the rows counted is never mistaken for another budget's.
    private func archive(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        try await change("archived", request, context) { budget, now in
            guard budget.isActive else { return budget }
            var archived = budget
            archived.archivedAt = now
            archived.updatedAt = now
            archived.revision += 1
            return archived
        } answer: { _ in
            .noContent
        }
    }

    /// Changes the budget in the path, as it is read under its lock; one that stays as it was leaves no audit row.
    private func change(
        _ action: String,
        _ request: APIRequest,
        _ context: RequestContext,
        _ work: @escaping @Sendable (Budget, Instant) throws -> Budget,
        answer answered: @escaping @Sendable (Budget) throws -> Answer
    ) async throws -> Answer {
        let query = request.query()
        let tenant = query.string("tenant")
        try query.finish()
        let found = try await existing(request, of: tenant, isToChange: true, context)
        guard context.principal.isOperatorWide || found.managedBy == .tenant else {
            throw CatalogFault.budgetOfOperator(found.key).problem
        }
        let now = context.clock.now()
        let answer = try await write(found.tenantID, request, context) { transaction in
            guard let before = try BudgetStore.find(found.id, of: found.tenantID, in: transaction) else {
                throw CatalogFault.notFound(.budget, found.key)
            }
            try request.ifMatch.require(before.revision)
            let after = try work(before, now)
            guard after != before else { return try answered(before) }
            try BudgetStore.update(after, in: transaction)
            try BudgetChangeStore.note(after, at: now, in: transaction)
            // Open calls come to hold of the budget that it stood in place of.
            if after.overridden != nil, !after.isActive { HoldChangeStore.note(after.tenantID, in: transaction) }
            try CatalogDesk.audit(
                action,
                .budget,
                after.key,
                by: context,
                before: BudgetBody(before),
                after: BudgetBody(after),
                tenant: after.auditOwner,
                in: transaction
            )
            return try answered(after)
        }
        do {
            try await BudgetRevision(pool: desk.pool, catalog: desk.catalog, ids: context.ids, clock: context.clock)
                .begin(found.id, of: found.tenantID)
        } catch {
            // `BudgetRevisionWorker` has them follow soon.
            context.logger.info("rows of a changed budget follow later", metadata: ["error": "\(error)"])
        }
        return answer
    }

    /// Writes under the locks of a budget of this tenant; afterwards this replica reads budgets afresh.
    private func write(
        _ tenant: TenantID,
        _ request: APIRequest,
        _ context: RequestContext,
        _ body: @escaping @Sendable (borrowing Transaction) throws -> Answer
    ) async throws -> Answer {
        try await desk.catalog.pace.turn(of: context.principal)
        guard tenant != .operatorWide else {
            return try await desk.writeCatalog(request, context) { transaction in
                try BudgetService.lock(tenant, in: transaction)
                return try body(transaction)
            }
        }
        let answer = try await desk.write(request, context) { transaction in
            try BudgetService.lock(tenant, in: transaction)
            return try body(transaction)
        }
        desk.catalog.invalidate(tenant: tenant)
        return answer
    }
}

extension Budget {
    /// Whose audit log tells of it: of one on provider costs only the operator's.
    fileprivate var auditOwner: TenantID { measure == .cost ? .operatorWide : tenantID }
}

/// A budget as it is answered alone and in lists: with what is used of it.
struct BudgetWithStatusBody: Encodable, Sendable {
    let budget: BudgetBody
    let status: BudgetStatusBody

    init(_ budget: Budget, _ status: BudgetStatusBody?) {
        self.budget = BudgetBody(budget)
        self.status = status ?? .empty
    }

    private enum CodingKeys: String, CodingKey {
        case status
    }

    func encode(to encoder: any Encoder) throws {
        try budget.encode(to: encoder)
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(status, forKey: .status)
    }
}

extension Problem {
    fileprivate static let costsAreOfOperators = Problem.forbidden(
        code: "operator_only",
        detail: "\"measure\" is \"cost\": what providers charge is the operator's. A tenant limits what it is charged "
            + "itself: \"charge\"."
    )
}
