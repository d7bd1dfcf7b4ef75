import BillingCore
import Crypto
import HTTPTypes
import Web

/// Tokens of other issuers that were found good, by the SHA-256 of their text: a bounded value, without a lock and
/// without a clock of its own. A principal is believed for two seconds, and so is that a good token leads to no tenant;
/// that a token was good once is remembered until it ends, whatever is forgotten, so that it never depends on the
/// failures of its neighbours again.
struct IdentityProviderTokens {
    enum Finding {
        case hit(Principal)
        /// It was found good and refused all the same, a moment ago.
        case refused(Problem)
        /// - Parameter isKnown: the token was good before.
        case miss(isKnown: Bool, generation: UInt64)
    }

    static let capacity = 10_000
    static let validSeconds: Int64 = 2

    private var principals: [SHA256Digest: (principal: Principal, readAt: Instant, until: Instant)] = [:]
    private var refusals: [SHA256Digest: (problem: Problem, until: Instant)] = [:]
    private var ends: [SHA256Digest: Instant] = [:]
    /// Rises with everything forgotten: what was read before it must not be kept after it.
    private(set) var generation: UInt64 = 0

    func find(_ digest: SHA256Digest, now: Instant) -> Finding {
        if let known = principals[digest], now < known.until { return .hit(known.principal) }
        if let refusal = refusals[digest], now < refusal.until { return .refused(refusal.problem) }
        return .miss(isKnown: ends[digest].map { now < $0 } ?? false, generation: generation)
    }

    /// Who a token spoke for when that was asked last, for as long as that may stand in for the database.
    func lastKnown(_ digest: SHA256Digest, now: Instant) -> Principal? {
        guard let known = principals[digest], let end = ends[digest], now < end,
            now.microseconds - known.readAt.microseconds <= Authentication.lastKnownMicroseconds
        else { return nil }
        return known.principal
    }

    /// - Parameter end: from when on the token is none.
    mutating func insert(
        _ digest: SHA256Digest,
        _ principal: Principal,
        end: Instant,
        now: Instant,
        generation: UInt64
    ) {
        if ends.count >= Self.capacity, ends[digest] == nil { makeRoom(now: now) }
        ends[digest] = end
        guard generation == self.generation else {
            // What was just read may be less than whom it spoke for before.
            principals[digest] = nil
            return
        }
        principals[digest] = (principal, now, min(now.adding(seconds: Self.validSeconds), end))
    }

    /// Forgets for whom a token speaks, because it has been refused. A 403 is that of a good token, which no failures
    /// are counted of: it is kept for a moment, so that repeating the token costs no verification and no look-up.
    mutating func refuse(_ digest: SHA256Digest, _ problem: Problem, now: Instant, generation: UInt64) {
        principals[digest] = nil
        guard problem.status == .forbidden, generation == self.generation else { return }
        if refusals.count >= Self.capacity { refusals.removeAll(keepingCapacity: true) }
        refusals[digest] = (problem, now.adding(seconds: Self.validSeconds))
    }

    /// Forgets for whom the tokens speak, and which lead to no tenant.
    mutating func forget() {
        generation += 1
        principals = [:]
        refusals = [:]
    }

    /// Has it asked again for whom the tokens speak. Who was known last stays for when that can't be.
    mutating func makeStale() {
        generation += 1
        refusals = [:]
        principals = principals.mapValues { ($0.principal, $0.readAt, .minimum) }
    }

    /// Half of the room, or all of it, so that it is not sought for every token.
    private mutating func makeRoom(now: Instant) {
        ends = ends.filter { now < $0.value }
        if ends.count > Self.capacity / 2 { ends.removeAll(keepingCapacity: true) }
        principals = principals.filter { ends[$0.key] != nil }
    }
}
