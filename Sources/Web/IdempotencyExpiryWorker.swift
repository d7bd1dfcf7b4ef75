import BillingCore
package import Logging
package import Postgres
import ServiceLifecycle

/// Removes stored answers that are older than a day. Safe on every replica: each deletes what it finds.
package struct IdempotencyExpiryWorker: Service {
    private let pool: PostgresPool
    private let clock: Clock
    private let loop: WorkerLoop

    package init(pool: PostgresPool, clock: Clock, logger: Logger, interval: Duration = .seconds(600)) {
        self.pool = pool
        self.clock = clock
        loop = WorkerLoop("idempotency_expiry", every: interval, clock: clock, logger: logger)
    }

    package func run() async throws {
        await loop.run { try await sweep() }
    }

    private func sweep() async throws {
        try await WorkerLoop.drain(1_000) { limit in
            try await IdempotencyStore.removeExpired(pool: pool, now: clock.now(), maximumCount: limit)
        }
    }
}
