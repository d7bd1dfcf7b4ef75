import BillingCore
package import Logging
package import Postgres
import ServiceLifecycle
package import Web

/// Deletes portal sessions a day after their end. Safe on every replica: each deletes what it finds.
package struct PortalSessionExpiryWorker: Service {
    private static let keptSeconds: Int64 = 86_400
    private static let batch = 1_000

    private let pool: PostgresPool
    private let clock: Clock
    private let loop: WorkerLoop

    package init(pool: PostgresPool, clock: Clock, logger: Logger, interval: Duration = .seconds(600)) {
        self.pool = pool
        self.clock = clock
        loop = WorkerLoop("portal_session_expiry", every: interval, clock: clock, logger: logger)
    }

    package func run() async throws {
        await loop.run { try await sweep() }
    }

    package func sweep() async throws {
        let time = clock.now().adding(seconds: -Self.keptSeconds)
        try await WorkerLoop.drain(Self.batch) { limit in
            try await PortalSessionStore.removeEnded(before: time, limit: limit, pool: pool)
        }
    }
}
