import BillingCore
import Crypto
import HTTPTypes
import Postgres
import Synchronization
import Web

/// Says who presents an access token. A signature is verified once for each text; afterwards a busy client costs the
/// database one look-up a second, by which a revoked token and a changed client are noticed where their notification
/// does not arrive. A forged token never gets to the database, however many there are, and while its address has no
/// failures left (ADR 0018) not to the verification either.
final class AccessTokenAuthentication: Sendable {
    private let pool: PostgresPool
    private let tenants: TenantDirectory
    private let ring: SigningKeyRing
    private let settings: OAuthSettings
    private let throttle: AuthenticationThrottle
    private let clock: Clock
    private let metrics: OAuthMetrics
    private let verifications = TokenVerifications()
    private let cache = Mutex(AccessTokenCache())

    init(
        pool: PostgresPool,
        tenants: TenantDirectory,
        ring: SigningKeyRing,
        settings: OAuthSettings,
        throttle: AuthenticationThrottle,
        clock: Clock,
        metrics: OAuthMetrics
    ) {
        self.pool = pool
        self.tenants = tenants
        self.ring = ring
        self.settings = settings
        self.throttle = throttle
        self.clock = clock
        self.metrics = metrics
    }

    /// The principal of a token that was judged within the last second; nil says nothing about the token.
    func recent(_ text: String) -> Principal? {
        guard text.utf8.count <= CompactJWT.maximumBytes else { return nil }
        let (digest, now) = (Self.digest(of: text), clock.now())
        return cache.withLock { $0.fresh(digest, now: now) }
    }

    /// Who a token spoke for when that was asked last, see `Authentication.lastKnownMicroseconds`; nil where it is not
    /// known, or its signing key is believed no more.
    func lastKnown(_ text: String) -> Principal? {
        guard text.utf8.count <= CompactJWT.maximumBytes else { return nil }
        let (digest, now) = (Self.digest(of: text), clock.now())
        guard let (token, principal) = cache.withLock({ $0.lastKnown(digest, now: now) }), let keyID = token.keyID,
            ring.has(keyID)
        else { return nil }
        return principal
    }

    /// The principal of a presented token, or the 401, which does not say what is wrong with it, or the 429 of an
    /// address that may not have another unknown token verified now.
    func principal(of text: String, from address: IPAddress) async throws -> Principal {
        do {
            return try await judged(text, from: address)
        } catch let fault as JWTFault {
            metrics.refused(fault)
            throw Problem.invalidToken(fault)
        }
    }

    /// Keeps in mind a token that was issued a moment ago: who shows it here is nobody unknown.
    func note(issued text: String) {
        let now = clock.now()
        guard let token = try? AccessToken(CompactJWT(parsing: text), issuer: settings.issuer, now: now) else { return }
        cache.withLock { $0.note(Self.digest(of: text), token, now: now) }
    }

    /// A token that is good at this moment, and its client. Throws `JWTFault` for any other text.
    func token(of text: String) async throws -> (AccessToken, OAuthClient) {
        let token = try await verified(text, now: clock.now())
        return (token, try await client(of: token))
    }

    /// Forgets the tokens of a client, because it has changed.
    func forget(clientID: String) {
        cache.withLock { $0.forget { token, _ in token.clientID == clientID } }
    }

    /// Forgets a token, because it was revoked.
    func forget(tokenID: String) {
        cache.withLock { $0.forget { token, _ in token.id.description == tokenID } }
    }

    /// Forgets the tokens of a tenant's clients, because what they may be used for has changed.
    func forget(tenant: TenantID) {
        cache.withLock { $0.forget { _, principal in principal.tenantID == tenant } }
    }

    /// See `Authentication.makeStale`.
    func makeStale() {
        cache.withLock { $0.makeStale() }
    }

    /// See `Authentication.forgetAll`.
    func forgetAll() {
        cache.withLock { $0.forget { _, _ in true } }
    }

    private func judged(_ text: String, from address: IPAddress) async throws -> Principal {
        guard text.utf8.count <= CompactJWT.maximumBytes else { throw JWTFault.oversized }
        let now = clock.now()
        let digest = Self.digest(of: text)
        switch cache.withLock({ $0.find(digest, now: now) }) {
        case .hit(let principal):
            return principal
        case .verified(let token, let generation):
            return try await accept(token, digest, now: now, generation: generation)
        case .refused(let fault):
            throw fault
        case .miss(let generation):
            try throttle.requireFailuresLeft(address)
            return try await accept(try await verified(text, now: now), digest, now: now, generation: generation)
        }
    }

    private func accept(
        _ token: AccessToken,
        _ digest: SHA256Digest,
        now: Instant,
        generation: UInt64
    ) async throws -> Principal {
        do {
            let principal = try await principal(of: token)
            cache.withLock { $0.insert(digest, token, principal, now: now, generation: generation) }
            return principal
        } catch let fault as JWTFault {
            cache.withLock { $0.refuse(digest, fault, now: now, generation: generation) }
            throw fault
        }
    }

    private static func digest(of text: String) -> SHA256Digest {
        var utf8 = text
        return utf8.withUTF8 { SHA256.hash(data: $0) }
    }

    /// The header is judged before the signature, and the claims after it.
    private func verified(_ text: String, now: Instant) async throws -> AccessToken {
        let token = try CompactJWT(parsing: text)
        try token.header.requireType([AccessToken.type])
        try verifications.verify(token, by: try await ring.verifier(for: token.header))
        return try AccessToken(token, issuer: settings.issuer, now: now)
    }

    private func client(of token: AccessToken) async throws -> OAuthClient {
        guard let standing = try await OAuthClientStore.standing(of: token, pool: pool), standing.client.isActive else {
            throw JWTFault.client
        }
        guard !standing.isRevoked else { throw JWTFault.revoked }
        return standing.client
    }

    private func principal(of token: AccessToken) async throws -> Principal {
        // A key that was taken away takes the tokens with it that were verified before.
        guard let keyID = token.keyID, ring.has(keyID) else { throw JWTFault.unknownKey }
        let client = try await client(of: token)
        let isBound = client.tenantID != .operatorWide
        let tenant = isBound ? try await tenants.standing(client.tenantID) : nil
        // A client of a tenant that is gone opens nothing.
        guard !isBound || tenant != nil else { throw JWTFault.client }
        return Principal(
            credentialID: client.credentialID,
            tenantID: isBound ? client.tenantID : nil,
            tenantKey: tenant?.key,
            isTenantSuspended: tenant?.isSuspended ?? false,
            scopes: token.scopes.intersection(client.scopes),
            narrowing: client.narrowing.narrowing,
            attribution: Attribution(clientID: client.credentialID, costCenter: client.narrowing.costCenter),
            answerKey: AnswerKey(settings.masterKey.key(for: "idempotent answer v1 \(client.credentialID)"))
        )
    }
}

extension Problem {
    /// - Parameter fault: for the log; the answer does not tell it.
    static func invalidToken(_ fault: JWTFault) -> Problem {
        Problem(
            .unauthorized,
            code: "invalid_token",
            detail: "This token is not valid.",
            headers: [
                .wwwAuthenticate:
                    #"Bearer realm="turnpike", error="invalid_token", error_description="This token is not valid.""#
            ],
            underlying: fault
        )
    }
}
