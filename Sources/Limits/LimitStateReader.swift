package import Postgres
import Synchronization

/// Reads rows of limits for many who ask at once: those who come while a statement is under way are served by the next,
/// together. Nobody gets what was read before he asked. See ADR 0043.
package final class LimitStateReader: Sendable {
    package typealias States = [LimitRow: LimitState]

    /// How somebody who has asked goes on.
    private enum Turn {
        /// He reads, for himself and for these.
        case reads([Waiter])
        case isServed(Result<States, any Error>)
        /// Who read for him has gone.
        case asksAgain
    }

    private struct Waiter {
        let rows: [LimitRow]
        let turn: CheckedContinuation<Turn, Never>
    }

    private struct State {
        var isReading = false
        var waiting: [Waiter] = []
    }

    /// How many are served by one statement.
    private static let mostServed = 256

    private let pool: PostgresPool
    private let state = Mutex(State())

    package init(pool: PostgresPool) {
        self.pool = pool
    }

    /// The states of rows; those that are not there have used nothing.
    package func states(of rows: [LimitRow]) async throws -> States {
        guard !rows.isEmpty else { return [:] }
        while true {
            switch await turn(for: rows) {
            case .reads(let others): return Self.states(of: rows, among: try await read(rows, for: others))
            case .isServed(let outcome): return Self.states(of: rows, among: try outcome.get())
            case .asksAgain: continue
            }
        }
    }

    /// Nobody gets what was read for others.
    private static func states(of rows: [LimitRow], among states: States) -> States {
        rows.reduce(into: [:]) { $0[$1] = states[$1] }
    }

    private func turn(for rows: [LimitRow]) async -> Turn {
        await withCheckedContinuation { turn in
            let reads = state.withLock { state in
                guard state.isReading else {
                    state.isReading = true
                    return true
                }
                state.waiting.append(Waiter(rows: rows, turn: turn))
                return false
            }
            if reads { turn.resume(returning: .reads([])) }
        }
    }

    /// As the service's role, because the rows are those of several tenants: the tenant is part of each row's name.
    private func read(_ rows: [LimitRow], for others: [Waiter]) async throws -> States {
        let outcome: Result<States, any Error>
        do {
            let states = try await pool.query(
                .interactive,
                LimitStateStore.states(of: others.reduce(into: rows) { $0 += $1.rows }),
                LimitStateStore.decode
            )
            outcome = .success(Dictionary(states.map { ($0.row, $0) }) { first, _ in first })
        } catch {
            outcome = .failure(error)
        }
        letOthersRead()
        let isCalledOff = Task.isCancelled
        for other in others { other.turn.resume(returning: isCalledOff ? .asksAgain : .isServed(outcome)) }
        return try outcome.get()
    }

    private func letOthersRead() {
        let next = state.withLock { state -> [Waiter] in
            let next = Array(state.waiting.prefix(Self.mostServed))
            state.waiting.removeFirst(next.count)
            state.isReading = !next.isEmpty
            return next
        }
        next.first?.turn.resume(returning: .reads(Array(next.dropFirst())))
    }
}
