import BillingCore
import Postgres
import Web

/// `/subscriptions`.
struct SubscriptionRoutes: Sendable {
    let desk: CatalogDesk
    let service: SubscriptionService
    let invoices: UpcomingInvoiceAccess

    func register(in operations: Operations) {
        operations.get("/subscriptions", "listSubscriptions", scope: .subscriptionsRead) { try await list($0, $1) }
        operations.post("/subscriptions", "createSubscription", scope: .subscriptionsWrite) {
            try await create($0, $1)
        }
        operations.get("/subscriptions/{id}", "getSubscription", scope: .subscriptionsRead) { try await get($0, $1) }
        let one = "/subscriptions/{id}"
        operations.post("\(one)/change", "changeSubscription", scope: .subscriptionsWrite) { try await change($0, $1) }
        operations.post("\(one)/withdraw-changes", "withdrawSubscriptionChanges", scope: .subscriptionsWrite) {
            try await withdrawChanges($0, $1)
        }
        operations.post("\(one)/cancel", "cancelSubscription", scope: .subscriptionsWrite) { try await cancel($0, $1) }
        operations.post("\(one)/resume", "resumeSubscription", scope: .subscriptionsWrite) { try await resume($0, $1) }
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
            tenant: try await desk.catalog.tenantFilter(tenant, for: context)?.key,
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
        try request.query().finish()
        let id = try request.id(SubscriptionID.self, of: "subscription")
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
        if input.overrides != nil || input.trialDays != nil { try desk.requireOperator(context) }
        let id = SubscriptionID(rawValue: context.ids.next())
        let bound = context.principal.tenantID
        try await desk.catalog.pace.turn(of: context.principal)
        if input.isDryRun {
            return try await desk.preview(request, context) { transaction in
                let change = try service.create(input, id: id, boundTo: bound, now: now, in: transaction)
                return try preview(change, isNew: true, upcomingBefore: nil, now: now, in: transaction)
            }
        }
        let answer = try await desk.write(request, context) { transaction in
            let change = try service.create(input, id: id, boundTo: bound, now: now, in: transaction)
            let body = try Self.recorded(change, .created, by: context, now: now, in: transaction)
            let location = "/subscriptions/\(id)"
            return try .created(body, location: location, revision: change.after.revision)
        }
        desk.catalog.invalidate(tenantKey: input.tenant)
        return answer
    }

    private func change(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let input = try PlanChangeInput.read(try request.fields(), now: context.clock.now())
        if input.overrides != nil { try desk.requireOperator(context) }
        return try await act(.changed, isDryRun: input.isDryRun, request, context) { id, bound, now, transaction in
            try service.change(id, to: input, boundTo: bound, now: now, in: transaction) { subscription in
                try request.ifMatch.require(subscription.revision)
            }
        }
    }

    private func withdrawChanges(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let isDryRun = try Self.isDryRun(request)
        return try await act(.changesWithdrawn, isDryRun: isDryRun, request, context) { id, bound, now, transaction in
            try service.withdrawChanges(of: id, boundTo: bound, now: now, in: transaction) { subscription in
                try request.ifMatch.require(subscription.revision)
            }
        }
    }

    private func cancel(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let input = try CancellationInput.read(try request.fields(emptyIsObject: true), now: context.clock.now())
        return try await act(.cancelled, isDryRun: input.isDryRun, request, context) { id, bound, now, transaction in
            try service.cancel(id, at: input.time, boundTo: bound, now: now, in: transaction) { subscription in
                try request.ifMatch.require(subscription.revision)
            }
        }
    }

    private func resume(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let isDryRun = try Self.isDryRun(request)
        return try await act(.resumed, isDryRun: isDryRun, request, context) { id, bound, now, transaction in
            try service.resume(id, boundTo: bound, now: now, in: transaction) { subscription in
                try request.ifMatch.require(subscription.revision)
            }
        }
    }

    /// The body of an operation that asks nothing else.
    private static func isDryRun(_ request: APIRequest) throws -> Bool {
        let fields = try request.fields(emptyIsObject: true)
        let isDryRun = fields.bool("dry_run", default: false)
        try fields.finish()
        return isDryRun
    }

    private static func position(_ page: PageRequest) throws -> SubscriptionStore.Position? {
        guard let after = page.after else { return nil }
        guard after.count == 2, let tenant = Int64(after[0]), let id = SubscriptionID(after[1]) else {
            throw PageRequest.invalidCursor
        }
        return SubscriptionStore.Position(tenantID: TenantID(rawValue: tenant), id: id)
    }
}
