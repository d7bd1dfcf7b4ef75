import BillingCore
import Web

/// The validated body of `POST /api/v1/clients`.
struct NewOAuthClient: Sendable {
    let name: String
    let scopes: ScopeSet
    let narrowing: CredentialNarrowing
    let tenantKey: String?
    let method: OAuthClient.AuthenticationMethod
    let keys: ClientKeys

    init(_ request: APIRequest) throws {
        let body = try request.json()
        let fields = JSONObjectReader(body)
        name = fields.string("name", maximumLength: 200)
        scopes = fields.scopes()
        narrowing = CredentialNarrowing.read(fields)
        tenantKey = fields.optionalKey("tenant")
        method = fields.choice("token_endpoint_auth_method", default: .basic)
        if fields.contains("jwks"), let jwks = body["jwks"] {
            if method.usesSecret {
                let detail = "\"jwks\" is for \"private_key_jwt\"; this client has a secret"
                fields.fault(at: "jwks", code: "not_allowed", detail: detail)
            }
            keys = try ClientKeys(jwks, faults: fields)
        } else {
            if !method.usesSecret {
                fields.fault(at: "jwks", code: "required", detail: "\"jwks\" is required for \"private_key_jwt\"")
            }
            keys = .none
        }
        try fields.finish()
    }
}

/// The validated body of `PATCH /api/v1/clients/{id}` (RFC 7396): absent members stay, null clears.
struct OAuthClientPatch: Sendable {
    private let body: JSONValue
    private let name: String?
    private let scopes: ScopeSet?
    private let isEnabled: Bool?
    private let keys: ClientKeys?

    init(_ request: APIRequest) throws {
        body = try request.json()
        let fields = JSONObjectReader(body)
        fields.rejectImmutable(["client_id", "tenant", "token_endpoint_auth_method"], of: "a client")
        fields.rejectNull(["name", "scopes", "preset", "enabled", "jwks"])
        name = fields.optionalString("name", maximumLength: 200)
        scopes = fields.optionalScopes()
        isEnabled = fields.contains("enabled") ? fields.bool("enabled", default: true) : nil
        _ = CredentialNarrowing.read(fields)
        if fields.contains("jwks"), let jwks = body["jwks"] {
            keys = try ClientKeys(jwks, faults: fields)
        } else {
            keys = nil
        }
        try fields.finish()
    }

    /// The client as the body wants it. Throws where it has a secret and is to get keys.
    func applied(to client: OAuthClient) throws(Problem) -> OAuthClient {
        if keys != nil, client.method.usesSecret {
            throw .validationFailed([
                FieldFault(pointer: "/jwks", code: "not_allowed", detail: "This client has a secret and no keys.")
            ])
        }
        var changed = client
        changed.name = name ?? client.name
        changed.scopes = scopes ?? client.scopes
        changed.isEnabled = isEnabled ?? client.isEnabled
        changed.keys = keys ?? client.keys
        changed.narrowing = client.narrowing.patched(JSONObjectReader(body), in: body)
        return changed
    }
}

/// The validated body of `POST /api/v1/clients/{id}/rotate-secret`.
struct SecretRotation: Sendable {
    private static let maximumOverlapSeconds: Int64 = 30 * 86_400

    /// How long the old secret works beside the new one.
    let overlapSeconds: Int64

    init(_ request: APIRequest) throws {
        let fields = try request.fields(emptyIsObject: true)
        overlapSeconds = fields.integer("overlap_seconds", in: 0...Self.maximumOverlapSeconds, default: 86_400)
        try fields.finish()
    }
}
