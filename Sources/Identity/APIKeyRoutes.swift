import BillingCore
import Postgres
import Web

/// `/api/v1/api-keys`. A caller bound to a tenant sees, makes and changes keys of its tenant. Nobody makes, widens or
/// rotates a key that may do more than the caller itself; whoever may manage keys may revoke any it sees.
struct APIKeyRoutes: Sendable {
    let pool: PostgresPool
    let writes: IdempotentWrites
    let tenants: TenantDirectory
    let authentication: SecretAuthentication

    func register(in operations: Operations) {
        operations.post("/api-keys", "createApiKey", scope: .identityWrite) { try await create($0, $1) }
        operations.get("/api-keys", "listApiKeys", scope: .identityWrite) { try await list($0, $1) }
        operations.get("/api-keys/{id}", "getApiKey", scope: .identityWrite) { try await get($0, $1) }
        operations.patch("/api-keys/{id}", "updateApiKey", scope: .identityWrite) { try await update($0, $1) }
        operations.post("/api-keys/{id}/rotate", "rotateApiKey", scope: .identityWrite) { try await rotate($0, $1) }
        operations.delete("/api-keys/{id}", "revokeApiKey", scope: .identityWrite) { try await revoke($0, $1) }
    }

    private func create(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let now = context.clock.now()
        let new = try NewAPIKey(request, now: now)
        let tenantID = try await tenants.grantedTenant(named: new.tenantKey, by: context.principal)
        try context.principal.requireMayGrant(new.scopes, new.narrowing)
        let text = APIKeyText()
        let key = APIKey(
            id: text.id,
            tenantID: tenantID,
            name: new.name,
            scopes: new.scopes,
            narrowing: new.narrowing,
            origin: .api,
            createdAt: now,
            expiresAt: new.expiresAt
        )
        let tenantKey = try await tenantKey(of: key)
        return try await writes.perform(request, context) { transaction in
            try APIKeyStore.insert(key, secretHash: text.secretHash, in: transaction)
            let body = APIKeyBody(key, tenantKey: tenantKey)
            try Self.audit("created", key, by: context, after: body, in: transaction)
            var answer = try Answer.created(
                APIKeyWithSecretBody(body: body, key: text.text),
                location: "/api-keys/\(key.id)",
                revision: key.revision
            )
            answer.bearsSecret = true
            return answer
        }
    }

    private func list(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let query = request.query()
        let page = query.page()
        let asked = query.string("tenant")
        var filter = APIKeyStore.Filter(
            tenant: context.principal.tenantID,
            status: query.oneOf("status", APIKey.Status.self),
            unusedSince: query.instant("unused_since")
        )
        try query.finish()
        if let key = try context.tenantFilter(asked), filter.tenant == nil {
            guard let found = try await tenants.tenant(key) else { throw Problem.notFound("tenant", key) }
            filter.tenant = found
        }
        let rows = try await APIKeyStore.list(
            filter,
            at: context.clock.now(),
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
        try request.query().finish()
        let (key, tenantKey) = try await find(request, context)
        return try .json(APIKeyBody(key, tenantKey: tenantKey), revision: key.revision)
    }

    private func update(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let (seen, tenantKey) = try await find(request, context)
        let patch = try APIKeyPatch(request, now: context.clock.now())
        let answer = try await writes.perform(request, context) { transaction in
            let key = try lockChangeable(seen.id, request, context, transaction)
            let changed = patch.applied(to: key)
            try context.principal.requireMayGrant(changed.scopes, changed.narrowing)
            let body = APIKeyBody(changed, tenantKey: tenantKey)
            if changed.revision != key.revision {
                APIKeyStore.update(changed, in: transaction)
                let before = APIKeyBody(key, tenantKey: tenantKey)
                try Self.audit("updated", key, by: context, before: before, after: body, in: transaction)
            }
            return try .json(body, revision: changed.revision)
        }
        authentication.forget(id: seen.id)
        return answer
    }

    /// Gives the key a new secret. Whoever gets it can do what the key may do, so it must be within the caller's own.
    private func rotate(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let (seen, tenantKey) = try await find(request, context)
        let fields = try request.fields(emptyIsObject: true)
        let overlapSeconds: Int64 = fields.integer("overlap_seconds", in: 0...Self.maximumOverlapSeconds, default: 0)
        try fields.finish()
        // Here too: an answer that is repeated bears the secret, and a narrower token of its caller may ask for it.
        try context.principal.requireMayGrant(seen.scopes, seen.narrowing)
        let now = context.clock.now()
        let text = APIKeyText(id: seen.id)
        let answer = try await writes.perform(request, context) { transaction in
            let key = try lockChangeable(seen.id, request, context, transaction)
            try context.principal.requireMayGrant(key.scopes, key.narrowing)
            var rotated = key
            rotated.previousSecretExpiresAt = overlapSeconds == 0 ? nil : now.adding(seconds: overlapSeconds)
            rotated.revision += 1
            APIKeyStore.rotate(rotated, secretHash: text.secretHash, in: transaction)
            let body = APIKeyBody(rotated, tenantKey: tenantKey)
            let before = APIKeyBody(key, tenantKey: tenantKey)
            try Self.audit("rotated", key, by: context, before: before, after: body, in: transaction)
            var answer = try Answer.json(
                APIKeyWithSecretBody(body: body, key: text.text),
                revision: rotated.revision
            )
            answer.bearsSecret = true
            return answer
        }
        authentication.forget(id: seen.id)
        return answer
    }

    /// Revoking a key that is revoked already changes nothing and succeeds.
    private func revoke(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let (seen, tenantKey) = try await find(request, context)
        let now = context.clock.now()
        let answer = try await writes.perform(request, context) { transaction in
            let key = try lock(seen.id, request, context, transaction)
            if key.revokedAt == nil {
                var revoked = key
                revoked.revokedAt = now
                revoked.revision += 1
                APIKeyStore.update(revoked, in: transaction)
                let before = APIKeyBody(key, tenantKey: tenantKey)
                let after = APIKeyBody(revoked, tenantKey: tenantKey)
                try Self.audit("revoked", key, by: context, before: before, after: after, in: transaction)
            }
            return .noContent
        }
        authentication.forget(id: seen.id)
        return answer
    }
}

extension APIKeyRoutes {
    /// A month: who needs longer makes a second key.
    private static let maximumOverlapSeconds: Int64 = 30 * 24 * 60 * 60

    /// The key in the path, if the caller may know of it, and its tenant's key.
    private func find(_ request: APIRequest, _ context: RequestContext) async throws -> (APIKey, tenantKey: String?) {
        let id = try request.parameter("id")
        try request.query().finish()
        let key = try await APIKeyStore.get(
            id: id,
            tenant: context.principal.tenantID,
            scope: context.databaseScope,
            pool: pool
        )
        guard let key else { throw Problem.notFound("api_key", id) }
        return (key, try await tenantKey(of: key))
    }

    private func lock(
        _ id: String,
        _ request: APIRequest,
        _ context: RequestContext,
        _ transaction: borrowing Transaction
    ) throws -> APIKey {
        guard let key = try APIKeyStore.lock(id: id, tenant: context.principal.tenantID, in: transaction) else {
            throw Problem.notFound("api_key", id)
        }
        try request.ifMatch.require(key.revision)
        return key
    }

    /// The key locked, if it is one that still may change.
    private func lockChangeable(
        _ id: String,
        _ request: APIRequest,
        _ context: RequestContext,
        _ transaction: borrowing Transaction
    ) throws -> APIKey {
        let key = try lock(id, request, context, transaction)
        guard key.origin == .api else {
            throw Problem.conflict(
                code: "api_key_configured",
                detail: "This key is TURNPIKE_OPERATOR_KEY: change it in the service's configuration."
            )
        }
        guard key.revokedAt == nil else {
            throw Problem.conflict(code: "api_key_revoked", detail: "This key is revoked. Make a new one.")
        }
        return key
    }

    private func tenantKey(of key: APIKey) async throws -> String? {
        guard key.tenantID != .operatorWide else { return nil }
        return try await tenants.keys([key.tenantID])[key.tenantID]
    }

    private static func audit(
        _ what: String,
        _ key: APIKey,
        by context: RequestContext,
        before: APIKeyBody? = nil,
        after: APIKeyBody,
        in transaction: borrowing Transaction
    ) throws {
        try AuditLog.record(
            in: transaction,
            by: context,
            action: "api_key.\(what)",
            resource: ("api_key", key.id),
            tenant: key.tenantID,
            before: before,
            after: after
        )
    }
}
