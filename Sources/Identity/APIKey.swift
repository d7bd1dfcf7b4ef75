package import BillingCore
package import Web

/// A stored API key. It does not hold the secret, which nobody can show again.
package struct APIKey: Sendable {
    package enum Origin: String, Sendable {
        /// Made through the API.
        case api
        /// `TURNPIKE_OPERATOR_KEY`.
        case environment
    }

    package let id: String
    /// `TenantID.operatorWide` for a key that is bound to no tenant.
    package let tenantID: TenantID
    package let name: String
    package let scopes: ScopeSet
    package let origin: Origin
    package let createdAt: Instant
    package let expiresAt: Instant?
    package let revokedAt: Instant?

    package init(
        id: String,
        tenantID: TenantID,
        name: String,
        scopes: ScopeSet,
        origin: Origin,
        createdAt: Instant,
        expiresAt: Instant?,
        revokedAt: Instant? = nil
    ) {
        self.id = id
        self.tenantID = tenantID
        self.name = name
        self.scopes = scopes
        self.origin = origin
        self.createdAt = createdAt
        self.expiresAt = expiresAt
        self.revokedAt = revokedAt
    }

    func isValid(at now: Instant) -> Bool {
        revokedAt == nil && (expiresAt.map { now < $0 } ?? true)
    }
}

/// The validated body of `POST /api/v1/api-keys`.
struct NewAPIKey: Sendable {
    let name: String
    let scopes: ScopeSet
    let tenantKey: String?
    let expiresAt: Instant?

    init(_ request: APIRequest, now: Instant) throws {
        let fields = try request.fields()
        name = fields.string("name", maximumLength: 200)
        var scopes: ScopeSet = []
        for (index, scope) in fields.strings("scopes", minimumCount: 1).enumerated() {
            guard let known = ScopeSet(name: scope) else {
                let nearest = Nearest.name(to: scope, among: Scope.allCases.map(\.rawValue))
                let hint = nearest.map { "; do you mean '\($0)'?" } ?? ""
                fields.fault(
                    at: "scopes/\(index)",
                    code: "unknown_scope",
                    detail: "there is no scope '\(scope)'\(hint)"
                )
                continue
            }
            scopes.formUnion(known)
        }
        self.scopes = scopes
        tenantKey = fields.optionalKey("tenant")
        expiresAt = fields.optionalInstant("expires_at")
        if let expiresAt, expiresAt <= now {
            fields.fault(at: "expires_at", code: "in_the_past", detail: "\"expires_at\" must be in the future")
        }
        try fields.finish()
    }
}

/// How a key is answered. `key` is the whole text and is there only in the answer that creates it.
struct APIKeyBody: Encodable, Sendable {
    let id: String
    let name: String
    let scopes: [String]
    let tenant: String?
    let createdAt: Instant
    let expiresAt: Instant?
    let revokedAt: Instant?

    init(_ key: APIKey, tenantKey: String?) {
        id = key.id
        name = key.name
        scopes = key.scopes.names
        tenant = tenantKey
        createdAt = key.createdAt
        expiresAt = key.expiresAt
        revokedAt = key.revokedAt
    }
}

struct CreatedAPIKeyBody: Encodable, Sendable {
    let id: String
    let name: String
    let scopes: [String]
    let tenant: String?
    let createdAt: Instant
    let expiresAt: Instant?
    let revokedAt: Instant?
    let key: String

    init(_ body: APIKeyBody, key: String) {
        id = body.id
        name = body.name
        scopes = body.scopes
        tenant = body.tenant
        createdAt = body.createdAt
        expiresAt = body.expiresAt
        revokedAt = body.revokedAt
        self.key = key
    }
}
