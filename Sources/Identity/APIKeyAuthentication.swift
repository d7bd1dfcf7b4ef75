import BillingCore
import Postgres
import Synchronization
import Web

/// Says who presents an API key. Keys are cached for two seconds, so that a busy gateway costs the database one look-up
/// in that time; a revoked key is dropped at once where the notification arrives, and after the two seconds anyway.
final class APIKeyAuthentication: Sendable {
    static let cacheSeconds: Int64 = 2

    /// Who was seen; a busy key is noted once for each time it is read.
    let use = CredentialUse()
    private let pool: PostgresPool
    private let tenants: TenantDirectory
    private let throttle: AuthenticationThrottle
    private let clock: Clock
    private let cache = Mutex(CredentialCache())

    init(pool: PostgresPool, tenants: TenantDirectory, throttle: AuthenticationThrottle, clock: Clock) {
        self.pool = pool
        self.tenants = tenants
        self.throttle = throttle
        self.clock = clock
    }

    /// The principal of a presented key, or the 401, which does not say what is wrong with it.
    func principal(of text: String, from address: IPAddress) async throws -> Principal {
        guard let key = try? APIKeyText(parsing: text) else { throw Self.refused }
        let hash = key.secretHash
        let now = clock.now()
        let (entry, verified) = try await entry(of: key.id, from: address, now: now)
        guard let entry, entry.stored.accepts(hash, at: now) else { throw Self.refused }
        if let verified, verified.secretHash == hash { return verified.principal }
        let stored = entry.stored.key
        let principal = Principal(
            credentialID: key.credentialID,
            tenantID: stored.tenantID == .operatorWide ? nil : stored.tenantID,
            tenantKey: entry.tenant?.key,
            isTenantSuspended: entry.tenant?.isSuspended ?? false,
            scopes: stored.scopes,
            narrowing: stored.narrowing.narrowing,
            attribution: Attribution(clientID: key.credentialID, costCenter: stored.narrowing.costCenter),
            answerKey: AnswerKey(derivedFromSecret: key.secret)
        )
        use.note(CredentialUse.Key(tenantID: stored.tenantID, id: key.id), at: now)
        cache.withLock {
            $0.setVerified(CredentialCache.Verified(secretHash: hash, principal: principal), of: key.id, entry.number)
        }
        return principal
    }

    /// Forgets a key, because it has changed.
    func forget(keyID: String) {
        cache.withLock { $0.remove(keyID) }
    }

    /// Forgets a tenant's keys, because what they may be used for has changed.
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
            let stored = try await APIKeyStore.find(id: keyID, pool: pool)
            var standing: TenantStanding?
            if let tenant = stored?.key.tenantID, tenant != .operatorWide {
                standing = try await tenants.standing(tenant)
                // A key of a tenant that is gone opens nothing.
                guard standing != nil else { return (nil, nil) }
            }
            let entry = cache.withLock { cache in
                cache.insert(keyID, stored, tenant: standing, now: now, generation: generation)
            }
            return (entry, nil)
        }
    }
}
