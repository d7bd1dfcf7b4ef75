import BillingCore
import Postgres
import Web

/// `/api/v1/api-keys`. A caller bound to a tenant sees and revokes the keys of its tenant; only an operator-wide one
/// makes keys, and none with a scope it does not have itself.
struct APIKeyRoutes: Sendable {
    let pool: PostgresPool
    let writes: IdempotentWrites
    let tenants: TenantDirectory
    let authentication: APIKeyAuthentication

    func register(in operations: Operations) {
        operations.post("/api-keys", "createApiKey", scope: .identityWrite) { try await create($0, $1) }
        operations.get("/api-keys", "listApiKeys", scope: .identityWrite) { try await list($0, $1) }
        operations.get("/api-keys/{id}", "getApiKey", scope: .identityWrite) { try await get($0, $1) }
        operations.delete("/api-keys/{id}", "revokeApiKey", scope: .identityWrite) { try await revoke($0, $1) }
    }

    private func create(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let now = context.clock.now()
        let new = try NewAPIKey(request, now: now)
        try Self.requireMayGrant(new.scopes, context.principal)
        let tenantID = try await tenant(named: new.tenantKey)
        let text = APIKeyText()
        let key = APIKey(
            id: text.id,
            tenantID: tenantID,
            name: new.name,
            scopes: new.scopes,
            origin: .api,
            createdAt: now,
            expiresAt: new.expiresAt
        )
        return try await writes.perform(request, context) { transaction in
            try APIKeyStore.insert(key, secretHash: text.secretHash, in: transaction)
            let body = APIKeyBody(key, tenantKey: new.tenantKey)
            try AuditLog.record(
                in: transaction,
                by: context,
                action: "api_key.created",
                resource: ("api_key", key.id),
                tenant: tenantID,
                after: body
            )
            var answer = try Answer.created(
                CreatedAPIKeyBody(body, key: text.text),
                location: "\(Operations.basePath)/api-keys/\(key.id)"
            )
            answer.bearsSecret = true
            return answer
        }
    }

    private func tenant(named key: String?) async throws -> TenantID {
        guard let key else { return .operatorWide }
        guard let tenant = try await tenants.tenant(key) else {
            throw Problem.validationFailed([
                Problem.Fault(pointer: "/tenant", code: "unknown_tenant", detail: "There is no tenant '\(key)'.")
            ])
        }
        return tenant
    }

    private static func requireMayGrant(_ scopes: ScopeSet, _ principal: Principal) throws(Problem) {
        guard principal.isOperatorWide else {
            throw .forbidden(
                code: "operator_only",
                detail: "Keys are made by an operator's credential; this one is bound to a tenant."
            )
        }
        let beyond = scopes.subtracting(principal.scopes)
        guard beyond.isEmpty else {
            throw .forbidden(
                code: "scope_not_held",
                detail: "This credential can't grant what it does not have: \(beyond.names.joined(separator: ", "))."
            )
        }
    }

    private func list(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let query = request.query()
        let page = query.page()
        let asked = query.string("tenant")
        try query.finish()
        var tenant = context.principal.tenantID
        if let key = try context.tenantFilter(asked), tenant == nil {
            guard let found = try await tenants.tenant(key) else { throw Problem.notFound("tenant", key) }
            tenant = found
        }
        let rows = try await APIKeyStore.list(
            tenant: tenant,
            after: page.after?.first,
            count: page.fetchCount,
            scope: context.databaseScope,
            pool: pool
        )
        let keys = page.page(rows) { [$0.id] }
        let names = try await tenants.keys(Set(keys.data.map(\.tenantID)).subtracting([.operatorWide]))
        return try .json(keys.map { APIKeyBody($0, tenantKey: names[$0.tenantID]) })
    }

    private func get(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let id = try request.parameter("id")
        try request.query().finish()
        let key = try await key(id, context)
        return try .json(APIKeyBody(key, tenantKey: try await tenantKey(of: key)))
    }

    private func key(_ id: String, _ context: RequestContext) async throws -> APIKey {
        let key = try await APIKeyStore.get(
            id: id,
            tenant: context.principal.tenantID,
            scope: context.databaseScope,
            pool: pool
        )
        guard let key else { throw Problem.notFound("api_key", id) }
        return key
    }

    /// Revoking a key that is revoked already changes nothing and succeeds.
    private func revoke(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let id = try request.parameter("id")
        try request.query().finish()
        let seen = try await key(id, context)
        let tenantKey = try await tenantKey(of: seen)
        let now = context.clock.now()
        let answer = try await writes.perform(request, context) { transaction in
            guard let key = try APIKeyStore.lock(id: id, tenant: context.principal.tenantID, in: transaction) else {
                throw Problem.notFound("api_key", id)
            }
            if key.revokedAt == nil {
                try APIKeyStore.revoke(key, at: now, in: transaction)
                try AuditLog.record(
                    in: transaction,
                    by: context,
                    action: "api_key.revoked",
                    resource: ("api_key", id),
                    tenant: key.tenantID,
                    before: APIKeyBody(key, tenantKey: tenantKey),
                    after: APIKeyBody(key.revoked(at: now), tenantKey: tenantKey)
                )
            }
            return .noContent
        }
        authentication.forget(keyID: id)
        return answer
    }

    private func tenantKey(of key: APIKey) async throws -> String? {
        guard key.tenantID != .operatorWide else { return nil }
        return try await tenants.keys([key.tenantID])[key.tenantID]
    }
}

extension APIKey {
    fileprivate func revoked(at now: Instant) -> APIKey {
        APIKey(
            id: id,
            tenantID: tenantID,
            name: name,
            scopes: scopes,
            origin: origin,
            createdAt: createdAt,
            expiresAt: expiresAt,
            revokedAt: now
        )
    }
}
