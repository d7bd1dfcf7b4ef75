import BillingCore
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
    let heldUp: HeldUpRows
    let told = RefusalAlerts()
    private let lately = LatelyRefused(for: .seconds(1))
    /// Calls that touch these are looked at before they are committed: what fails unseen is an error in PostgreSQL's
    /// log.
    private let unsure = LatelyRefused(for: .seconds(60))

    init(pool: PostgresPool, policy: LimitPolicy, clock: Clock, deadline: Duration) {
        self.pool = pool
        self.policy = policy
        self.clock = clock
        heldUp = HeldUpRows(deadline: deadline)
    }

    /// Parts calls that are likely to be admitted all at once from those that have to be looked at one by one, so that
    /// who asks on and on, under a limit that is reached or for the same call, has nobody else's decided twice.
    /// - Returns: which are likely to be.
    func likelyAdmitted(_ requests: [AdmissionRequest]) -> [Bool] {
        // Those of one key are decided in their order.
        let keys = requests.reduce(into: [AdmissionKey: Int]()) { $0[$1.key, default: 0] += 1 }
        let lately = lately.current
        return requests.map { request in
            request.wanted != nil && keys[request.key] == 1 && !lately.concerns(request)
        }
    }

    /// Tenants of which something was out of date: calls of theirs are looked at one by one for a while.
    func avoid(_ tenants: Set<TenantID>) { lately.note(tenants) }

    /// Admits calls that are likely to be admitted: `AdmissionFlush.admitAllWithCommit`, or else `admitAll`.
    /// - Parameter deadline: the first at which somebody waits no more. Nothing is committed unseen of which a
    ///   statement takes longer.
    func admitAll(
        _ requests: [AdmissionRequest],
        by deadline: ContinuousClock.Instant,
        isAbandoned: (Int) -> Bool,
        in transaction: borrowing Transaction
    ) throws -> Commit<[AdmissionOutcome]> {
        let flush = flush(requests)
        let unsure = unsure.current
        if !requests.contains(where: unsure.concerns), let commit = try flush.admitAllWithCommit() {
            let time = ContinuousClock.now.duration(to: deadline)
            // What waits in vain for one lock is to fail by that, so that the row is found.
            transaction.waitForLocks(atMost: min(heldUp.patience, time / 2), runningFor: time)
            return commit
        }
        transaction.waitForLocks(atMost: heldUp.patience)
        return Commit(try flush.admitAll(isAbandoned: isAbandoned, in: transaction))
    }

    /// The decisions on calls, one after the other.
    /// - Parameters:
    ///   - patience: how long it waits for rows that others have locked.
    ///   - isAbandoned: whether nobody waits for a decision any more.
    /// - Throws: `PostgresError` that `isLockTimeout` when that was not enough.
    func decide(
        _ requests: [AdmissionRequest],
        waiting patience: Duration,
        isAbandoned: @Sendable (Int) -> Bool
    ) async throws -> [AdmissionOutcome] {
        let outcomes = try await oneByOne(flush(requests), patience, isAbandoned)
        lately.note(outcomes, of: requests, withTenantsRefused: true)
        unsure.note(outcomes, of: requests, withTenantsRefused: false)
        return outcomes
    }

    private func flush(_ requests: [AdmissionRequest]) -> AdmissionFlush {
        AdmissionFlush(requests: requests, policy: policy, now: clock.now())
    }

    private func oneByOne(
        _ flush: AdmissionFlush,
        _ patience: Duration,
        _ isAbandoned: @Sendable (Int) -> Bool
    ) async throws -> [AdmissionOutcome] {
        for _ in 1..<Self.attempts {
            do {
                return try await once(flush, patience, isAbandoned)
            } catch let error as PostgresError where error.constraint == "reservation_identity" {
                continue
            } catch is ReservationAppeared {
                continue
            }
        }
        do {
            return try await once(flush, patience, isAbandoned)
        } catch is ReservationAppeared {
            throw AdmissionRefusal.rowsLocked
        }
    }

    private func once(
        _ flush: AdmissionFlush,
        _ patience: Duration,
        _ isAbandoned: @Sendable (Int) -> Bool
    ) async throws -> [AdmissionOutcome] {
        do {
            return try await pool.transaction(.admission, retries: .idempotent(attempts: 4)) { transaction in
                transaction.waitForLocks(atMost: patience)
                return try flush.run(isAbandoned: isAbandoned, told: told, in: transaction)
            }
        } catch let nothing as NothingAdmitted {
            return nothing.outcomes
        }
    }

    /// Rows that calls touch and others may have locked at this moment.
    func locks(of requests: [AdmissionRequest]) async throws -> LimitRowLocks {
        let rows = LockedRows(requests)
        return try await pool.transaction(.admission) { transaction in
            try LimitRowLocks(amounts: rows.changes.map(\.row), rates: rows.rates.map(\.row), in: transaction)
        }
    }
}

/// Rows of limits that refused a call lately, and tenants of which one was not plainly admitted, or was prepared with
/// what was out of date. A guess at what comes next, and nothing more.
private final class LatelyRefused: Sendable {
    struct Known: Sendable {
        var rows: Set<LimitRow> = []
        var tenants: Set<TenantID> = []

        var hasRoom: Bool { rows.count + tenants.count < LatelyRefused.capacity }

        func concerns(_ request: AdmissionRequest) -> Bool {
            tenants.contains(request.tenant.id) || request.holds.contains { rows.contains($0.row) }
        }
    }

    private static let capacity = 10_000

    private let memory: Duration
    private let known = Mutex<(known: Known, since: ContinuousClock.Instant)>((Known(), .now))

    /// - Parameter memory: for how long something is known at most.
    init(for memory: Duration) { self.memory = memory }

    var current: Known {
        known.withLock { state in
            if state.since.duration(to: .now) > memory { state = (Known(), .now) }
            return state.known
        }
    }

    func note(_ tenants: Set<TenantID>) {
        known.withLock { state in
            guard state.known.hasRoom else { return }
            state.known.tenants.formUnion(tenants)
        }
    }

    /// - Parameter withTenantsRefused: whether all calls of a tenant are concerned of which a limit refused one, and
    ///   not just those that touch the limit's row.
    func note(_ outcomes: [AdmissionOutcome], of requests: [AdmissionRequest], withTenantsRefused: Bool) {
        known.withLock { state in
            for (outcome, request) in zip(outcomes, requests) {
                if case .allowed(_, _, let tokens) = outcome, tokens == request.outputTokens { continue }
                guard state.known.hasRoom else { return }
                if case .refused(let violations) = outcome {
                    state.known.rows.formUnion(violations.map(\.state.row))
                    guard withTenantsRefused else { continue }
                }
                state.known.tenants.insert(request.tenant.id)
            }
        }
    }
}
