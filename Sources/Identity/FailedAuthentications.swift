import BillingCore
import HTTPTypes
package import Logging
package import Postgres
import ServiceLifecycle
import Synchronization
package import Web

/// Counts who fails to authenticate against the budgets of ADR 0018, and gathers it in memory for the audit log, where
/// it is written once a minute: a failure costs no write, and a flood of them a few rows.
final class FailedAuthentications: Sendable {
    enum Kind: String, Sendable {
        case apiKey = "api_key"
        case portalSession = "portal_session"
        case token
        case client
    }

    struct Key: Hashable, Sendable {
        /// Nil for those that are too many to be told apart.
        let address: IPAddress?
        let reason: String
    }

    struct Tally: Sendable {
        var count = 0
        var first: Instant
        var last: Instant
        /// What was claimed to be presented: the first few.
        var credentialIDs: [String] = []
    }

    /// Rows in a minute, beside one for each reason without an address.
    static let capacity = 200
    private static let namedCredentials = 10

    let throttle: AuthenticationThrottle
    private let clock: Clock
    private let tallies = Mutex<[Key: Tally]>([:])

    init(throttle: AuthenticationThrottle, clock: Clock) {
        self.throttle = throttle
        self.clock = clock
    }

    /// Counts and notes a failure, and gives its answer: the problem, or the 429 of who had no failures left before.
    ///
    /// - Parameters:
    ///   - problem: the 401, or the 429 of what was not even looked at.
    ///   - kind: what was presented.
    ///   - credentialID: what it names, as far as it names something.
    func answer(
        to problem: Problem,
        of kind: Kind,
        from address: IPAddress,
        credentialID: String?
    ) -> Problem {
        let wasRefused = problem.status == .tooManyRequests
        let answer = wasRefused ? problem : throttle.failed(problem, from: address, credentialID: credentialID)
        let fault = (problem.underlying as? JWTFault)?.rawValue
        let detail = answer.status == .tooManyRequests ? "throttled" : fault
        let reason = detail.map { "\(kind.rawValue):\($0)" } ?? kind.rawValue
        let now = clock.now()
        add(
            Tally(count: 1, first: now, last: now, credentialIDs: credentialID.map { [$0] } ?? []),
            to: Key(address: address.subscriber, reason: reason)
        )
        return answer
    }

    /// Takes what has gathered.
    func take() -> [Key: Tally] {
        tallies.withLock { tallies in
            defer { tallies = [:] }
            return tallies
        }
    }

    /// Gives back what could not be written.
    func put(back taken: [Key: Tally]) {
        for (key, tally) in taken { add(tally, to: key) }
    }

    private func add(_ new: Tally, to key: Key) {
        tallies.withLock { tallies in
            let hasRoom = tallies[key] != nil || tallies.count < Self.capacity
            let key = hasRoom ? key : Key(address: nil, reason: key.reason)
            var tally = tallies[key] ?? Tally(first: new.first, last: new.last)
            tally.count += new.count
            tally.first = min(tally.first, new.first)
            tally.last = max(tally.last, new.last)
            for id in new.credentialIDs where !tally.credentialIDs.contains(id) {
                if tally.credentialIDs.count < Self.namedCredentials { tally.credentialIDs.append(id) }
            }
            tallies[key] = tally
        }
    }
}

/// Writes `authentication.failed` rows. Each replica writes what it has seen.
package struct FailedAuthenticationWorker: Service {
    private static let name = "failed_authentication"

    private let failures: FailedAuthentications
    private let pool: PostgresPool
    private let loop: WorkerLoop
    private let clock: Clock
    private let ids: IDSource
    private let logger: Logger

    package init(_ authentication: Authentication, pool: PostgresPool, clock: Clock, ids: IDSource, logger: Logger) {
        failures = authentication.failures
        self.pool = pool
        self.clock = clock
        self.ids = ids
        self.logger = logger
        loop = WorkerLoop(Self.name, every: .seconds(60), clock: clock, logger: logger)
    }

    package func run() async throws {
        await loop.run { try await flush() }
        do {
            try await flush()
        } catch {
            logger.warning("failed authentications were not written", metadata: ["error": "\(error)"])
        }
    }

    /// Writes what has gathered since the last time.
    private func flush() async throws {
        let taken = failures.take()
        guard !taken.isEmpty else { return }
        do {
            let entries = try taken.map { key, tally in
                BulkAuditEntry(
                    tenant: .operatorWide,
                    resourceKey: key.address.map(\.subscriberText) ?? "others",
                    after: try JSONValue(encoding: Recorded(key, tally))
                )
            }
            try await pool.transaction(.worker) { transaction in
                AuditLog.record(
                    entries,
                    in: transaction,
                    worker: Self.name,
                    action: "authentication.failed",
                    resourceType: "address",
                    at: clock.now(),
                    ids: ids
                )
            }
        } catch {
            failures.put(back: taken)
            throw error
        }
    }

    private struct Recorded: Encodable {
        let reason: String
        let count: Int
        let firstAt: Instant
        let lastAt: Instant
        let credentialIDs: [String]

        init(_ key: FailedAuthentications.Key, _ tally: FailedAuthentications.Tally) {
            reason = key.reason
            count = tally.count
            firstAt = tally.first
            lastAt = tally.last
            credentialIDs = tally.credentialIDs
        }
    }
}
