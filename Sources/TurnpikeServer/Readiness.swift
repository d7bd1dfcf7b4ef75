import HTTPTypes
import Postgres
import Synchronization
import Web

/// Whether requests can be served: the database answers and its schema is the one this program was built for.
///
/// The answer stays for a second, and those who ask while the database is being asked wait for that answer: the probe is
/// open to everybody, and a flood of it must not reach the database.
final class Readiness: Sendable {
    private typealias Waiter = CheckedContinuation<Result<Void, any Error>, Never>

    private struct State {
        var answer: Result<Void, any Error> = .success(())
        var validUntil: ContinuousClock.Instant?
        var isAsking = false
        var waiters: [Waiter] = []

        var isValid: Bool { validUntil.map { .now < $0 } ?? false }
    }

    private static let validity = Duration.seconds(1)

    private let state = Mutex(State())
    private let ask: @Sendable () async throws -> Void

    init(ask: @escaping @Sendable () async throws -> Void) {
        self.ask = ask
    }

    convenience init(pool: PostgresPool) {
        self.init {
            guard try await Migrations.areCurrent(pool) else {
                throw Problem(
                    .serviceUnavailable,
                    code: "not_ready",
                    detail: "The database's schema is not the one of this program. Run 'turnpike migrate'.",
                    headers: [.retryAfter: "5"]
                )
            }
        }
    }

    func check() async throws {
        let isFirst = state.withLock { state in
            if state.isAsking || state.isValid { return false }
            state.isAsking = true
            return true
        }
        guard isFirst else { return try await answer().get() }
        let answer: Result<Void, any Error>
        do {
            answer = .success(try await ask())
        } catch {
            answer = .failure(error)
        }
        let waiters = state.withLock { state in
            state.answer = answer
            state.validUntil = .now + Self.validity
            state.isAsking = false
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume(returning: answer) }
        try answer.get()
    }

    private func answer() async -> Result<Void, any Error> {
        await withCheckedContinuation { waiter in
            let answer: Result<Void, any Error>? = state.withLock { state in
                guard state.isAsking else { return state.answer }
                state.waiters.append(waiter)
                return nil
            }
            if let answer { waiter.resume(returning: answer) }
        }
    }
}
