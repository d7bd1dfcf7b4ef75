import BillingCore
import Postgres
import Web

/// `/api/v1/clients`. A caller bound to a tenant sees and makes clients of its tenant. Nobody makes, changes or gets
/// the secret of a client that may do more than itself.
struct OAuthClientRoutes: Sendable {
    let pool: PostgresPool
    let writes: IdempotentWrites
    let tenants: TenantDirectory
    /// Called with the id of a client that has changed, after the change.
    let changed: @Sendable (_ clientID: String) -> Void

    func register(in operations: Operations) {
        operations.post("/clients", "createClient", scope: .identityWrite) { try await create($0, $1) }
        operations.get("/clients", "listClients", scope: .identityWrite) { try await list($0, $1) }
        operations.get("/clients/{id}", "getClient", scope: .identityWrite) { try await get($0, $1) }
        operations.patch("/clients/{id}", "updateClient", scope: .identityWrite) { try await update($0, $1) }
        operations.delete("/clients/{id}", "revokeClient", scope: .identityWrite) { try await revoke($0, $1) }
        operations.post("/clients/{id}/rotate-secret", "rotateClientSecret", scope: .identityWrite) {
            try await rotate($0, $1)
        }
    }

    private func create(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let new = try NewOAuthClient(request)
        try context.principal.requireMayGrant(new.scopes, new.narrowing)
        let tenantID = try await tenants.grantedTenant(named: new.tenantKey, by: context.principal)
        let tenantKey = context.principal.tenantKey ?? new.tenantKey
        let now = context.clock.now()
        let client = OAuthClient(
            id: Base32.random(byteCount: 10),
            tenantID: tenantID,
            name: new.name,
            scopes: new.scopes,
            narrowing: new.narrowing,
            method: new.method,
            keys: new.keys,
            isEnabled: true,
            createdAt: now,
            updatedAt: now,
            revision: 1
        )
        let secret = new.method.usesSecret ? ClientSecret() : nil
        return try await writes.perform(request, context) { transaction in
            try OAuthClientStore.insert(client, secret: secret?.hash, in: transaction)
            let body = OAuthClientBody(client, tenantKey: tenantKey)
            try Self.record("created", client, after: body, context, in: transaction)
            var answer = try Answer.created(
                try body.showing(secret),
                location: "/clients/\(client.id)",
                revision: client.revision
            )
            answer.bearsSecret = secret != nil
            return answer
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
        let rows = try await OAuthClientStore.list(
            tenant: tenant,
            after: page.after?.first,
            count: page.fetchCount,
            scope: context.databaseScope,
            pool: pool
        )
        let clients = page.page(rows) { [$0.id] }
        let names = try await tenants.keys(Set(clients.data.map(\.tenantID)).subtracting([.operatorWide]))
        return try .json(clients.map { OAuthClientBody($0, tenantKey: names[$0.tenantID]) })
    }

    private func get(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        try request.query().finish()
        let client = try await client(request, context)
        return try .json(OAuthClientBody(client, tenantKey: try await tenantKey(of: client)), revision: client.revision)
    }

    private func update(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let patch = try OAuthClientPatch(request)
        return try await change(request, context) { client, tenantKey, now, transaction in
            guard client.revokedAt == nil else { throw Problem.revokedClient }
            var updated = try patch.applied(to: client)
            try context.principal.requireMayGrant(updated.scopes, updated.narrowing)
            let before = OAuthClientBody(client, tenantKey: tenantKey)
            guard try JSONValue(encoding: before) != JSONValue(encoding: OAuthClientBody(updated, tenantKey: tenantKey))
            else { return try .json(before, revision: client.revision) }
            updated.updatedAt = now
            updated.revision += 1
            OAuthClientStore.update(updated, in: transaction)
            let after = OAuthClientBody(updated, tenantKey: tenantKey)
            try Self.record("updated", client, before: before, after: after, context, in: transaction)
            return try .json(after, revision: updated.revision)
        }
    }

    /// Its tokens stop at once, and it gets no more. Doing it again changes nothing.
    private func revoke(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        return try await change(request, context) { client, tenantKey, now, transaction in
            guard client.revokedAt == nil else { return .noContent }
            var revoked = client
            revoked.revokedAt = now
            revoked.updatedAt = now
            revoked.revision += 1
            OAuthClientStore.update(revoked, in: transaction)
            try Self.record(
                "revoked",
                client,
                before: OAuthClientBody(client, tenantKey: tenantKey),
                after: OAuthClientBody(revoked, tenantKey: tenantKey),
                context,
                in: transaction
            )
            return .noContent
        }
    }

    private func rotate(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let rotation = try SecretRotation(request)
        let secret = ClientSecret()
        return try await change(request, context, showsSecret: true) { client, tenantKey, now, transaction in
            guard client.revokedAt == nil else { throw Problem.revokedClient }
            guard client.method.usesSecret else { throw Problem.clientWithoutSecret }
            try context.principal.requireMayGrant(client.scopes, client.narrowing)
            var rotated = client
            rotated.previousSecretExpiresAt = now.adding(seconds: rotation.overlapSeconds)
            rotated.updatedAt = now
            rotated.revision += 1
            OAuthClientStore.rotate(rotated, to: secret.hash, in: transaction)
            let after = OAuthClientBody(rotated, tenantKey: tenantKey)
            let before = OAuthClientBody(client, tenantKey: tenantKey)
            try Self.record("secret_rotated", client, before: before, after: after, context, in: transaction)
            var answer = try Answer.json(try after.showing(secret), revision: rotated.revision)
            answer.bearsSecret = true
            return answer
        }
    }

    private typealias Change =
        @Sendable (OAuthClient, _ tenantKey: String?, _ now: Instant, borrowing Transaction) throws -> Answer

    /// Runs a change on the locked client, when it is there for this caller and is the version it means.
    /// - Parameter showsSecret: whether the answer, also one that is repeated, is for those only who may grant what the
    ///   client may do: it may be asked for by a narrower token of the caller.
    private func change(
        _ request: APIRequest,
        _ context: RequestContext,
        showsSecret: Bool = false,
        _ work: @escaping Change
    ) async throws -> Answer {
        let seen = try await client(request, context)
        if showsSecret { try context.principal.requireMayGrant(seen.scopes, seen.narrowing) }
        let tenantKey = try await tenantKey(of: seen)
        let now = context.clock.now()
        let answer = try await writes.perform(request, context) { transaction in
            let tenant = context.principal.tenantID
            guard let client = try OAuthClientStore.lock(id: seen.id, tenant: tenant, in: transaction) else {
                throw Problem.notFound("client", seen.id)
            }
            try request.ifMatch.require(client.revision)
            return try work(client, tenantKey, now, transaction)
        }
        changed(seen.id)
        return answer
    }

    private func client(_ request: APIRequest, _ context: RequestContext) async throws -> OAuthClient {
        let id = try request.parameter("id")
        let client = try await OAuthClientStore.get(
            id: id,
            tenant: context.principal.tenantID,
            scope: context.databaseScope,
            pool: pool
        )
        guard let client else { throw Problem.notFound("client", id) }
        return client
    }

    private func tenantKey(of client: OAuthClient) async throws -> String? {
        guard client.tenantID != .operatorWide else { return nil }
        return try await tenants.keys([client.tenantID])[client.tenantID]
    }

    private static func record(
        _ what: String,
        _ client: OAuthClient,
        before: OAuthClientBody? = nil,
        after: OAuthClientBody,
        _ context: RequestContext,
        in transaction: borrowing Transaction
    ) throws {
        try AuditLog.record(
            in: transaction,
            by: context,
            action: "client.\(what)",
            resource: ("client", client.id),
            tenant: client.tenantID,
            before: before,
            after: after
        )
    }
}

extension Problem {
    fileprivate static let revokedClient = Problem.conflict(
        code: "client_revoked",
        detail: "This client is revoked, which can't be undone."
    )
    fileprivate static let clientWithoutSecret = Problem.conflict(
        code: "client_has_no_secret",
        detail: "This client authenticates with its own key; change \"jwks\" instead."
    )
}
