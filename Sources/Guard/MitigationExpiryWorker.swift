import BillingCore
import Catalog
package import Logging
package import Postgres
import ServiceLifecycle
package import Web
import Webhooks

/// Tells of mitigations whose time is over. They refuse nothing from then on whether or not that has been told. Safe on
/// every replica.
package struct MitigationExpiryWorker: Service {
    private static let batch = 100

    private let pool: PostgresPool
    private let clock: Clock
    private let ids: IDSource
    private let loop: WorkerLoop

    package init(
        pool: PostgresPool,
        clock: Clock,
        ids: IDSource,
        interval: Duration = .seconds(1),
        logger: Logger
    ) {
        self.pool = pool
        self.clock = clock
        self.ids = ids
        loop = WorkerLoop("mitigation_expiry", every: interval, clock: clock, logger: logger)
    }

    package func run() async throws {
        await loop.run { try await sweep() }
    }

    package func sweep() async throws {
        let now = clock.now()
        try await WorkerLoop.drain(Self.batch) { [ids] limit in
            try await pool.transaction(.worker, retries: .idempotent(attempts: 3)) { transaction in
                let ended = try MitigationStore.expire(at: now, limit: limit, in: transaction)
                Outbox.enqueue(
                    try ended.map { mitigation in
                        try OutboxEvent(.mitigationEnded, mitigation, id: ids.next(), at: mitigation.expiresAt)
                    },
                    in: transaction
                )
                return ended.count
            }
        }
    }
}
