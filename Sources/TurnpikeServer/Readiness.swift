import HTTPTypes
import Postgres
import Synchronization
import Web

/// Whether requests can be served: the database answers, takes writes, and its schema is the one this program was built
/// for. It is asked on a lane of its own: a replica whose connections are all busy with slow reads takes events and
/// admissions still, and a replica that is not ready would leave its share of them to others that are as busy.
///
/// The answer stays for a second, and those who ask while the database is being asked wait for that answer: the probe
/// is open to everybody, and a flood of it must not reach the database. Nobody waits for longer than `patience`: a
/// database that takes connections and does not answer is no reason to hold up who asks.
final class Readiness: Sendable {
    private typealias Answer = Result<Void, any Error>

    private let validity: Duration
    private let patience: Duration
    private let last = Mutex<(answer: Answer, validUntil: ContinuousClock.Instant)?>(nil)
    private let asking = SharedWork<Void>()
    private let ask: @Sendable () async throws -> Void

    init(
        validity: Duration = .seconds(1),
        patience: Duration = .seconds(2),
        ask: @escaping @Sendable () async throws -> Void
    ) {
        self.validity = validity
        self.patience = patience
        self.ask = ask
    }

    convenience init(pool: PostgresPool) {
        self.init {
            switch try await Migrations.standing(pool) {
            case .ready: break
            case .readOnly: throw Self.notReady("The database takes no writes: it is a standby, or read-only.")
            case .outdated:
                throw Self.notReady("The database's schema is not the one of this program. Run 'turnpike migrate'.")
            }
        }
    }

    func check() async throws {
        if let known { return try known.get() }
        let ticket = Ticket<Void>()
        try await ticket.wait {
            // They outlive who asks: the database may answer him who asks next.
            let late = Task { [patience] in
                try await Task.sleep(for: patience)
                ticket.finish(.failure(Self.notReady("The database has not answered within \(patience).")))
            }
            Task { [self] in
                do {
                    try await askTogether()
                    ticket.finish(.success(()))
                } catch {
                    ticket.finish(.failure(error))
                }
                late.cancel()
            }
            return nil
        }
    }

    private static func notReady(_ detail: String) -> Problem {
        Problem(.serviceUnavailable, code: "not_ready", detail: detail, headers: [.retryAfter: "5"])
    }

    private func askTogether() async throws {
        try await asking.run { [self] in
            // Another may have asked since.
            if let known { return try known.get() }
            let answer: Answer
            do {
                answer = .success(try await ask())
            } catch {
                answer = .failure(error)
            }
            last.withLock { $0 = (answer, .now + validity) }
            try answer.get()
        }
    }

    private var known: Answer? {
        last.withLock { last in last.flatMap { .now < $0.validUntil ? $0.answer : nil } }
    }
}
