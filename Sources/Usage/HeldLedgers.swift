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

    private struct State {
        var held: Set<TenantID> = []
        var lookedAt = ContinuousClock.now
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

    /// Those of the tenants whose ledger was held when it was last looked at.
    func known(among tenants: Set<TenantID>) -> Set<TenantID> {
        state.withLock { $0.held.isEmpty ? [] : $0.held.intersection(tenants) }
    }

    /// Looks which of the tenants' ledgers somebody has locked now.
    func find(among tenants: Set<TenantID>) async throws -> Set<TenantID> {
        let asked = tenants.sorted()
        let held = try await pool.query(
            .ingest,
            """
            WITH free AS (
                SELECT tenant_id FROM tenant_ledger WHERE tenant_id = ANY(\(asked)::bigint[])
                FOR NO KEY UPDATE SKIP LOCKED
            )
            SELECT tenant_id FROM tenant_ledger WHERE tenant_id = ANY(\(asked)::bigint[])
            EXCEPT SELECT tenant_id FROM free
            """
        ) { row throws(PostgresError) in try row.next(TenantID.self) }
        state.withLock { state in
            state.held.subtract(tenants)
            state.held.formUnion(held)
        }
        return Set(held)
    }

    /// Waits until none of the tenants' ledgers is held, but for a moment at least.
    /// - Throws: `IngestRefusal.queueFull` where too much waits already, `.ledgerHeld` when the time is over, and
    ///   `PostgresError` where it can't be looked.
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
        repeat {
            guard ContinuousClock.now < end else { throw IngestRefusal.ledgerHeld }
            try await Task.sleep(for: Self.pause)
            try await look()
        } while !known(among: tenants).isEmpty
    }

    /// Looks at all that are held, unless somebody has just done so.
    private func look() async throws {
        let due = state.withLock { state -> Set<TenantID> in
            let now = ContinuousClock.now
            guard now - state.lookedAt >= Self.pause else { return [] }
            state.lookedAt = now
            return state.held
        }
        if !due.isEmpty { _ = try await find(among: due) }
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
