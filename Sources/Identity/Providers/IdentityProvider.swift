import BillingCore
import Web

/// An issuer whose tokens are believed, and what they may do. A token is always bound to one tenant: nobody becomes an
/// operator by a token of somebody else's.
struct IdentityProvider: Sendable {
    /// How a token's tenant is found.
    enum TenantRule: Sendable, Equatable {
        /// The same for every token of the provider.
        case fixed(key: String)
        /// Named by a claim: a tenant's key, or a subject registered for it.
        case claim(String)
    }

    static let maximumLeewaySeconds: Int64 = 300

    let key: String
    let issuer: String
    let jwksURI: String
    let audiences: [String]
    let algorithms: [SignatureAlgorithm]
    let tenant: TenantRule
    /// The keys of the tenants that a token may be bound to; nil for any.
    let tenants: Set<String>?
    /// The claim whose values `scopeMapping` translates: text with spaces between, or a list.
    let scopeClaim: String?
    let scopeMapping: [String: ScopeSet]
    let defaultScopes: ScopeSet
    /// No token has more.
    let allowedScopes: ScopeSet
    let leewaySeconds: Int64
    let isEnabled: Bool
    var createdAt: Instant
    var updatedAt: Instant
    var revision: Int64

    /// Whether a verified token may be bound to this tenant.
    func mayName(tenant key: String) -> Bool {
        if case .fixed(let fixed) = tenant { return key == fixed }
        return tenants?.contains(key) ?? true
    }

    /// What a verified token may do.
    func scopes(of claims: JWTClaims) -> ScopeSet {
        var scopes = defaultScopes
        if let scopeClaim {
            for value in claims.words(scopeClaim) {
                if let mapped = scopeMapping[value] { scopes.formUnion(mapped) }
            }
        }
        return scopes.intersection(allowedScopes)
    }
}

extension JWTClaims {
    /// The words of a claim that is one text with spaces between them or a list of texts.
    func words(_ name: String) -> [String] {
        switch json[name] {
        case .string(let text): text.split(separator: " ").map(String.init)
        case .array(let elements):
            elements.compactMap { if case .string(let text) = $0 { text } else { nil } }
        default: []
        }
    }
}

/// How a provider is answered, audited and stored.
struct IdentityProviderBody: Encodable, Sendable {
    let key: String
    let issuer: String
    let jwksURI: String
    let audiences: [String]
    let algorithms: [String]
    let tenant: String?
    let tenantClaim: String?
    let tenants: [String]?
    let scopeClaim: String?
    let scopeMapping: [String: [String]]
    let defaultScopes: [String]
    let allowedScopes: [String]
    let leewaySeconds: Int64
    let enabled: Bool
    let createdAt: Instant
    let updatedAt: Instant

    init(_ provider: IdentityProvider) {
        key = provider.key
        issuer = provider.issuer
        jwksURI = provider.jwksURI
        audiences = provider.audiences
        algorithms = provider.algorithms.map(\.rawValue)
        switch provider.tenant {
        case .fixed(let key): (tenant, tenantClaim) = (key, nil)
        case .claim(let name): (tenant, tenantClaim) = (nil, name)
        }
        tenants = provider.tenants?.sorted()
        scopeClaim = provider.scopeClaim
        scopeMapping = provider.scopeMapping.mapValues(\.names)
        defaultScopes = provider.defaultScopes.names
        allowedScopes = provider.allowedScopes.names
        leewaySeconds = provider.leewaySeconds
        enabled = provider.isEnabled
        createdAt = provider.createdAt
        updatedAt = provider.updatedAt
    }
}
