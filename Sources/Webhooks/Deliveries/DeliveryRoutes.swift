import BillingCore
import HTTPTypes
import Identity
import Postgres
import Web

/// `/api/v1/deliveries`: what was told to whom. A caller bound to a tenant sees those of its tenant's endpoints.
struct DeliveryRoutes: Sendable {
    private static let resource = "delivery"

    let pool: PostgresPool
    let writes: IdempotentWrites
    let tenants: TenantDirectory
    let pace: ChangePace

    func register(in operations: Operations) {
        operations.get("/deliveries", "listDeliveries", scope: .webhooksRead) { try await list($0, $1) }
        operations.get("/deliveries/{id}", "getDelivery", scope: .webhooksRead) { try await get($0, $1) }
        operations.post("/deliveries/{id}/retry", "retryDelivery", scope: .webhooksWrite) { try await retry($0, $1) }
    }

    private func list(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let query = request.query()
        let page = query.page()
        let asked = query.string("tenant")
        var filter = DeliveryLog.Filter(
            endpointKey: query.string("endpoint"),
            status: query.oneOf("status", DeliveryStatus.self),
            eventType: query.oneOf("event_type", WebhookEventType.self)?.rawValue
        )
        try query.finish()
        let owner = try await EndpointOwner(named: asked, context, tenants)
        // The key of an endpoint is one of its owner's.
        filter.tenant = owner.key == nil && filter.endpointKey == nil ? nil : owner.tenant
        if let key = filter.endpointKey {
            let id = WebhookEndpointID(tenant: owner.tenant, key: key)
            guard try await WebhookEndpointStore.find(id, scope: context.databaseScope, pool: pool) != nil else {
                throw Problem.noWebhookEndpoint(key, of: owner, context)
            }
        }
        let rows = try await DeliveryLog.list(
            filter,
            before: try page.position(WebhookDeliveryID.self),
            count: page.fetchCount,
            scope: context.databaseScope,
            pool: pool
        )
        let deliveries = page.page(rows) { [$0.id.description] }
        let keys = try await tenants.keys(Set(deliveries.data.map(\.endpoint.tenant)).subtracting([.operatorWide]))
        return try .json(deliveries.map { DeliveryBody($0, tenantKey: keys[$0.endpoint.tenant]) })
    }

    private func get(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        try request.query().finish()
        let (detail, tenantKey) = try await delivery(request, context)
        return try .json(try DeliveryDetailBody(detail, tenantKey: tenantKey))
    }

    /// Tries it again at once, whatever became of it; its `webhook-id` stays what it was.
    private func retry(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        try request.fields(emptyIsObject: true).finish()
        let (seen, tenantKey) = try await delivery(request, context)
        let (id, endpoint) = (seen.delivery.id, seen.delivery.endpoint)
        try await pace.turn(of: context.principal)
        let now = context.clock.now()
        return try await writes.perform(request, context) { transaction in
            let target = try WebhookEndpointStore.lock(endpoint, in: transaction)
            guard target?.isEnabled ?? true else { throw Problem.disabledEndpoint }
            guard target?.kind != .email || context.principal.isOperatorWide else { throw Problem.mailIsForOperators }
            guard let delivery = try DeliveryLog.retry(id, of: endpoint.tenant, at: now, in: transaction) else {
                throw Problem.notFound(Self.resource, id.description)
            }
            let body = DeliveryBody(delivery, tenantKey: tenantKey)
            try AuditLog.record(
                in: transaction,
                by: context,
                action: "delivery.retried",
                resource: (Self.resource, id.description),
                tenant: endpoint.tenant,
                before: DeliveryBody(seen.delivery, tenantKey: tenantKey),
                after: body
            )
            return try .json(body, status: .accepted)
        }
    }

    private func delivery(
        _ request: APIRequest,
        _ context: RequestContext
    ) async throws -> (DeliveryLog.Detail, tenantKey: String?) {
        let id = try request.id(WebhookDeliveryID.self, of: Self.resource)
        let (tenant, scope) = (context.principal.tenantID, context.databaseScope)
        guard let detail = try await DeliveryLog.detail(id, tenant: tenant, scope: scope, pool: pool) else {
            throw Problem.notFound(Self.resource, id.description)
        }
        let owner = detail.delivery.endpoint.tenant
        let key = owner == .operatorWide ? nil : try await tenants.keys([owner])[owner]
        return (detail, key)
    }
}
