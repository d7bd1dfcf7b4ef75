import BillingCore
package import Logging
package import Postgres
import ServiceLifecycle
package import Web

/// Makes the raw log's partitions ahead of time, so that the first event of a month waits for nothing. Safe on every
/// replica: making a partition that exists does nothing.
package struct PartitionWorker: Service {
    /// How many months beyond the current one have a partition.
    private static let monthsAhead = 2

    private let partitions: PartitionRegistry
    private let pool: PostgresPool
    private let clock: Clock
    private let loop: WorkerLoop

    package init(partitions: PartitionRegistry, pool: PostgresPool, clock: Clock, logger: Logger) {
        self.partitions = partitions
        self.pool = pool
        self.clock = clock
        loop = WorkerLoop("partitions", every: .seconds(3_600), clock: clock, logger: logger)
    }

    package func run() async throws {
        await loop.run { try await makeAhead() }
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
