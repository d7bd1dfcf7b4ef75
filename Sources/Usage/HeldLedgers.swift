import BillingCore
import Catalog
import Postgres
import Synchronization
import Web

/// Some of the tenants that events are of have their ledger locked by somebody: these wait apart.
struct LedgersHeld: Error {
    let tenants: Set<TenantID>
}

/// Tenants whose ledger somebody holds for longer than a flush waits, such as while their usage is counted anew. Their
/// events wait apart, where they hold up nobody else's (ADR 0040).
final class HeldLedgers: Sendable {
    /// How long a flush waits for what others have locked before it is asked whose ledger that is.
    static let patience = Duration.milliseconds(200)
    /// How long after the ledgers were looked at they are looked at again.
    private static let pause = Duration.milliseconds(100)
    /// How long a look waits for its turn at a ledger: behind flushes it comes to that.
    private static let turn = Duration.milliseconds(50)
    /// At how many ledgers a look waits for its turn; others that are locked count as held until they are among these.
    private static let turns = 4
    /// What nobody has looked at for so long is not known any more.
    private static let memory = Duration.seconds(2)

    private struct State {
        /// When each was last seen to be held.
        var held: [TenantID: ContinuousClock.Instant] = [:]
        /// When the last look ended, and whether one is under way.
        var lookedAt = ContinuousClock.now
        var isLooking = false
        /// What waits of one tenant, and under nil of several at once.
        var waiting: [TenantID?: QueueLoad] = [:]
    }

    private let state = Mutex(State())
    private let pool: PostgresPool
    private let room: QueueLoad
    private let metrics: IngestMetrics

    /// - Parameter room: what waits for ledgers at most; of one tenant a quarter of it, but always one request.
    init(pool: PostgresPool, room: QueueLoad, metrics: IngestMetrics) {
        self.pool = pool
        self.room = room
        self.metrics = metrics
    }

    /// Those of the tenants whose ledger was held a moment ago.
    func known(among tenants: some Sequence<TenantID>) -> Set<TenantID> {
        state.withLock { state in
            guard !state.held.isEmpty else { return [] }
            let now = ContinuousClock.now
            return Set(tenants.filter { tenant in state.held[tenant].map { now - $0 < Self.memory } ?? false })
        }
    }

    /// Looks which of the tenants' ledgers somebody holds: of those that are locked now, which are still when others
    /// that wait for them have had their turn.
    func find(among tenants: Set<TenantID>) async throws -> Set<TenantID> {
        var held = Set(try await locked(among: tenants.sorted()))
        for tenant in held.shuffled().prefix(Self.turns) where try await !isHeld(tenant) { held.remove(tenant) }
        state.withLock { state in
            let now = ContinuousClock.now
            for tenant in tenants { state.held[tenant] = held.contains(tenant) ? now : nil }
        }
        return held
    }

    /// Waits until none of the tenants' ledgers is held, but for a moment at least.
    /// - Throws: `IngestRefusal.queueFull` where too much waits already, `.ledgerHeld` where one is held when the time
    ///   is over, and `PostgresError` where it can't be looked.
    func wait(
        for tenants: Set<TenantID>,
        taking load: QueueLoad,
        until end: ContinuousClock.Instant
    ) async throws {
        let side = tenants.count == 1 ? tenants.first : nil
        guard enter(load, of: side) else { throw IngestRefusal.queueFull }
        metrics.queued(by: load.count)
        defer {
            leave(load, of: side)
            metrics.queued(by: -load.count)
        }
        while true {
            try await Task.sleep(for: Self.pause)
            try await look(for: tenants)
            if known(among: tenants).isEmpty { return }
            guard ContinuousClock.now < end else { throw IngestRefusal.ledgerHeld }
        }
    }

    /// Looks at all that are held, unless somebody has just done so.
    /// - Parameter tenants: for whom it is done, and who are looked at in any case.
    private func look(for tenants: Set<TenantID>) async throws {
        let due = state.withLock { state -> Set<TenantID> in
            let now = ContinuousClock.now
            guard !state.isLooking, now - state.lookedAt >= Self.pause else { return [] }
            state.isLooking = true
            state.held = state.held.filter { now - $0.value < Self.memory }
            return tenants.union(state.held.keys)
        }
        guard !due.isEmpty else { return }
        defer {
            state.withLock { state in
                state.isLooking = false
                state.lookedAt = .now
            }
        }
        _ = try await find(among: due)
    }

    private func locked(among tenants: [TenantID]) async throws -> [TenantID] {
        try await pool.query(
            .ingest,
            """
            WITH free AS (
                SELECT tenant_id FROM tenant_ledger WHERE tenant_id = ANY(\(tenants)::bigint[]) FOR SHARE SKIP LOCKED
            )
            SELECT tenant_id FROM tenant_ledger WHERE tenant_id = ANY(\(tenants)::bigint[])
            EXCEPT SELECT tenant_id FROM free
            """
        ) { row throws(PostgresError) in try row.next(TenantID.self) }
    }

    private func isHeld(_ tenant: TenantID) async throws -> Bool {
        do {
            try await pool.transaction(.ingest) { transaction in
                transaction.waitForLocks(atMost: Self.turn)
                try transaction.execute("SELECT FROM tenant_ledger WHERE tenant_id = \(tenant) FOR SHARE")
            }
            return false
        } catch  where error.isLockTimeout {
            return true
        }
    }

    private func enter(_ load: QueueLoad, of side: TenantID?) -> Bool {
        state.withLock { state in
            let all = state.waiting.values.reduce(QueueLoad(), +)
            let own = state.waiting[side]
            guard all.count == 0 || (all + load).fits(room) else { return false }
            if side != nil, let own, !(own + load).fits(room.divided(by: 4)) { return false }
            state.waiting[side] = (own ?? QueueLoad()) + load
            return true
        }
    }

    private func leave(_ load: QueueLoad, of side: TenantID?) {
        state.withLock { state in
            let rest = (state.waiting[side] ?? load) - load
            state.waiting[side] = rest.count == 0 ? nil : rest
        }
    }
}
