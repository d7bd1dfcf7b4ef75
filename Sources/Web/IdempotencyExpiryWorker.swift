import BillingCore
package import Logging
package import Postgres
import ServiceLifecycle

/// Removes stored answers that are older than a day. Safe on every replica: each deletes what it finds.
package struct IdempotencyExpiryWorker: Service {
    private let pool: PostgresPool
    private let clock: Clock
    private let logger: Logger
    private let interval: Duration

    package init(pool: PostgresPool, clock: Clock, logger: Logger, interval: Duration = .seconds(600)) {
        self.pool = pool
        self.clock = clock
        self.logger = logger
        self.interval = interval
    }

    package func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                await sweep()
                try? await Task.sleep(for: interval)
            }
        }
    }

    private func sweep() async {
        do {
            var removed = 0
            repeat {
                removed = try await IdempotencyStore.removeExpired(pool: pool, now: clock.now())
            } while removed == 1_000 && !Task.isCancelled
        } catch is CancellationError {
            return
        } catch {
            logger.warning("expired idempotency keys stay until the next sweep", metadata: ["error": "\(error)"])
        }
    }
}
