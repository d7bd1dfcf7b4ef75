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

    /// What a key is at a moment; the filter `status` of the list.
    package enum Status: String, Sendable, CaseIterable {
        case active, expired, revoked
    }

    package let id: String
    /// `TenantID.operatorWide` for a key that is bound to no tenant.
    package let tenantID: TenantID
    package var name: String
    package var scopes: ScopeSet
    package var narrowing: CredentialNarrowing
    package let origin: Origin
    package let createdAt: Instant
    package var expiresAt: Instant?
    package var revokedAt: Instant?
    /// When it was used last, to about a minute.
    package var lastUsedAt: Instant?
    /// Until when the secret before the last rotation works too.
    package var previousSecretExpiresAt: Instant?
    package var revision: Int64

    package init(
        id: String,
        tenantID: TenantID,
        name: String,
        scopes: ScopeSet,
        narrowing: CredentialNarrowing = .none,
        origin: Origin,
        createdAt: Instant,
        expiresAt: Instant?,
        revokedAt: Instant? = nil,
        lastUsedAt: Instant? = nil,
        previousSecretExpiresAt: Instant? = nil,
        revision: Int64 = 1
    ) {
        self.id = id
        self.tenantID = tenantID
        self.name = name
        self.scopes = scopes
        self.narrowing = narrowing
        self.origin = origin
        self.createdAt = createdAt
        self.expiresAt = expiresAt
        self.revokedAt = revokedAt
        self.lastUsedAt = lastUsedAt
        self.previousSecretExpiresAt = previousSecretExpiresAt
        self.revision = revision
    }
}

/// How a key is answered. `key` is the whole text and is there only in the answer that makes or rotates it.
struct APIKeyBody: Encodable, Sendable {
    let id: String
    let name: String
    let scopes: [String]
    let tenant: String?
    let models: [String]?
    let features: [String]?
    let dataClasses: [String]?
    let costCenter: String?
    let createdAt: Instant
    let expiresAt: Instant?
    let revokedAt: Instant?
    let lastUsedAt: Instant?
    let previousSecretExpiresAt: Instant?

    init(_ key: APIKey, tenantKey: String?) {
        id = key.id
        name = key.name
        scopes = key.scopes.names
        tenant = tenantKey
        models = key.narrowing.models
        features = key.narrowing.features
        dataClasses = key.narrowing.dataClasses
        costCenter = key.narrowing.costCenter
        createdAt = key.createdAt
        expiresAt = key.expiresAt
        revokedAt = key.revokedAt
        lastUsedAt = key.lastUsedAt
        previousSecretExpiresAt = key.previousSecretExpiresAt
    }
}

/// The body, and once the secret.
struct APIKeyWithSecretBody: Encodable, Sendable {
    private enum CodingKeys: CodingKey {
        case key
    }

    let body: APIKeyBody
    let key: String

    func encode(to encoder: any Encoder) throws {
        try body.encode(to: encoder)
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(key, forKey: .key)
    }
}
