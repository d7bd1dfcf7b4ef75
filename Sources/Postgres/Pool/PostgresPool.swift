package import Logging
import ServiceLifecycle

/// The connections to PostgreSQL, in lanes.
///
/// It works as soon as it is made. As a service it opens one connection per lane ahead of time and, on graceful
/// shutdown, lets the transactions under way finish; so it belongs before everything that uses it in a service group.
/// While the server is away, callers are told at once (``PostgresError/isUnavailable``) and attempts are spread.
package final class PostgresPool: Service, Sendable {
    private let ingest: Lane
    private let admission: Lane
    private let interactive: Lane
    private let worker: Lane
    private let probe: Lane
    private let logger: Logger

    private static let firstRetryMilliseconds = 10
    private static let longestRetryMilliseconds = 1_000

    /// Opens nothing yet.
    package init(_ configuration: PostgresConfiguration, logger: Logger = Logger(label: "turnpike.postgres")) {
        let gate = ReconnectGate()
        func lane(_ lane: PostgresLane) -> Lane {
            let limits = configuration.limits(of: lane)
            var own = configuration
            if let timeout = limits.statementTimeoutMilliseconds {
                own.statementTimeoutMilliseconds = timeout
            }
            own.plansForKeyLookups = lane == .ingest || lane == .admission
            own.applicationName += " \(lane.rawValue)"
            let settings = own
            return Lane(lane, limits: limits) { () throws(PostgresError) in
                try PostgresConnection(settings, name: "pg-\(lane.rawValue)", gate: gate)
            }
        }
        ingest = lane(.ingest)
        admission = lane(.admission)
        interactive = lane(.interactive)
        worker = lane(.worker)
        probe = lane(.probe)
        self.logger = logger
    }

    /// Runs `body` in a transaction on a connection of the lane.
    ///
    /// The body is synchronous and runs on the connection's thread, perhaps more than once when `retries` allow it.
    /// What it throws is rethrown as it is, after ROLLBACK; failures of the driver are ``PostgresError``. Cancelling
    /// the task cancels the running statement.
    package func transaction<R: Sendable>(
        _ lane: PostgresLane,
        as scope: PostgresScope = .service,
        retries: PostgresRetries = .none,
        _ body: @Sendable (borrowing Transaction) throws -> R
    ) async throws -> R {
        try await retrying(retries) {
            try await lease(lane) { try await $0.transaction(as: scope, body) }
        }
    }

    /// Runs transactions on each other's heels on one connection of the lane, see `PostgresConnection.chain`. Nothing
    /// is tried again. After its first piece it ends also when somebody waits for a connection of the lane.
    /// - Returns: the pieces of work that failed.
    /// - Throws: `PostgresError` when there is no connection; then no work was taken.
    package func chain<Work: Sendable, R: Sendable>(
        _ lane: PostgresLane,
        next: @Sendable () -> Work?,
        _ body: @Sendable (Work, borrowing Transaction) throws -> Commit<R>,
        done: @escaping @Sendable (Work, R) -> Void
    ) async throws -> [(work: Work, error: any Error)] {
        let shared = self.lane(lane)
        return try await lease(lane) { connection in
            try await connection.chain(while: { !shared.hasWaiters }, next: next, body, done: done)
        } isHealthy: { failures in
            !failures.contains { ($0.error as? PostgresError)?.kind == .connection }
        }
    }

    /// Runs one statement in a transaction of its own, in one round trip whatever the scope, and decodes its rows.
    package func query<R: Sendable>(
        _ lane: PostgresLane,
        as scope: PostgresScope = .service,
        retries: PostgresRetries = .none,
        _ sql: SQL,
        _ row: @Sendable (inout PostgresRow) throws(PostgresError) -> R
    ) async throws -> [R] {
        try await retrying(retries) {
            try await lease(lane) { connection in
                try await connection.query(as: scope, sql) { result throws(PostgresError) in try result.map(row) }
            }
        }
    }

    /// Runs one statement in a transaction of its own, in one round trip, and returns the number of affected rows.
    @discardableResult
    package func execute(
        _ lane: PostgresLane,
        as scope: PostgresScope = .service,
        retries: PostgresRetries = .none,
        _ sql: SQL
    ) async throws -> Int {
        try await retrying(retries) {
            try await lease(lane) { connection in
                try await connection.query(as: scope, sql) { result throws(PostgresError) in result.affectedRows }
            }
        }
    }

    /// Lends a connection for several transactions in a row, whose session they share.
    package func withConnection<R: Sendable>(
        _ lane: PostgresLane,
        _ body: (PostgresConnection) async throws -> R
    ) async throws -> R {
        try await lease(lane, body)
    }

    /// What the lane is doing, for metrics.
    package func statistics(of lane: PostgresLane) -> PostgresLaneStatistics {
        self.lane(lane).statistics
    }

    /// Opens a connection in every lane now. A failure is not reported: the first use tries again and says.
    package func warmUp() async {
        await withTaskGroup { group in
            for lane in PostgresLane.allCases {
                group.addTask { [logger] in
                    do {
                        try await self.lease(lane) { try await $0.connect() }
                    } catch {
                        logger.warning(
                            "no connection yet",
                            metadata: ["lane": "\(lane.rawValue)", "error": "\(error)"]
                        )
                    }
                }
            }
        }
    }

    /// Warms up, then waits for the end of the service and closes.
    package func run() async throws {
        await warmUp()
        do {
            try await gracefulShutdown()
        } catch {
            logger.debug("the pool's task was cancelled")
        }
        await close()
    }

    /// Refuses new work and returns when the transactions under way have finished.
    package func close() async {
        for lane in PostgresLane.allCases {
            await self.lane(lane).close()
        }
    }

    private func lane(_ lane: PostgresLane) -> Lane {
        switch lane {
        case .ingest: ingest
        case .admission: admission
        case .interactive: interactive
        case .worker: worker
        case .probe: probe
        }
    }

    private func lease<R: Sendable>(
        _ lane: PostgresLane,
        _ body: (PostgresConnection) async throws -> R,
        isHealthy: (R) -> Bool = { _ in true }
    ) async throws -> R {
        let lane = self.lane(lane)
        guard !Task.isCancelled else { throw PostgresError(.cancelled, "the task was cancelled") }
        let connection = try await lane.acquire()
        do {
            let result = try await body(connection)
            lane.release(connection, isHealthy: isHealthy(result))
            return result
        } catch {
            lane.release(connection, isHealthy: (error as? PostgresError)?.kind != .connection)
            throw error
        }
    }

    /// An attempt whose outcome is unknown leaves that of the whole unknown, however the later ones fail.
    private func retrying<R: Sendable>(_ retries: PostgresRetries, _ work: () async throws -> R) async throws -> R {
        var attempt = 1
        var outcomeUnknown = false
        while true {
            do {
                return try await work()
            } catch let error as PostgresError {
                outcomeUnknown = outcomeUnknown || error.outcomeUnknown
                guard retries.allows(error, afterAttempt: attempt) else {
                    throw error.outcomeUnknown == outcomeUnknown ? error : error.with(outcomeUnknown: true)
                }
                logger.debug("transaction is retried", metadata: ["attempt": "\(attempt)", "error": "\(error)"])
                let pause = Backoff.milliseconds(
                    attempt: attempt,
                    first: Self.firstRetryMilliseconds,
                    longest: Self.longestRetryMilliseconds
                )
                do {
                    try await Task.sleep(for: .milliseconds(pause))
                } catch {
                    throw PostgresError(.cancelled, "the task was cancelled", outcomeUnknown: outcomeUnknown)
                }
                attempt += 1
            }
        }
    }
}
