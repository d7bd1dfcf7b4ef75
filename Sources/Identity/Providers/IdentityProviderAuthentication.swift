import BillingCore
import Crypto
import HTTPTypes
import Logging
import Postgres
import Synchronization
import Web

/// Says who presents a token of somebody else's: verified by the issuer's published keys, bound to the tenant it names,
/// with the scopes that the operator has mapped. See ADR 0019.
///
/// Providers are read every two seconds while they are asked for, and a principal is believed for two.
final class IdentityProviderAuthentication: Sendable {
    static let cacheSeconds: Int64 = 2
    private static let types: Set<String?> = [nil, "jwt", "at+jwt"]
    private static let maximumSubjectBytes = 200

    private struct State {
        var providers: [String: IdentityProvider] = [:]
        var freshUntil: Instant?
        var tokens = IdentityProviderTokens()
    }

    private let pool: PostgresPool
    private let tenants: TenantDirectory
    private let keys: KeySetCache
    private let throttle: AuthenticationThrottle
    /// The name that this service signs its own tokens with, which is nobody else's.
    let ownIssuer: String?
    private let verifications = TokenVerifications()
    private let clock: Clock
    private let answerSecret: SymmetricKey
    private let state = Mutex(State())
    private let loading = SharedWork<Void>()

    init(
        pool: PostgresPool,
        tenants: TenantDirectory,
        keys: KeySetCache,
        throttle: AuthenticationThrottle,
        ownIssuer: String?,
        clock: Clock
    ) {
        self.pool = pool
        self.tenants = tenants
        self.keys = keys
        self.throttle = throttle
        self.ownIssuer = ownIssuer
        self.clock = clock
        answerSecret = SymmetricKey(size: .bits256)
    }

    /// Whether a token says that it is of a configured issuer. The service's own is none, whatever is configured: a
    /// provider may be older than `TURNPIKE_ISSUER`.
    func isForUs(_ text: String) async throws -> Bool {
        guard let issuer = (try? CompactJWT(parsing: text))?.claims.string("iss"), issuer != ownIssuer else {
            return false
        }
        return try await provider(issuer: issuer) != nil
    }

    /// The principal of a token, the 401, which does not say what is wrong with it, or the 403 of a good token that
    /// leads to no tenant here.
    func principal(of text: String, from address: IPAddress) async throws -> Principal {
        let (digest, now) = (Self.digest(of: text), clock.now())
        switch state.withLock({ $0.tokens.find(digest, now: now) }) {
        case .hit(let principal):
            return principal
        case .refused(let problem):
            throw problem
        case .miss(let isKnown, let generation):
            // From here on a made-up token costs something.
            if !isKnown { try throttle.requireFailuresLeft(address) }
            do {
                let (provider, claims, end) = try await verified(text, now: now)
                let principal = try await principal(of: claims, provider)
                state.withLock { $0.tokens.insert(digest, principal, end: end, now: now, generation: generation) }
                return principal
            } catch let problem as Problem where [.unauthorized, .forbidden].contains(problem.status) {
                state.withLock { $0.tokens.refuse(digest, problem, now: now, generation: generation) }
                throw problem
            }
        }
    }

    /// Who a token spoke for when that was asked last, see `Authentication.lastKnownMicroseconds`; nil where it is not
    /// known.
    func lastKnown(_ text: String) -> Principal? {
        let (digest, now) = (Self.digest(of: text), clock.now())
        return state.withLock { $0.tokens.lastKnown(digest, now: now) }
    }

    /// Reads the providers again before the next token.
    func forgetAll() {
        state.withLock { state in
            state.freshUntil = nil
            state.tokens.forget()
        }
    }

    /// See `Authentication.makeStale`.
    func makeStale() {
        state.withLock { state in
            state.freshUntil = nil
            state.tokens.makeStale()
        }
    }

    private static func digest(of text: String) -> SHA256Digest {
        var utf8 = text
        return utf8.withUTF8 { SHA256.hash(data: $0) }
    }

    private func verified(
        _ text: String,
        now: Instant
    ) async throws -> (IdentityProvider, JWTClaims, end: Instant) {
        do {
            let token = try CompactJWT(parsing: text)
            try token.header.requireType(Self.types)
            guard let provider = try await provider(issuer: token.claims.string("iss") ?? "") else {
                throw JWTFault.issuer
            }
            try verifications.verify(token, by: try await keys.verifier(for: token.header, of: provider))
            try token.claims.requireIssuer(provider.issuer)
            guard !Set(provider.audiences).isDisjoint(with: token.claims.audiences) else { throw JWTFault.audience }
            let end = try token.claims.requireTime(now, leewaySeconds: provider.leewaySeconds)
            return (provider, token.claims, end.adding(seconds: provider.leewaySeconds))
        } catch let fault as JWTFault {
            throw Problem.invalidToken(fault)
        }
    }

    private func principal(of claims: JWTClaims, _ provider: IdentityProvider) async throws -> Principal {
        guard let subject = claims.string("sub"), (1...Self.maximumSubjectBytes).contains(subject.utf8.count),
            subject.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
        else { throw Problem.invalidToken(.claims) }
        let tenant = try await tenant(of: claims, provider)
        guard let tenant, let standing = try await tenants.standing(tenant), provider.mayName(tenant: standing.key)
        else {
            throw Problem.unknownTokenTenant(provider)
        }
        let credentialID = "idp:\(provider.key):\(subject)"
        return Principal(
            credentialID: credentialID,
            tenantID: tenant,
            tenantKey: standing.key,
            isTenantSuspended: standing.isSuspended,
            scopes: provider.scopes(of: claims),
            attribution: .none,
            answerKey: answerKey(of: credentialID)
        )
    }

    private func tenant(of claims: JWTClaims, _ provider: IdentityProvider) async throws -> TenantID? {
        switch provider.tenant {
        case .fixed(let key):
            // Where credentials are read. That finds subjects, too, which `mayName` refuses.
            return try await tenants.subject(key)
        case .claim(let name):
            guard let value = claims.string(name), (1...200).contains(value.utf8.count) else { return nil }
            return try await tenants.subject(value)
        }
    }

    /// Tokens change and whom they are for stays. The key lives as long as the process, and so does the replay of an
    /// answer that bears a secret to such a caller.
    private func answerKey(of credentialID: String) -> AnswerKey {
        let code = HMAC<SHA256>.authenticationCode(for: Array(credentialID.utf8), using: answerSecret)
        return AnswerKey(derivedFromSecret: Base64URL.encoded(Array(code)))
    }

    private func provider(issuer: String) async throws -> IdentityProvider? {
        let now = clock.now()
        let isFresh = state.withLock { $0.freshUntil.map { now < $0 } ?? false }
        if !isFresh { try await loading.run { try await self.load(now) } }
        return state.withLock { $0.providers[issuer] }
    }

    private func load(_ now: Instant) async throws {
        let generation = state.withLock { $0.tokens.generation }
        let found = try await IdentityProviderStore.list(
            count: IdentityProviderStore.maximumCount,
            lane: .admission,
            pool: pool
        ).filter(\.isEnabled)
        keys.keep(only: found)
        state.withLock { state in
            let providers = Dictionary(found.map { ($0.issuer, $0) }) { first, _ in first }
            // What was read before everything was forgotten serves those who wait for it, and nobody after them.
            let isCurrent = generation == state.tokens.generation
            let isSame = providers.mapValues(\.revision) == state.providers.mapValues(\.revision)
            if !isSame { state.tokens.forget() }
            state.providers = providers
            state.freshUntil = isCurrent ? now.adding(seconds: Self.cacheSeconds) : nil
        }
    }
}

extension Problem {
    fileprivate static func unknownTokenTenant(_ provider: IdentityProvider) -> Problem {
        let reason =
            switch provider.tenant {
            case .fixed(let key): "the tenant '\(key)' of its provider does not exist"
            case .claim(let name): "its claim '\(name)' names no tenant here"
            }
        return .forbidden(code: "unknown_tenant", detail: "The token is valid, but \(reason).")
    }
}
