import BillingCore
import Synchronization
import Web

/// Says who presents a credential of one kind that is an id and a secret. What is stored of it is cached for two
/// seconds, so that a busy gateway costs the database one look-up in that time; one that is revoked is dropped at once
/// where the notification arrives, and after the two seconds anyway.
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

    /// The principal of a text that was judged within the last second; nil says nothing about the text.
    func recent(_ text: String) -> Principal? {
        guard let key = try? APIKeyText(parsing: text, as: kind) else { return nil }
        let (hash, now) = (key.secretHash, clock.now())
        guard let (entry, verified) = cache.withLock({ $0.fresh(key.id, now: now) }), verified.secretHash == hash,
            entry.stored.accepts(hash, at: now)
        else { return nil }
        return verified.principal
    }

    /// Who a text spoke for by what was read last of it, see `Authentication.lastKnownMicroseconds`; nil where nothing
    /// was, or it opened nothing.
    func lastKnown(_ text: String) -> Principal? {
        guard let key = try? APIKeyText(parsing: text, as: kind) else { return nil }
        let (hash, now) = (key.secretHash, clock.now())
        guard let entry = cache.withLock({ $0.lastKnown(key.id, now: now) }), entry.stored.accepts(hash, at: now) else {
            return nil
        }
        return principal(of: key, entry)
    }

    /// The principal of a presented text, or the 401, which does not say what is wrong with it.
    func principal(of text: String, from address: IPAddress) async throws -> Principal {
        guard let key = try? APIKeyText(parsing: text, as: kind) else { throw Self.refused }
        let hash = key.secretHash
        let now = clock.now()
        let (entry, verified) = try await entry(of: key.id, from: address, now: now)
        guard let entry, entry.stored.accepts(hash, at: now) else { throw Self.refused }
        if let verified, verified.secretHash == hash { return verified.principal }
        let principal = principal(of: key, entry)
        use?.note(CredentialUse.Key(tenantID: entry.stored.tenantID, id: key.id), at: now)
        cache.withLock {
            $0.setVerified(CredentialCache.Verified(secretHash: hash, principal: principal), of: key.id, entry.number)
        }
        return principal
    }

    private func principal(of key: APIKeyText, _ entry: CredentialCache.Entry) -> Principal {
        let stored = entry.stored
        return Principal(
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
    }

    /// Forgets a credential, because it has changed.
    func forget(id: String) {
        cache.withLock { $0.remove(id) }
    }

    /// Forgets a tenant's credentials, because what they may be used for has changed.
    func forget(tenant: TenantID) {
        cache.withLock { $0.remove(tenant: tenant) }
    }

    /// See `Authentication.makeStale`.
    func makeStale() {
        cache.withLock { $0.makeStale() }
    }

    /// See `Authentication.forgetAll`.
    func forgetAll() {
        cache.withLock { $0.forgetAll() }
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
            let stored = try await find(keyID)
            var standing: TenantStanding?
            if let tenant = stored?.tenantID, tenant != .operatorWide {
                standing = try await tenants.standing(tenant)
                // A credential of a tenant that is gone opens nothing.
                guard standing != nil else { return (nil, nil) }
            }
            let entry = cache.withLock { cache in
                cache.insert(keyID, stored, tenant: standing, now: now, generation: generation)
            }
            return (entry, nil)
        }
    }
}
