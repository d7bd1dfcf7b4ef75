import BillingCore
package import Logging
package import Postgres
import ServiceLifecycle
package import Web

/// All SQL on `alert_waiting`.
enum AlertBacklog {
    static func insertion(of alerts: [NewAlert]) -> SQL {
        """
        INSERT INTO alert_waiting (\(NewAlert.columns))
        \(NewAlert.rows(alerts))
        """
    }

    /// Takes the oldest of those that nobody else is taking, and that follow one of them.
    static func take(
        _ limit: Int,
        after last: AlertID,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [NewAlert] {
        try transaction.query(
            """
            DELETE FROM alert_waiting
            WHERE alert_id IN (
                SELECT alert_id FROM alert_waiting WHERE alert_id > \(last)
                ORDER BY alert_id LIMIT \(limit) FOR UPDATE SKIP LOCKED
            )
            RETURNING \(NewAlert.columns)
            """,
            NewAlert.decode
        )
    }

    /// Which one follows; nil where none does.
    static func next(after last: AlertID, pool: PostgresPool) async throws -> AlertID? {
        try await pool.query(
            .worker,
            "SELECT alert_id FROM alert_waiting WHERE alert_id > \(last) ORDER BY alert_id LIMIT 1"
        ) { row throws(PostgresError) in try row.next(AlertID.self) }.first
    }
}

/// Raises, a piece at a time, the alerts of transactions that had too many for one. Safe on every replica.
package struct AlertBacklogWorker: Service {
    private let pool: PostgresPool
    private let loop: WorkerLoop

    package init(pool: PostgresPool, clock: Clock, interval: Duration = .seconds(1), logger: Logger) {
        self.pool = pool
        loop = WorkerLoop("alert_backlog", every: interval, clock: clock, logger: logger)
    }

    package func run() async throws {
        await loop.run { try await raiseWaiting() }
    }

    /// What meets an alert that can't be raised is halved until it is known which. That one stays, and fails the round
    /// once the others are raised.
    package func raiseWaiting() async throws {
        var (limit, last) = (AlertStore.atOnce, AlertID(rawValue: .zero))
        var failure: PostgresError?
        while !Task.isCancelled {
            do {
                guard try await raise(limit, after: last) == limit else { break }
                limit = min(AlertStore.atOnce, 2 * limit)
            } catch let error as PostgresError where error.isOfRows {
                failure = failure ?? error
                guard limit == 1 else {
                    limit /= 2
                    continue
                }
                guard let found = try await AlertBacklog.next(after: last, pool: pool) else { break }
                last = found
            }
        }
        if let failure { throw failure }
    }

    /// - Returns: how many there were.
    private func raise(_ limit: Int, after last: AlertID) async throws -> Int {
        try await pool.transaction(.worker, retries: .idempotent(attempts: 3)) { transaction in
            let alerts = try AlertBacklog.take(limit, after: last, in: transaction)
            try AlertStore.insert(alerts, in: transaction)
            return alerts.count
        }
    }
}
