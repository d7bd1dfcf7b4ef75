import BillingCore
import HTTPTypes
import Postgres
import Web

/// `POST /oauth/introspect` (RFC 7662) and `POST /oauth/revoke` (RFC 7009).
///
/// A client asks about its own tokens. A client or another credential with `identity:write` asks about the tokens of
/// its tenant, or about all if it is bound to none. Any other token is to them like a text that is no token.
struct TokenStateRoutes: Sendable {
    /// Gives the principal of an `Authorization: Bearer`.
    typealias BearerJudge = @Sendable (String, IPAddress) async throws -> Principal

    let pool: PostgresPool
    let clients: ClientAuthentication
    let authentication: AccessTokenAuthentication
    let bearer: BearerJudge
    let settings: OAuthSettings
    let metrics: OAuthMetrics

    func introspect(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let form = try OAuthForm(request)
        let caller = try await caller(request, form, context)
        defer { withExtendedLifetime(caller.place) {} }
        guard let (token, client) = try await known(try form.required("token"), to: caller) else {
            return try Answer.json(JSONValue.members(["active": .bool(false)])).uncached
        }
        let state = [
            JSONMember(name: "active", value: .bool(true)), JSONMember(name: "token_type", value: .string("Bearer")),
        ]
        let members = state + token.claims(issuer: settings.issuer, held: client.scopes)
        return try Answer.json(JSONValue.object(members.sorted { $0.name < $1.name })).uncached
    }

    /// The answer is the same whatever the token was (RFC 7009, section 2.2).
    func revoke(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let form = try OAuthForm(request)
        let caller = try await caller(request, form, context)
        defer { withExtendedLifetime(caller.place) {} }
        if let (token, client) = try await known(try form.required("token"), to: caller) {
            let author = AuditAuthor(
                credentialID: caller.credentialID,
                requestID: context.requestID,
                id: context.ids.next(),
                occurredAt: context.clock.now()
            )
            let isNew = try await pool.transaction(.interactive, retries: .idempotent(attempts: 3)) { transaction in
                try Self.revoke(token, of: client, by: author, in: transaction)
            }
            authentication.forget(tokenID: token.id.description)
            if isNew { metrics.revokedToken() }
        }
        return Answer(status: .ok).uncached
    }

    private static func revoke(
        _ token: AccessToken,
        of client: OAuthClient,
        by author: AuditAuthor,
        in transaction: borrowing Transaction
    ) throws -> Bool {
        let now = author.occurredAt
        guard try RevokedTokenStore.insert(token, tenant: client.tenantID, at: now, in: transaction) else {
            return false
        }
        try AuditLog.record(
            in: transaction,
            by: author,
            action: "token.revoked",
            resource: ("token", token.id.description),
            tenant: client.tenantID,
            before: RecordedToken(token)
        )
        return true
    }

    /// Who asks, and about which tokens it may.
    private struct Caller {
        let credentialID: String
        /// Its own tokens' client.
        let clientID: String?
        /// Whether it keeps the credentials of its tenant, or of all.
        let keepsCredentials: Bool
        let tenantID: TenantID?
        let place: TenantPlaces.Place?

        func mayJudge(tokenOf client: OAuthClient) -> Bool {
            if client.id == clientID { return true }
            return keepsCredentials && (tenantID == nil || tenantID == client.tenantID)
        }
    }

    private func caller(_ request: APIRequest, _ form: OAuthForm, _ context: RequestContext) async throws -> Caller {
        if let field = request.headers[.authorization], field.lowercased().hasPrefix("bearer ") {
            let principal = try await bearer(String(field.dropFirst("bearer ".count)), context.clientAddress)
            guard principal.scopes.contains(.identityWrite) else {
                throw Problem.insufficientScope(needed: .identityWrite)
            }
            return Caller(
                credentialID: principal.credentialID,
                clientID: nil,
                keepsCredentials: true,
                tenantID: principal.tenantID,
                place: try context.place(for: principal.tenantID)
            )
        }
        let (client, place) = try await clients.client(request, form, context)
        return Caller(
            credentialID: client.credentialID,
            clientID: client.id,
            keepsCredentials: client.scopes.contains(.identityWrite),
            tenantID: client.boundTenantID,
            place: place
        )
    }

    /// The token, if it is good and the caller may know of it.
    private func known(_ text: String, to caller: Caller) async throws -> (AccessToken, OAuthClient)? {
        do {
            let (token, client) = try await authentication.token(of: text)
            return caller.mayJudge(tokenOf: client) ? (token, client) : nil
        } catch is JWTFault {
            return nil
        }
    }
}
