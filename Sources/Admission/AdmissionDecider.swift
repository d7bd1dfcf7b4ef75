import Catalog
import Limits
import Postgres
import Synchronization
import Usage
import Web

/// Decides calls, many in one transaction.
struct AdmissionDecider: Sendable {
    private static let attempts = 8

    let pool: PostgresPool
    let policy: LimitPolicy
    let clock: Clock
    private let told = ReachedLimits()
    private let refusing = RefusingRows()

    init(pool: PostgresPool, policy: LimitPolicy, clock: Clock) {
        self.pool = pool
        self.policy = policy
        self.clock = clock
    }

    /// Parts calls that are likely to be admitted all at once from those that have to be looked at one by one, so that
    /// a caller who asks on and on under a limit that is reached slows nobody else down.
    /// - Returns: which are likely to be.
    func likelyAdmitted(_ requests: [AdmissionRequest]) -> [Bool] {
        var keys: Set<AdmissionKey> = []
        let refusing = refusing.current
        return requests.map { request in
            request.canBeTakenAtOnce && keys.insert(request.key).inserted
                && !(request.holds.contains { refusing.contains($0.row) })
        }
    }

    /// The decisions on calls: on all at once, and where a limit refuses one of them, on one after the other.
    /// - Parameter isAbandoned: whether nobody waits for a decision any more.
    func decide(
        _ requests: [AdmissionRequest],
        atOnce: Bool,
        isAbandoned: @Sendable (Int) -> Bool
    ) async throws -> [AdmissionOutcome] {
        let flush = AdmissionFlush(requests: requests, policy: policy, now: clock.now())
        if atOnce {
            do {
                return try await pool.transaction(.admission, retries: .idempotent(attempts: 4)) { transaction in
                    try flush.admitAll(isAbandoned: isAbandoned, in: transaction)
                }
            } catch is NotAllAdmitted {
                // They are looked at one by one.
            } catch let error as PostgresError where error.constraint == "reservation_identity" {
                // The look at them finds the other transaction's reservation.
            }
        }
        let outcomes = try await oneByOne(flush, isAbandoned)
        refusing.note(outcomes)
        return outcomes
    }

    private func oneByOne(
        _ flush: AdmissionFlush,
        _ isAbandoned: @Sendable (Int) -> Bool
    ) async throws -> [AdmissionOutcome] {
        for attempt in 1... {
            do {
                return try await pool.transaction(.admission, retries: .idempotent(attempts: 4)) { transaction in
                    try flush.run(isAbandoned: isAbandoned, told: told, in: transaction)
                }
            } catch let nothing as NothingAdmitted {
                return nothing.outcomes
            } catch let error as PostgresError
                where error.constraint == "reservation_identity" && attempt < Self.attempts
            {
                continue
            }
        }
        throw AdmissionRefusal.catalogBusy
    }
}

/// Rows of limits that refused a call lately. A guess at what refuses the next one, and nothing more.
private final class RefusingRows: Sendable {
    private static let memory = Duration.seconds(1)
    private static let capacity = 10_000

    private let rows = Mutex<(current: Set<LimitRow>, since: ContinuousClock.Instant)>(([], .now))

    var current: Set<LimitRow> {
        rows.withLock { rows in
            if !rows.current.isEmpty, rows.since.duration(to: .now) > Self.memory { rows.current = [] }
            return rows.current
        }
    }

    func note(_ outcomes: [AdmissionOutcome]) {
        let refusing = outcomes.flatMap { outcome -> [LimitRow] in
            if case .refused(let violations) = outcome { violations.map(\.state.row) } else { [] }
        }
        guard !refusing.isEmpty else { return }
        rows.withLock { rows in
            if rows.current.isEmpty { rows.since = .now }
            guard rows.current.count < Self.capacity else { return }
            rows.current.formUnion(refusing)
        }
    }
}
