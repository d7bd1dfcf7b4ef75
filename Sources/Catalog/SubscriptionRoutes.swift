import BillingCore
import Postgres
import Web

/// `/subscriptions`.
struct SubscriptionRoutes: Sendable {
    let desk: CatalogDesk
    let service: SubscriptionService

    func register(in operations: Operations) {
        operations.get("/subscriptions", "listSubscriptions", scope: .subscriptionsRead) { try await list($0, $1) }
        operations.post("/subscriptions", "createSubscription", scope: .subscriptionsWrite) {
            try await create($0, $1)
        }
        operations.get("/subscriptions/{id}", "getSubscription", scope: .subscriptionsRead) { try await get($0, $1) }
        operations.post("/subscriptions/{id}/cancel", "cancelSubscription", scope: .subscriptionsWrite) {
            try await cancel($0, $1)
        }
    }

    private func list(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let query = request.query()
        let page = query.page()
        let tenant = query.string("tenant")
        let plan = query.string("plan")
        let activeAt = query.instant("active_at")
        try query.finish()
        let now = context.clock.now()
        let filter = SubscriptionStore.Filter(
            tenant: try context.tenantFilter(tenant),
            plan: plan,
            activeAt: activeAt,
            planAt: activeAt ?? now
        )
        let position = try Self.position(page)
        let subscriptions = try await desk.read(context) { transaction in
            try SubscriptionStore.list(filter, after: position, limit: page.fetchCount, in: transaction)
        }
        let listed = page.page(subscriptions) { [String($0.tenantID.rawValue), $0.id.description] }
        return try .json(listed.map { SubscriptionBody($0, now: now) })
    }

    private func get(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let id = try Self.id(request)
        let bound = context.principal.tenantID
        let found = try await desk.read(context) { try SubscriptionStore.find(id, in: $0) }
        guard let found, bound == nil || bound == found.tenantID else {
            throw CatalogFault.notFound(.subscription, id.description).problem
        }
        return try .json(SubscriptionBody(found, now: context.clock.now()), revision: found.revision)
    }

    private func create(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let now = context.clock.now()
        let input = try SubscriptionInput.read(try request.fields(), now: now)
        let id = SubscriptionID(rawValue: context.ids.next())
        let bound = context.principal.tenantID
        let answer = try await desk.write(request, context) { transaction in
            let made = try service.create(input, id: id, boundTo: bound, now: now, in: transaction)
            let body = SubscriptionBody(made, now: now)
            try CatalogDesk.audit(
                "created",
                .subscription,
                made.id.description,
                by: context,
                after: body,
                tenant: made.tenantID,
                in: transaction
            )
            return try .created(body, location: "/api/v1/subscriptions/\(made.id)", revision: made.revision)
        }
        desk.catalog.invalidate(tenantKey: input.tenant)
        return answer
    }

    private func cancel(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let id = try Self.id(request)
        let now = context.clock.now()
        let time = try CancellationTime.read(try request.fields(emptyIsObject: true), now: now)
        let bound = context.principal.tenantID
        return try await desk.write(request, context) { transaction in
            let change = try service.cancel(id, at: time, boundTo: bound, now: now, in: transaction) { subscription in
                try request.ifMatch.require(subscription.revision)
            }
            let body = SubscriptionBody(change.after, now: now)
            try CatalogDesk.audit(
                "cancelled",
                .subscription,
                id.description,
                by: context,
                before: SubscriptionBody(change.before, now: now),
                after: body,
                tenant: change.after.tenantID,
                in: transaction
            )
            return try .json(body, revision: change.after.revision)
        }
    }

    private static func id(_ request: APIRequest) throws -> SubscriptionID {
        let text = try request.parameter("id")
        guard let id = SubscriptionID(text) else { throw CatalogFault.notFound(.subscription, text).problem }
        return id
    }

    private static func position(_ page: PageRequest) throws -> SubscriptionStore.Position? {
        guard let after = page.after else { return nil }
        guard after.count == 2, let tenant = Int64(after[0]), let id = SubscriptionID(after[1]) else {
            throw PageRequest.invalidCursor
        }
        return SubscriptionStore.Position(tenantID: TenantID(rawValue: tenant), id: id)
    }
}
