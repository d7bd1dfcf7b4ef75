import BillingCore
import HTTPTypes
import Logging
import Postgres
import Web

/// `POST /oauth/token` (RFC 6749, section 4.4): a client gets a token for itself.
struct TokenRoutes: Sendable {
    let pool: PostgresPool
    let clients: ClientAuthentication
    let authentication: AccessTokenAuthentication
    let tenants: TenantDirectory
    let ring: SigningKeyRing
    let settings: OAuthSettings
    let metrics: OAuthMetrics

    func issue(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let form = try OAuthForm(request)
        let now = context.clock.now()
        let (client, place) = try await clients.client(request, form, context)
        defer { withExtendedLifetime(place) {} }
        guard try form.required("grant_type") == "client_credentials" else {
            throw OAuthError(.unsupportedGrantType, "The only grant_type here is client_credentials.")
        }
        let scopes = try Self.scopes(form["scope"], of: client)
        guard let signer = ring.signer(at: now) else { throw Problem.noSigningKey }
        let isBound = client.tenantID != .operatorWide
        let token = AccessToken(
            id: context.ids.next(),
            clientID: client.id,
            scopes: scopes,
            tenantKey: isBound ? try await tenants.standing(client.tenantID)?.key : nil,
            now: now,
            lifetimeSeconds: settings.tokenSeconds
        )
        let text = try signer.sign(.object(token.claims(issuer: settings.issuer)), type: AccessToken.type)
        try await record(token, to: client, context)
        authentication.note(issued: text)
        metrics.issuedToken(to: client)
        context.logger.info(
            "token issued",
            metadata: ["credential_id": .string(client.credentialID), "token_id": .string(token.id.description)]
        )
        return try Answer.json(
            Issued(accessToken: text, expiresIn: settings.tokenSeconds, scope: scopes.names.joined(separator: " "))
        ).uncached
    }

    /// No token goes out that the audit log does not name.
    private func record(_ token: AccessToken, to client: OAuthClient, _ context: RequestContext) async throws {
        let author = AuditAuthor(
            credentialID: client.credentialID,
            requestID: context.requestID,
            id: context.ids.next(),
            occurredAt: context.clock.now()
        )
        try await pool.transaction(.interactive) { transaction in
            try AuditLog.record(
                in: transaction,
                by: author,
                action: "token.issued",
                resource: ("token", token.id.description),
                tenant: client.tenantID,
                after: RecordedToken(token)
            )
        }
    }

    private struct Issued: Encodable {
        let accessToken: String
        let tokenType = "Bearer"
        let expiresIn: Int64
        let scope: String
    }

    /// Those asked for, or all the client has.
    private static func scopes(_ text: String?, of client: OAuthClient) throws(OAuthError) -> ScopeSet {
        guard let text else { return client.scopes }
        var asked: ScopeSet = []
        for name in text.split(separator: " ") {
            guard let scopes = ScopeSet(name: String(name)) else {
                throw OAuthError(.invalidScope, "A scope that was asked for does not exist.")
            }
            asked.formUnion(scopes)
        }
        guard !asked.isEmpty, asked.isSubset(of: client.scopes) else {
            throw OAuthError(.invalidScope, "The client does not have every scope that was asked for.")
        }
        return asked
    }
}

extension Problem {
    /// For a moment after a start whose keys could not be made.
    fileprivate static let noSigningKey = Problem(
        .serviceUnavailable,
        code: "no_signing_key",
        detail: "There is no key to sign tokens with yet.",
        headers: [.retryAfter: "1"]
    )
}
