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

    /// Takes the oldest of those that nobody else is taking.
    static func take(_ limit: Int, in transaction: borrowing Transaction) throws(PostgresError) -> [NewAlert] {
        try transaction.query(
            """
            DELETE FROM alert_waiting
            WHERE alert_id IN (
                SELECT alert_id FROM alert_waiting ORDER BY alert_id LIMIT \(limit) FOR UPDATE SKIP LOCKED
            )
            RETURNING \(NewAlert.columns)
            """,
            NewAlert.decode
        )
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

    package func raiseWaiting() async throws {
        try await WorkerLoop.drain(AlertStore.atOnce) { limit in
            try await pool.transaction(.worker, retries: .idempotent(attempts: 3)) { transaction in
                let alerts = try AlertBacklog.take(limit, in: transaction)
                try AlertStore.insert(alerts, in: transaction)
                return alerts.count
            }
        }
    }
}
