import BillingCore
import Web

/// What is known of presented keys: a bounded value, without a lock and without a clock of its own.
///
/// Unknown ids are kept apart from known ones, so that guessing ids can't push the valid keys out.
struct CredentialCache {
    struct Entry {
        let stored: StoredSecret
        let tenant: TenantStanding?
        /// Tells this entry from a later one of the same key.
        let number: UInt64
    }

    /// Who has shown the right secret. During a rotation two are right, and each has a principal of its own.
    struct Verified {
        let secretHash: SecretHash
        let principal: Principal
    }

    enum Finding {
        case hit(Entry, Verified?)
        case absent
        /// To be read. A known id was valid when it was last read, if only a while ago.
        case miss(generation: UInt64, isKnown: Bool)
    }

    static let capacity = 10_000
    /// After this one request reads an entry afresh, while the others go on with it, but never for longer than
    /// `SecretAuthentication.cacheSeconds` after it was read.
    static let freshMicroseconds: Int64 = 1_000_000

    private struct Known {
        let entry: Entry
        var verified: Verified?
        var freshUntil: Instant
        let validUntil: Instant
    }

    private var known: [String: Known] = [:]
    /// When credentials were valid last, and what was read of those that may not have changed since, as far as this
    /// replica was told.
    private var lastRead: [String: (entry: Entry?, at: Instant)] = [:]
    private var absent: [String: Instant] = [:]
    private var counter: UInt64 = 0
    /// Rises with every removal: a row read before it must not be kept after it.
    private var generation: UInt64 = 0

    /// Who has shown the right secret of a key that was read within the last second.
    func fresh(_ keyID: String, now: Instant) -> (Entry, Verified)? {
        guard let found = known[keyID], now < found.freshUntil, let verified = found.verified else { return nil }
        return (found.entry, verified)
    }

    mutating func find(_ keyID: String, now: Instant) -> Finding {
        if let found = known[keyID] {
            if now < found.freshUntil { return .hit(found.entry, found.verified) }
            known[keyID]?.freshUntil = found.validUntil
            return .miss(generation: generation, isKnown: true)
        }
        if let until = absent[keyID], now < until { return .absent }
        return .miss(generation: generation, isKnown: last(keyID, now: now) != nil)
    }

    mutating func insert(
        _ keyID: String,
        _ stored: StoredSecret?,
        tenant: TenantStanding?,
        now: Instant,
        generation: UInt64
    ) -> Entry? {
        counter += 1
        let until = now.adding(seconds: SecretAuthentication.cacheSeconds)
        guard let stored else {
            known[keyID] = nil
            lastRead[keyID] = nil
            if absent.count >= Self.capacity { absent.removeAll(keepingCapacity: true) }
            if generation == self.generation { absent[keyID] = until }
            return nil
        }
        let entry = Entry(stored: stored, tenant: tenant, number: counter)
        guard generation == self.generation else {
            // It may be less than what was read before it.
            lastRead[keyID]?.entry = nil
            return entry
        }
        if known.count >= Self.capacity { known.removeAll(keepingCapacity: true) }
        known[keyID] = Known(
            entry: entry,
            verified: nil,
            freshUntil: now.adding(microseconds: Self.freshMicroseconds),
            validUntil: until
        )
        if lastRead.count >= Self.capacity { lastRead.removeAll(keepingCapacity: true) }
        lastRead[keyID] = (entry, now)
        return entry
    }

    mutating func setVerified(_ verified: Verified, of keyID: String, _ number: UInt64) {
        guard known[keyID]?.entry.number == number else { return }
        known[keyID]?.verified = verified
    }

    /// What was known of a credential when it was last read, for as long as that may stand in for the database.
    func lastKnown(_ keyID: String, now: Instant) -> Entry? {
        last(keyID, now: now)?.entry
    }

    private func last(_ keyID: String, now: Instant) -> (entry: Entry?, at: Instant)? {
        guard let last = lastRead[keyID],
            now.microseconds - last.at.microseconds <= Authentication.lastKnownMicroseconds
        else { return nil }
        return last
    }

    mutating func remove(_ keyID: String) {
        generation += 1
        known[keyID] = nil
        lastRead[keyID] = nil
        absent[keyID] = nil
    }

    /// Has everything read again before it is believed. What was read last stays for when it can't be, and its ids can
    /// be read again whatever else comes from their addresses.
    mutating func makeStale() {
        generation += 1
        known = [:]
        absent = [:]
    }

    /// The same, and nothing stands in. That ids were valid stays known.
    mutating func forgetAll() {
        makeStale()
        lastRead = lastRead.mapValues { (nil, $0.at) }
    }

    mutating func remove(tenant: TenantID) {
        generation += 1
        known = known.filter { $0.value.entry.stored.tenantID != tenant }
        lastRead = lastRead.filter { $0.value.entry?.stored.tenantID != tenant }
    }
}
