import BillingCore
import Postgres
import Synchronization
import Web

/// Says who presents a credential of one kind that is an id and a secret. What is stored of it is cached for two
/// seconds, so that a busy gateway costs the database one look-up in that time; one that is revoked is dropped at once
/// where the notification arrives, and after the two seconds anyway. Only while the database is away what was read last
/// stands in, for a quarter of an hour at most: then nothing but an admission can be answered, by its limits' policies.
final class SecretAuthentication: Sendable {
    static let cacheSeconds: Int64 = 2

    private let kind: APIKeyText.Kind
    private let find: @Sendable (_ id: String) async throws -> StoredSecret?
    private let tenants: TenantDirectory
    private let throttle: AuthenticationThrottle
    private let use: CredentialUse?
    private let clock: Clock
    private let cache = Mutex(CredentialCache())

    /// - Parameters:
    ///   - use: where it is noted who was seen, a busy credential once for each time it is read; nil notes nothing.
    ///   - find: reads what is stored under an id.
    init(
        _ kind: APIKeyText.Kind,
        tenants: TenantDirectory,
        throttle: AuthenticationThrottle,
        use: CredentialUse? = nil,
        clock: Clock,
        find: @escaping @Sendable (_ id: String) async throws -> StoredSecret?
    ) {
        self.kind = kind
        self.find = find
        self.tenants = tenants
        self.throttle = throttle
        self.use = use
        self.clock = clock
    }

    /// The principal of a presented text, or the 401, which does not say what is wrong with it.
    func principal(of text: String, from address: IPAddress) async throws -> Principal {
        guard let key = try? APIKeyText(parsing: text, as: kind) else { throw Self.refused }
        let hash = key.secretHash
        let now = clock.now()
        let (entry, verified) = try await entry(of: key.id, from: address, now: now)
        guard let entry, entry.stored.accepts(hash, at: now) else { throw Self.refused }
        if let verified, verified.secretHash == hash { return verified.principal }
        let stored = entry.stored
        let principal = Principal(
            credentialID: key.credentialID,
            tenantID: stored.tenantID == .operatorWide ? nil : stored.tenantID,
            tenantKey: entry.tenant?.key,
            isTenantSuspended: entry.tenant?.isSuspended ?? false,
            scopes: stored.scopes,
            narrowing: stored.narrowing.narrowing,
            attribution: Attribution(
                clientID: kind == .apiKey ? key.credentialID : nil,
                costCenter: stored.narrowing.costCenter
            ),
            answerKey: AnswerKey(derivedFromSecret: key.secret)
        )
        use?.note(CredentialUse.Key(tenantID: stored.tenantID, id: key.id), at: now)
        cache.withLock {
            $0.setVerified(CredentialCache.Verified(secretHash: hash, principal: principal), of: key.id, entry.number)
        }
        return principal
    }

    /// Forgets a credential, because it has changed.
    func forget(id: String) {
        cache.withLock { $0.remove(id) }
    }

    /// Forgets a tenant's credentials, because what they may be used for has changed.
    func forget(tenant: TenantID) {
        cache.withLock { $0.remove(tenant: tenant) }
    }

    /// Forgets everything, because a change may have been missed.
    func forgetAll() {
        cache.withLock { $0 = CredentialCache() }
    }

    private static let refused = Problem.unauthenticated("This key is not valid.")

    private func entry(
        of keyID: String,
        from address: IPAddress,
        now: Instant
    ) async throws -> (entry: CredentialCache.Entry?, verified: CredentialCache.Verified?) {
        switch cache.withLock({ $0.find(keyID, now: now) }) {
        case .hit(let entry, let verified):
            return (entry, verified)
        case .absent:
            return (nil, nil)
        case .miss(let generation, let isKnown):
            if !isKnown { try throttle.requireFailuresLeft(address) }
            let stored: StoredSecret?
            var standing: TenantStanding?
            do {
                stored = try await find(keyID)
                if let tenant = stored?.tenantID, tenant != .operatorWide {
                    standing = try await tenants.standing(tenant)
                    // A credential of a tenant that is gone opens nothing.
                    guard standing != nil else { return (nil, nil) }
                }
            } catch let error as PostgresError where error.isUnavailable {
                guard let last = cache.withLock({ $0.duringOutage(keyID, now: now) }) else { throw error }
                return (last, nil)
            }
            let entry = cache.withLock { cache in
                cache.insert(keyID, stored, tenant: standing, now: now, generation: generation)
            }
            return (entry, nil)
        }
    }
}
