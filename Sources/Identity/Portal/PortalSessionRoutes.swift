import BillingCore
import HTTPTypes
import Postgres
import Web

/// `/tenants/{key}/portal-sessions`: an operator or the tenant's own backend lets somebody look at the tenant for a
/// while. A session has no more scopes than its maker.
struct PortalSessionRoutes: Sendable {
    let pool: PostgresPool
    let writes: IdempotentWrites
    let tenants: TenantDirectory
    let authentication: SecretAuthentication
    /// The URL of the page.
    let page: String

    func register(in operations: Operations) {
        let path = "/tenants/{key}/portal-sessions"
        operations.post(path, "createPortalSession", scope: .identityWrite) { try await create($0, $1) }
        operations.get(path, "listPortalSessions", scope: .identityWrite) { try await list($0, $1) }
        operations.delete("\(path)/{id}", "revokePortalSession", scope: .identityWrite) { try await revoke($0, $1) }
    }

    private func create(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let (tenantID, tenantKey) = try await tenant(request, context)
        let input = try PortalSessionInput(request)
        try context.principal.requireMayGrant(input.scopes)
        let now = context.clock.now()
        let token = APIKeyText(kind: .portalSession)
        let session = PortalSession(
            id: token.id,
            tenantID: tenantID,
            scopes: input.scopes,
            createdBy: context.principal.credentialID,
            createdAt: now,
            expiresAt: now.adding(seconds: input.seconds)
        )
        return try await writes.perform(request, context) { transaction in
            try PortalSessionStore.insert(session, secretHash: token.secretHash, in: transaction)
            let body = PortalSessionBody(session, tenantKey: tenantKey)
            try AuditLog.record(
                in: transaction,
                by: context,
                action: "portal_session.created",
                resource: ("portal_session", session.id),
                tenant: tenantID,
                after: body
            )
            var answer = try Answer.json(
                PortalSessionWithTokenBody(body, token: token, page: page),
                status: .created
            )
            answer.bearsSecret = true
            return answer
        }
    }

    private func list(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let query = request.query()
        let page = query.page()
        try query.finish()
        let (tenantID, tenantKey) = try await tenant(request, context)
        let sessions = try await PortalSessionStore.open(
            tenant: tenantID,
            at: context.clock.now(),
            after: page.after?.first,
            count: page.fetchCount,
            scope: context.databaseScope,
            pool: pool
        )
        return try .json(page.page(sessions) { [$0.id] }.map { PortalSessionBody($0, tenantKey: tenantKey) })
    }

    /// Revoking a session that is revoked already changes nothing and succeeds.
    private func revoke(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let (tenantID, tenantKey) = try await tenant(request, context)
        let id = try request.parameter("id")
        // Read before it is locked, because row-level security stands behind this reading.
        let isThere = try await PortalSessionStore.exists(
            id: id,
            tenant: tenantID,
            scope: context.databaseScope,
            pool: pool
        )
        guard isThere else { throw Problem.notFound("portal_session", id) }
        let now = context.clock.now()
        let answer = try await writes.perform(request, context) { transaction in
            guard let session = try PortalSessionStore.lock(id: id, tenant: tenantID, in: transaction) else {
                throw Problem.notFound("portal_session", id)
            }
            if session.revokedAt == nil {
                PortalSessionStore.revoke(session, at: now, in: transaction)
                var revoked = session
                revoked.revokedAt = now
                try AuditLog.record(
                    in: transaction,
                    by: context,
                    action: "portal_session.revoked",
                    resource: ("portal_session", id),
                    tenant: tenantID,
                    before: PortalSessionBody(session, tenantKey: tenantKey),
                    after: PortalSessionBody(revoked, tenantKey: tenantKey)
                )
            }
            return .noContent
        }
        authentication.forget(id: id)
        return answer
    }

    /// The tenant in the path, if the caller may know of it.
    private func tenant(_ request: APIRequest, _ context: RequestContext) async throws -> (TenantID, key: String) {
        let key = try context.tenantKey(in: request)
        guard let id = try await tenants.tenant(key), context.principal.mayAccess(tenant: id) else {
            throw Problem.notFound("tenant", key)
        }
        return (id, key)
    }
}
