import BillingCore
import Postgres
import Synchronization
import Web

/// The signing keys of this process: those that tokens are believed by, and the one that signs.
///
/// It is read at start, when a change is announced, every minute by the worker, and when a token names a key that is
/// not in it, at most once a second.
final class SigningKeyRing: Sendable {
    private struct Signer: Sendable {
        let signsFrom: Instant
        let signer: JWTSigner
    }

    private struct State: Sendable {
        var verifiers: [String: JWTVerifier] = [:]
        /// In the order in which they begin to sign.
        var signers: [Signer] = []
        var published: [JSONValue] = []
        var searchedAt: Instant?
    }

    private static let searchSeconds: Int64 = 1

    private let pool: PostgresPool
    private let masterKey: MasterKey
    private let clock: Clock
    private let state = Mutex(State())

    init(pool: PostgresPool, masterKey: MasterKey, clock: Clock) {
        self.pool = pool
        self.masterKey = masterKey
        self.clock = clock
    }

    /// The keys of the JWKS document (RFC 7517, section 5).
    var published: [JSONValue] { state.withLock { $0.published } }

    /// What signs at this moment; nil when there is no key that this process can use.
    func signer(at now: Instant) -> JWTSigner? {
        state.withLock { $0.signers.last { $0.signsFrom <= now }?.signer }
    }

    /// Whether tokens signed with this key are believed.
    func has(_ keyID: String) -> Bool {
        state.withLock { $0.verifiers[keyID] != nil }
    }

    /// The key that a token names.
    func verifier(for header: TokenHeader) async throws -> JWTVerifier {
        guard let keyID = header.keyID else { throw JWTFault.unknownKey }
        let now = clock.now()
        let (known, maySearch) = state.withLock { state in
            let known = state.verifiers[keyID]
            let pause = state.searchedAt?.adding(seconds: Self.searchSeconds)
            let maySearch = known == nil && (pause.map { now >= $0 } ?? true)
            if maySearch { state.searchedAt = now }
            return (known, maySearch)
        }
        if let known { return known }
        if maySearch {
            try await reload()
            if let found = state.withLock({ $0.verifiers[keyID] }) { return found }
        }
        throw JWTFault.unknownKey
    }

    func reload() async throws {
        let keys = try await SigningKeyStore.all(pool: pool)
        var fresh = State()
        for key in keys {
            fresh.published.append(key.publicJWK)
            fresh.verifiers[key.id] = try? JWTVerifier(jwk: key.publicJWK)
            if let signer = key.signer(masterKey) {
                fresh.signers.append(Signer(signsFrom: key.signsFrom, signer: signer))
            }
        }
        let loaded = fresh
        state.withLock { state in
            let searchedAt = state.searchedAt
            state = loaded
            state.searchedAt = searchedAt
        }
    }
}
