import BillingCore
import Identity
import Postgres
import Web

/// `/tenants`.
struct TenantRoutes: Sendable {
    let desk: CatalogDesk
    let taxed: TaxedInvoiceAccess

    func register(in operations: Operations) {
        operations.get("/tenants", "listTenants", scope: .tenantsRead) { try await list($0, $1) }
        operations.post("/tenants", "createTenant", scope: .tenantsWrite) { try await create($0, $1) }
        operations.get("/tenants/{key}", "getTenant", scope: .tenantsRead) { try await get($0, $1) }
        operations.patch("/tenants/{key}", "updateTenant", scope: .tenantsWrite) { try await update($0, $1) }
        operations.post("/tenants/{key}/suspend", "suspendTenant", scope: .tenantsWrite) { request, context in
            try await set(.suspended, action: "suspended", request, context)
        }
        operations.post("/tenants/{key}/resume", "resumeTenant", scope: .tenantsWrite) { request, context in
            try await set(.active, action: "resumed", request, context)
        }
    }

    private func list(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let query = request.query()
        let page = query.page()
        let status = query.oneOf("status", TenantStatus.self)
        try query.finish()
        let bound = context.principal.tenantID
        let tenants = try await desk.read(context) { transaction in
            try TenantStore.list(
                boundTo: bound,
                status: status,
                after: page.afterKey,
                limit: page.fetchCount,
                in: transaction
            )
        }
        return try .json(page.page(tenants) { [$0.key] }.map(TenantBody.init))
    }

    private func get(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        try request.query().finish()
        let key = try context.tenantKey(in: request)
        let tenant = try await desk.read(context) { try TenantStore.find(key: key, in: $0) }
        guard let tenant else { throw CatalogFault.notFound(.tenant, key).problem }
        return try .json(TenantBody(tenant), revision: tenant.revision)
    }

    private func create(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        try desk.requireOperator(context)
        let input = try TenantInput.read(try request.fields())
        let now = context.clock.now()
        return try await desk.write(request, context) { transaction in
            let tenant = Tenant(input, id: try TenantStore.nextID(in: transaction), now: now)
            try TenantService.create(tenant, subjects: input.subjects, in: transaction)
            let body = try TenantBody(tenant)
            try CatalogDesk.audit(
                "created",
                .tenant,
                tenant.key,
                by: context,
                after: body,
                tenant: tenant.id,
                in: transaction
            )
            return try .created(body, location: "/tenants/\(tenant.key)", revision: tenant.revision)
        }
    }

    private func update(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let key = try context.tenantKey(in: request)
        try desk.requireOperator(context)
        let patch = try TenantPatch.read(try request.json(), key: key)
        let positions = patch.subjects ?? []
        return try await change(key, "updated", request, context) { tenant, now, transaction in
            var changed = patch.applied(to: tenant)
            if let metadata = patch.metadata,
                try TenantStore.hasMetadata(metadata, of: tenant.id, in: transaction)
            {
                changed.metadata = tenant.metadata
            }
            let before = try JSONValue(encoding: TenantBody(tenant)).bytes
            guard try JSONValue(encoding: TenantBody(changed)).bytes != before else { return tenant }
            changed.updatedAt = now
            changed.revision += 1
            try TenantService.update(tenant, to: changed, subjects: positions, taxed: taxed, in: transaction)
            return changed
        }
    }

    private func set(
        _ status: TenantStatus,
        action: String,
        _ request: APIRequest,
        _ context: RequestContext
    ) async throws -> Answer {
        let key = try context.tenantKey(in: request)
        try desk.requireOperator(context)
        try request.fields(emptyIsObject: true).finish()
        return try await change(key, action, request, context) { tenant, now, transaction in
            guard tenant.status != status else { return tenant }
            var changed = tenant
            changed.status = status
            changed.updatedAt = now
            changed.revision += 1
            try TenantStore.update(changed, in: transaction)
            CredentialChanges.announce(tenant: changed.id, in: transaction)
            return changed
        }
    }

    /// Changes a tenant under its ledger lock; one that stays as it was leaves no audit row.
    private func change(
        _ key: String,
        _ action: String,
        _ request: APIRequest,
        _ context: RequestContext,
        _ work: @escaping @Sendable (Tenant, Instant, borrowing Transaction) throws -> Tenant
    ) async throws -> Answer {
        let now = context.clock.now()
        let answer = try await desk.write(request, context) { transaction in
            let tenant = try TenantService.lock(key, in: transaction)
            try request.ifMatch.require(tenant.revision)
            let changed = try work(tenant, now, transaction)
            let body = try TenantBody(changed)
            if changed.revision != tenant.revision {
                try CatalogDesk.audit(
                    action,
                    .tenant,
                    key,
                    by: context,
                    before: try TenantBody(tenant),
                    after: body,
                    tenant: tenant.id,
                    in: transaction
                )
            }
            return try .json(body, revision: changed.revision)
        }
        desk.catalog.invalidate(tenantKey: key)
        return answer
    }
}
