import BillingCore
import Web

/// An access token of ours: a JWT in the profile of RFC 9068. What it says of scopes is an upper bound; what its client
/// may do now is asked of the client.
struct AccessToken: Sendable {
    static let type = "at+jwt"

    /// `jti`.
    let id: UUIDv7
    let clientID: String
    let scopes: ScopeSet
    let issuedAt: Instant
    let expiresAt: Instant
    /// For other services that read the token; we ask the client.
    let tenantKey: String?
    /// Names the key that it is signed with; nil while it is not.
    let keyID: String?

    /// Times in a token are whole seconds.
    init(id: UUIDv7, clientID: String, scopes: ScopeSet, tenantKey: String?, now: Instant, lifetimeSeconds: Int64) {
        self.id = id
        self.clientID = clientID
        self.scopes = scopes
        self.tenantKey = tenantKey
        keyID = nil
        issuedAt = Instant(seconds: now.microseconds / 1_000_000)
        expiresAt = issuedAt.adding(seconds: lifetimeSeconds)
    }

    /// Reads a token whose signature is good; throws for one of another issuer or audience, or not within its time.
    init(_ token: CompactJWT, issuer: String, now: Instant) throws(JWTFault) {
        let claims = token.claims
        keyID = token.header.keyID
        try claims.requireIssuer(issuer)
        try claims.requireAudience(issuer)
        expiresAt = try claims.requireTime(now, leewaySeconds: 0)
        guard let id = claims.string("jti").flatMap({ UUIDv7($0) }), let clientID = claims.string("client_id"),
            clientID == claims.string("sub"), let scope = claims.string("scope"), let issuedAt = try claims.time("iat")
        else { throw .claims }
        self.id = id
        self.clientID = clientID
        self.issuedAt = issuedAt
        scopes = ScopeSet(scope.split(separator: " ").compactMap { Scope(rawValue: String($0)) })
        tenantKey = claims.string("tenant")
    }

    /// The claims that are signed. Issuer and audience are the same: this service.
    /// - Parameter held: the scopes of the client by now; of those the token was issued with no others count.
    func claims(issuer: String, held: ScopeSet = .all) -> [JSONMember] {
        var members: [(String, JSONValue)] = [
            ("iss", .string(issuer)), ("sub", .string(clientID)), ("aud", .string(issuer)),
            ("exp", Self.seconds(expiresAt)), ("iat", Self.seconds(issuedAt)), ("jti", .string(id.description)),
            ("client_id", .string(clientID)),
            ("scope", .string(scopes.intersection(held).names.joined(separator: " "))),
        ]
        if let tenantKey { members.append(("tenant", .string(tenantKey))) }
        return members.map { JSONMember(name: $0.0, value: $0.1) }
    }

    private static func seconds(_ instant: Instant) -> JSONValue {
        .number(String(instant.microseconds / 1_000_000))
    }
}

/// What the audit log says of a token, beside its id.
struct RecordedToken: Encodable, Sendable {
    let clientID: String
    let scopes: [String]
    let issuedAt: Instant
    let expiresAt: Instant

    init(_ token: AccessToken) {
        clientID = token.clientID
        scopes = token.scopes.names
        issuedAt = token.issuedAt
        expiresAt = token.expiresAt
    }
}
