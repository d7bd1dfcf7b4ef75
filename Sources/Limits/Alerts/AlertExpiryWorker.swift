import BillingCore
package import Logging
package import Postgres
import ServiceLifecycle
package import Web

/// Removes alerts that are old enough, whether or not somebody has acknowledged them. Safe on every replica.
package struct AlertExpiryWorker: Service {
    private static let batch = 1_000

    private let pool: PostgresPool
    private let keptSeconds: Int64
    private let clock: Clock
    private let loop: WorkerLoop

    /// - Parameter keptDays: how long an alert is kept after it was raised, and after its window has ended.
    package init(
        pool: PostgresPool,
        keptDays: Int,
        clock: Clock,
        interval: Duration = .seconds(600),
        logger: Logger
    ) {
        self.pool = pool
        keptSeconds = Int64(keptDays) * 86_400
        self.clock = clock
        loop = WorkerLoop("alert_expiry", every: interval, clock: clock, logger: logger)
    }

    package func run() async throws {
        await loop.run { try await sweep() }
    }

    package func sweep() async throws {
        let now = clock.now()
        let time = now.adding(seconds: -keptSeconds)
        try await WorkerLoop.drain(Self.batch) { limit in
            try await AlertStore.remove(olderThan: time, at: now, limit: limit, pool: pool)
        }
    }
}
