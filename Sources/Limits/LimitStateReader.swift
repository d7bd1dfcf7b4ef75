package import BillingCore
package import Postgres
import Synchronization
package import Web

/// Reads rows of limits for many who ask at once: those who come while a statement is under way are served by the next,
/// together, tenants in turn. Nobody gets what was read before he asked. See ADR 0043.
package final class LimitStateReader: Sendable {
    package typealias States = [LimitRow: LimitState]

    /// How somebody who has asked goes on.
    private enum Turn {
        /// He reads, for himself and for these.
        case reads([Waiter])
        case isServed(Result<States, any Error>)
        /// Who read for him was called off.
        case asksAgain
    }

    private struct Waiter {
        let rows: [LimitRow]
        let turn: CheckedContinuation<Turn, Never>
    }

    private struct State {
        var isReading = false
        var waiting: FairQueue<TenantID, Waiter>
    }

    private let pool: PostgresPool
    /// How many requests and rows are served by one statement.
    private let largest: QueueLoad
    private let state: Mutex<State>

    /// - Parameters:
    ///   - room: how many requests and rows wait at most; one tenant has a quarter of it, or half while it is alone.
    package init(
        pool: PostgresPool,
        room: QueueLoad = QueueLoad(count: 2_048, size: 65_536),
        largest: QueueLoad = QueueLoad(count: 256, size: 2_048)
    ) {
        self.pool = pool
        self.largest = largest
        let turn = QueueLoad(count: 16, size: 256)
        state = Mutex(State(waiting: FairQueue(room: room, turn: turn)))
    }

    /// The states of a tenant's rows; those that are not there have used nothing.
    /// - Throws: 503 where too many wait.
    package func states(of rows: [LimitRow], for tenant: TenantID) async throws -> States {
        guard !rows.isEmpty else { return [:] }
        while true {
            switch await turn(for: rows, of: tenant) {
            case .reads(let others):
                // Connections share the threads of those who ask.
                return try await withTaskExecutorPreference(globalConcurrentExecutor) {
                    Self.states(of: rows, among: try await read(rows, for: others))
                }
            case .isServed(let outcome): return Self.states(of: rows, among: try outcome.get())
            case .asksAgain: continue
            }
        }
    }

    /// Nobody gets what was read for others.
    private static func states(of rows: [LimitRow], among states: States) -> States {
        rows.reduce(into: [:]) { $0[$1] = states[$1] }
    }

    private func turn(for rows: [LimitRow], of tenant: TenantID) async -> Turn {
        await withCheckedContinuation { turn in
            let now = state.withLock { state -> Turn? in
                guard state.isReading else {
                    state.isReading = true
                    return .reads([])
                }
                let waiter = Waiter(rows: rows, turn: turn)
                let load = QueueLoad(count: 1, size: rows.count)
                return state.waiting.append(waiter, of: tenant, taking: load) ? nil : .isServed(.failure(Self.full))
            }
            if let now { turn.resume(returning: now) }
        }
    }

    private static var full: Problem { .overloaded(detail: "Too many requests wait for what is left of quotas.") }

    /// As the service's role, because the rows are those of several tenants: the tenant is part of each row's name.
    private func read(_ rows: [LimitRow], for others: [Waiter]) async throws -> States {
        let outcome: Result<States, any Error>
        do {
            let states = try await pool.query(
                .interactive,
                retries: .idempotent(attempts: 3),
                LimitStateStore.states(of: Array(others.reduce(into: Set(rows)) { $0.formUnion($1.rows) })),
                LimitStateStore.decode
            )
            outcome = .success(Dictionary(states.map { ($0.row, $0) }) { first, _ in first })
        } catch {
            outcome = .failure(error)
        }
        switch outcome {
        case .failure where Task.isCancelled:
            letOthersRead()
            for waiter in others { waiter.turn.resume(returning: .asksAgain) }
        case .failure:
            for waiter in others + takeAll() { waiter.turn.resume(returning: .isServed(outcome)) }
        case .success:
            letOthersRead()
            for waiter in others { waiter.turn.resume(returning: .isServed(outcome)) }
        }
        return try outcome.get()
    }

    /// The first of those who wait reads next, for some of them.
    private func letOthersRead() {
        let next = state.withLock { state -> [Waiter] in
            let next = state.waiting.take(largest)
            state.isReading = !next.isEmpty
            return next
        }
        next.first?.turn.resume(returning: .reads(Array(next.dropFirst())))
    }

    /// All who wait, where what was tried failed: nobody waits for one failure after the other.
    private func takeAll() -> [Waiter] {
        state.withLock { state in
            state.isReading = false
            return state.waiting.take(state.waiting.load)
        }
    }
}
