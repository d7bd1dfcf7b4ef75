import BillingCore
import Crypto
import Postgres
import Web

/// Judges the assertion by which a client authenticates with its own key (`private_key_jwt`, RFC 7523).
///
/// Its audience is our issuer and nothing else. A client that sends the URL of a token endpoint instead can be made to
/// sign for another server's; the successor of RFC 7523 (draft-ietf-oauth-rfc7523bis) forbids it for that reason.
struct ClientAssertionJudge: Sendable {
    /// What an assertion may live at most; libraries make them for an hour.
    static let maximumSeconds: Int64 = 3_600
    static let leewaySeconds: Int64 = 60
    private static let types: Set<String?> = [nil, "jwt", "client-authentication+jwt"]
    private static let maximumIDBytes = 255

    let pool: PostgresPool
    let issuer: String

    /// An assertion that is good, if it was not used before.
    struct Judged: Sendable {
        let client: OAuthClient
        fileprivate let hash: [UInt8]
        fileprivate let until: Instant
    }

    /// - Parameter find: reads the client of an id, or throws where it may not be looked up now.
    func judged(
        _ text: String,
        now: Instant,
        find: @Sendable (_ id: String) async throws -> OAuthClientStore.Stored?
    ) async throws -> Judged {
        do {
            return try await verified(text, now: now, find)
        } catch let fault as JWTFault {
            throw OAuthError(.invalidClient, Self.description(of: fault))
        }
    }

    /// Uses the assertion, which works once.
    func use(_ assertion: Judged) async throws {
        let isFirst = try await ClientAssertionStore.use(
            assertion.hash,
            of: assertion.client,
            until: assertion.until,
            pool: pool
        )
        guard isFirst else { throw OAuthError(.invalidClient, "The assertion was used before; each works once.") }
    }

    private func verified(
        _ text: String,
        now: Instant,
        _ find: @Sendable (_ id: String) async throws -> OAuthClientStore.Stored?
    ) async throws -> Judged {
        let token = try CompactJWT(parsing: text)
        try token.header.requireType(Self.types)
        // Whose keys to try is all that is taken from what is not verified yet.
        guard let id = token.claims.string("sub"), OAuthClient.isID(id) else { throw OAuthError.unknownClient }
        guard let client = try await find(id)?.client, client.method == .privateKeyJWT, client.isActive else {
            throw OAuthError.unknownClient
        }
        try client.keys.verifier(for: token.header).verify(token)
        try token.claims.requireIssuer(client.id)
        guard token.claims.audiences == [issuer] else { throw JWTFault.audience }
        let end = try lifetime(of: token.claims, now: now)
        guard let id = token.claims.string("jti"), (1...Self.maximumIDBytes).contains(id.utf8.count) else {
            throw JWTFault.claims
        }
        return Judged(
            client: client,
            hash: Array(SHA256.hash(data: Array(id.utf8))),
            until: end.adding(seconds: Self.leewaySeconds)
        )
    }

    private func lifetime(of claims: JWTClaims, now: Instant) throws(JWTFault) -> Instant {
        let end = try claims.requireTime(now, leewaySeconds: Self.leewaySeconds)
        guard end <= now.adding(seconds: Self.maximumSeconds + Self.leewaySeconds) else { throw .claims }
        if let issued = try claims.time("iat"), issued > now.adding(seconds: Self.leewaySeconds) { throw .notYetValid }
        return end
    }

    private static func description(of fault: JWTFault) -> String {
        switch fault {
        case .oversized: "The assertion is longer than \(CompactJWT.maximumBytes) bytes."
        case .audience: "The audience of the assertion must be our issuer, and it alone."
        case .issuer: "The issuer and the subject of the assertion must both be the client id."
        case .expired: "The assertion has expired."
        case .notYetValid: "The assertion is not valid yet."
        case .claims:
            "The assertion needs a jti of at most \(maximumIDBytes) bytes and an exp within \(maximumSeconds) seconds."
        default: "The assertion is not signed by a registered key of the client."
        }
    }
}
