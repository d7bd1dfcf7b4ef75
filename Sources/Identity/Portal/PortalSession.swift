import BillingCore
import Web

/// A short-lived credential for a tenant's own people: it reads what the portal shows, and nothing else. It does not
/// hold the secret, which nobody can show again.
struct PortalSession: Sendable {
    static let defaultSeconds: Int64 = 3_600
    static let allowedSeconds: ClosedRange<Int64> = 60...86_400

    let id: String
    let tenantID: TenantID
    let scopes: ScopeSet
    /// The credential that made it.
    let createdBy: String
    let createdAt: Instant
    let expiresAt: Instant
    var revokedAt: Instant?
}

/// The validated body of `POST /tenants/{key}/portal-sessions`.
struct PortalSessionInput: Sendable {
    let scopes: ScopeSet
    let seconds: Int64

    init(_ request: APIRequest) throws {
        let fields = try request.fields(emptyIsObject: true)
        seconds = fields.integer("ttl_seconds", in: PortalSession.allowedSeconds, default: PortalSession.defaultSeconds)
        let allowed = ScopePreset.portal.scopes
        var scopes: ScopeSet = []
        for (index, name) in fields.strings("scopes", minimumCount: fields.contains("scopes") ? 1 : 0).enumerated() {
            guard let scope = ScopeSet(name: name), scope.isSubset(of: allowed) else {
                let names = allowed.names.joined(separator: ", ")
                let detail = "a portal session may have \(names), not '\(name)'"
                fields.fault(at: "scopes/\(index)", code: "unknown_scope", detail: detail)
                continue
            }
            scopes.formUnion(scope)
        }
        self.scopes = fields.contains("scopes") ? scopes : allowed
        try fields.finish()
    }
}

/// How a session is answered. The audit log keeps this body, which bears no secret.
struct PortalSessionBody: Encodable, Sendable {
    let id: String
    let tenant: String
    let scopes: [String]
    let createdBy: String
    let createdAt: Instant
    let expiresAt: Instant
    let revokedAt: Instant?

    init(_ session: PortalSession, tenantKey: String) {
        id = session.id
        tenant = tenantKey
        scopes = session.scopes.names
        createdBy = session.createdBy
        createdAt = session.createdAt
        expiresAt = session.expiresAt
        revokedAt = session.revokedAt
    }
}

/// The body, and once the token and the page that takes it.
struct PortalSessionWithTokenBody: Encodable, Sendable {
    private enum CodingKeys: CodingKey {
        case token, url
    }

    let body: PortalSessionBody
    let token: String
    let url: String

    /// The page finds the token behind the `#`, which browsers send to no server: it stands in no access log and no
    /// `Referer`.
    init(_ body: PortalSessionBody, token: APIKeyText, page: String) {
        self.body = body
        self.token = token.text
        url = "\(page)#token=\(token.text)&tenant=\(body.tenant)"
    }

    func encode(to encoder: any Encoder) throws {
        try body.encode(to: encoder)
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(token, forKey: .token)
        try container.encode(url, forKey: .url)
    }
}
