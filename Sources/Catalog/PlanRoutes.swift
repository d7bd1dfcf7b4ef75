import BillingCore
import Postgres
import Web

/// `/plans`.
struct PlanRoutes: Sendable {
    let desk: CatalogDesk

    func register(in operations: Operations) {
        operations.get("/plans", "listPlans", scope: .catalogRead) { try await list($0, $1) }
        operations.post("/plans", "createPlan", scope: .catalogWrite, handler: desk.operatorOnly(create))
        operations.get("/plans/{key}", "getPlan", scope: .catalogRead) { try await get($0, $1) }
        operations.patch("/plans/{key}", "updatePlan", scope: .catalogWrite, handler: desk.operatorOnly(update))
    }

    private func list(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let query = request.query()
        let page = query.page()
        try query.finish()
        let plans = try await desk.read(context) { transaction in
            try PlanStore.list(after: page.afterKey, limit: page.fetchCount, in: transaction)
        }
        return try .json(page.page(plans) { [$0.plan.key] }.map { PlanBody($0) })
    }

    private func get(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        try request.query().finish()
        let key = try request.parameter("key")
        let found = try await desk.read(context) { try Self.existing(key, in: $0) }
        return try .json(PlanBody(found), revision: found.plan.revision)
    }

    private func create(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let input = try PlanInput.read(try request.fields())
        let now = context.clock.now()
        return try await desk.writeCatalog(request, context) { transaction in
            _ = try CatalogVersion.bump(in: transaction)
            let plan = Plan(
                id: try PlanStore.nextID(in: transaction),
                key: input.key,
                name: input.name,
                currency: input.currency,
                createdAt: now,
                updatedAt: now,
                revision: 1
            )
            guard try PlanStore.insert(plan, in: transaction) else { throw CatalogFault.keyTaken(.plan, input.key) }
            let body = PlanBody(ListedPlan(plan: plan, publishedVersion: nil))
            try CatalogDesk.audit("created", .plan, plan.key, by: context, after: body, in: transaction)
            return try .created(body, location: "/plans/\(plan.key)", revision: plan.revision)
        }
    }

    private func update(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let key = try request.parameter("key")
        let patch = try NamePatch.read(try request.json(), immutable: ["key", "currency"], of: .plan)
        let now = context.clock.now()
        return try await desk.writeCatalog(request, context) { transaction in
            let found = try Self.existing(key, in: transaction)
            if (patch.name ?? found.plan.name).hasSameBytes(as: found.plan.name) {
                try request.ifMatch.require(found.plan.revision)
                return try .json(PlanBody(found), revision: found.plan.revision)
            }
            _ = try CatalogVersion.bump(in: transaction)
            let before = try Self.existing(key, in: transaction)
            try request.ifMatch.require(before.plan.revision)
            var after = before
            after.plan.name = patch.name ?? before.plan.name
            after.plan.updatedAt = now
            after.plan.revision += 1
            try PlanStore.update(after.plan, in: transaction)
            let body = PlanBody(after)
            let shown = PlanBody(before)
            try CatalogDesk.audit("updated", .plan, key, by: context, before: shown, after: body, in: transaction)
            return try .json(body, revision: after.plan.revision)
        }
    }

    static func existing(_ key: String, in transaction: borrowing Transaction) throws -> ListedPlan {
        guard let found = try PlanStore.find(key: key, in: transaction) else {
            throw CatalogFault.notFound(.plan, key)
        }
        return found
    }
}

/// The body of a new plan.
struct PlanInput: Sendable {
    let key: String
    let name: String
    let currency: Currency

    static func read(_ fields: JSONObjectReader) throws -> PlanInput {
        let input = PlanInput(
            key: fields.key("key"),
            name: fields.string("name"),
            currency: fields.currency("currency")
        )
        try fields.finish()
        return input
    }
}

extension JSONObjectReader {
    /// A required currency; USD stands in for a faulty one.
    func currency(_ name: String) -> Currency {
        value(name, expecting: "an ISO 4217 currency code such as \"USD\"") { Currency($0) } ?? .usd
    }
}
