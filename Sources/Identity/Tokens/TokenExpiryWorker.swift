import BillingCore
import Logging
import Postgres
import ServiceLifecycle
import Web

/// Removes what is remembered of tokens and assertions that have expired. Safe on every replica: each deletes what it
/// finds.
struct TokenExpiryWorker: Service {
    private static let batch = 1_000

    let pool: PostgresPool
    let clock: Clock
    let logger: Logger

    func run() async throws {
        await WorkerLoop("token_expiry", every: .seconds(600), clock: clock, logger: logger).run { try await sweep() }
    }

    func sweep() async throws {
        let now = clock.now()
        for remove in [RevokedTokenStore.removeExpired, ClientAssertionStore.removeExpired] {
            try await WorkerLoop.drain(Self.batch) { try await remove(pool, now, $0) }
        }
    }
}
