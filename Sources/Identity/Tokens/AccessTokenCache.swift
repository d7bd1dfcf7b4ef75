import BillingCore
import Crypto
import Web

/// Tokens whose signature was found good, by the SHA-256 of their text: a bounded value, without a lock and without a
/// clock of its own. That a signature is good stays true; who the token speaks for is asked again after a second, and
/// is nowhere believed for more than two.
struct AccessTokenCache {
    enum Finding {
        case hit(Principal)
        /// The signature is good; the client has to be asked.
        case verified(AccessToken, generation: UInt64)
        /// It was found good by its signature and refused for this reason, a moment ago.
        case refused(JWTFault)
        case miss(generation: UInt64)
    }

    static let capacity = 10_000
    /// After this one request asks again, while the others go on with what is known.
    static let freshMicroseconds: Int64 = 1_000_000
    static let validMicroseconds: Int64 = 2_000_000

    private struct Entry {
        let token: AccessToken
        /// Nil while nobody has asked, and after it was forgotten.
        var principal: Principal?
        /// When the principal was asked for.
        let readAt: Instant
        var freshUntil: Instant
        var validUntil: Instant
    }

    private struct Refusal {
        let fault: JWTFault
        let until: Instant
    }

    private var entries: [SHA256Digest: Entry] = [:]
    private var refusals: [SHA256Digest: Refusal] = [:]
    /// Rises with everything forgotten: what was read before it must not be kept after it.
    private var generation: UInt64 = 0

    /// Who a token speaks for, if that was asked within the last second.
    func fresh(_ digest: SHA256Digest, now: Instant) -> Principal? {
        entries[digest].flatMap { now < $0.freshUntil && now < $0.token.expiresAt ? $0.principal : nil }
    }

    /// Who a token spoke for when that was asked last, for as long as that may stand in for the database.
    func lastKnown(_ digest: SHA256Digest, now: Instant) -> (AccessToken, Principal)? {
        guard let entry = entries[digest], let principal = entry.principal, now < entry.token.expiresAt,
            now.microseconds - entry.readAt.microseconds <= Authentication.lastKnownMicroseconds
        else { return nil }
        return (entry.token, principal)
    }

    mutating func find(_ digest: SHA256Digest, now: Instant) -> Finding {
        if let refusal = refusals[digest], now < refusal.until { return .refused(refusal.fault) }
        guard let entry = entries[digest], now < entry.token.expiresAt else { return .miss(generation: generation) }
        if let principal = entry.principal, now < entry.freshUntil { return .hit(principal) }
        entries[digest]?.freshUntil = entry.validUntil
        return .verified(entry.token, generation: generation)
    }

    mutating func insert(
        _ digest: SHA256Digest,
        _ token: AccessToken,
        _ principal: Principal,
        now: Instant,
        generation: UInt64
    ) {
        guard generation == self.generation else {
            // What was just read may be less than whom it spoke for before.
            entries[digest]?.principal = nil
            return
        }
        if entries.count >= Self.capacity, entries[digest] == nil { makeRoom(now: now) }
        entries[digest] = Entry(
            token: token,
            principal: principal,
            readAt: now,
            freshUntil: now.adding(microseconds: Self.freshMicroseconds),
            validUntil: now.adding(microseconds: Self.validMicroseconds)
        )
    }

    /// Keeps that a token is one of ours, though nobody has shown it yet; where there is no room, it is not kept.
    mutating func note(_ digest: SHA256Digest, _ token: AccessToken, now: Instant) {
        guard entries.count < Self.capacity, entries[digest] == nil else { return }
        entries[digest] = Entry(token: token, principal: nil, readAt: now, freshUntil: now, validUntil: now)
    }

    /// Keeps for a moment that a token with a good signature is refused: repeating it asks the database nothing. A
    /// revocation is final, whatever has changed since it was read.
    mutating func refuse(_ digest: SHA256Digest, _ fault: JWTFault, now: Instant, generation: UInt64) {
        // Whom it spoke for stands in no more, whatever has changed since.
        entries[digest]?.principal = nil
        guard generation == self.generation || fault == .revoked else { return }
        entries[digest] = nil
        if refusals.count >= Self.capacity { refusals.removeAll(keepingCapacity: true) }
        refusals[digest] = Refusal(fault: fault, until: now.adding(microseconds: Self.validMicroseconds))
    }

    /// Forgets whom the tokens speak for of which the condition is true, and every refusal that is not final. That
    /// their signature is good stays known, so that they never depend on the failures of their neighbours again.
    mutating func forget(where isGone: (AccessToken, Principal) -> Bool) {
        generation += 1
        refusals = refusals.filter { $0.value.fault == .revoked }
        for (digest, entry) in entries {
            guard let principal = entry.principal, isGone(entry.token, principal) else { continue }
            entries[digest]?.principal = nil
        }
    }

    /// Has everybody asked for again whom the tokens speak for. Who was known last stays for when that can't be, and
    /// refusals that are not final are forgotten.
    mutating func makeStale() {
        forget { _, _ in false }
        for digest in entries.keys {
            entries[digest]?.freshUntil = .minimum
            entries[digest]?.validUntil = .minimum
        }
    }

    private mutating func makeRoom(now: Instant) {
        entries = entries.filter { now < $0.value.token.expiresAt }
        if entries.count >= Self.capacity { entries.removeAll(keepingCapacity: true) }
    }
}
