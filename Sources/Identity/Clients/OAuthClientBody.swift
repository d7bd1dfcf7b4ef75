import BillingCore
import Web

/// How a client is answered and audited. `clientSecret` is there only in the answer that makes or rotates it.
struct OAuthClientBody: Encodable, Sendable {
    let clientID: String
    let name: String
    let scopes: [String]
    let tenant: String?
    let models: [String]?
    let features: [String]?
    let dataClasses: [String]?
    let costCenter: String?
    let tokenEndpointAuthMethod: String
    let jwks: JSONValue
    let enabled: Bool
    let createdAt: Instant
    let updatedAt: Instant
    let revokedAt: Instant?
    let previousSecretExpiresAt: Instant?

    init(_ client: OAuthClient, tenantKey: String?) {
        clientID = client.id
        name = client.name
        scopes = client.scopes.names
        tenant = tenantKey
        models = client.narrowing.models
        features = client.narrowing.features
        dataClasses = client.narrowing.dataClasses
        costCenter = client.narrowing.costCenter
        tokenEndpointAuthMethod = client.method.rawValue
        jwks = client.keys.json
        enabled = client.isEnabled
        createdAt = client.createdAt
        updatedAt = client.updatedAt
        revokedAt = client.revokedAt
        previousSecretExpiresAt = client.previousSecretExpiresAt
    }
}

extension OAuthClientBody {
    /// The body with the secret beside the other members.
    func showing(_ secret: ClientSecret?) throws -> JSONValue {
        guard case .object(var members) = try JSONValue(encoding: self), let secret else {
            return try JSONValue(encoding: self)
        }
        members.append(JSONMember(name: "client_secret", value: .string(secret.text)))
        return .object(members.sorted { $0.name < $1.name })
    }
}
