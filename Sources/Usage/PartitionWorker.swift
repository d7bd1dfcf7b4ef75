import BillingCore
package import Logging
import Metrics
package import Postgres
import ServiceLifecycle
package import Web

/// Makes the raw log's partitions ahead of time, so that the first event of a month waits for nothing. Safe on every
/// replica: making a partition that exists does nothing.
package struct PartitionWorker: Service {
    /// How many months beyond the current one have a partition.
    private static let monthsAhead = 2
    private static let interval = Duration.seconds(3_600)

    let partitions: PartitionRegistry
    let pool: PostgresPool
    let clock: Clock
    let logger: Logger
    private let lag = Gauge(label: "turnpike_worker_last_success_seconds", dimensions: [("worker", "partitions")])

    package init(partitions: PartitionRegistry, pool: PostgresPool, clock: Clock, logger: Logger) {
        self.partitions = partitions
        self.pool = pool
        self.clock = clock
        self.logger = logger
    }

    package func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                do {
                    try await makeAhead()
                    lag.record(clock.now().microseconds / 1_000_000)
                } catch is CancellationError {
                    return
                } catch {
                    logger.warning("partitions were not made ahead", metadata: ["error": "\(error)"])
                }
                try? await Task.sleep(for: Self.interval)
            }
        }
    }

    /// Makes the partitions of the current month and of those that follow.
    package func makeAhead() async throws {
        var month = CivilMonth(of: clock.now())
        var months = [month.start]
        for _ in 0..<Self.monthsAhead {
            month = month.next
            months.append(month.start)
        }
        try await partitions.ensure(months: months, pool: pool)
    }
}
