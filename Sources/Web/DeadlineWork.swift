import ServiceLifecycle
import Synchronization

/// Work that nobody waits for longer than a deadline, whatever becomes of it. It runs beside its callers, so that a
/// database that does not answer at all can't hold them up. As a service it must run before anybody asks.
package final class DeadlineWork: Service {
    /// How much may be under way of which nobody may wait any more: beyond that nothing is begun.
    private static let capacity = 1_000

    private let underWay = Atomic<Int>(0)
    private let jobs: AsyncStream<@Sendable () async -> Void>
    private let add: AsyncStream<@Sendable () async -> Void>.Continuation

    package init() {
        (jobs, add) = AsyncStream.makeStream()
    }

    /// Runs what callers ask for until the graceful shutdown.
    package func run() async {
        await withGracefulShutdownHandler {
            await withDiscardingTaskGroup { group in
                for await job in jobs { group.addTask(operation: job) }
                group.cancelAll()
            }
        } onGracefulShutdown: { [add] in
            add.finish()
        }
    }

    /// What the work gives.
    /// - Throws: `DeadlineFault` when it gives nothing in time.
    package func result<R: Sendable>(
        by deadline: ContinuousClock.Instant,
        of work: @escaping @Sendable () async throws -> R
    ) async throws -> R {
        guard underWay.add(1, ordering: .relaxed).newValue <= Self.capacity else {
            underWay.subtract(1, ordering: .relaxed)
            throw DeadlineFault.tooLate
        }
        let ticket = Ticket<R>()
        let work: @Sendable () async -> Void = { [self] in
            defer { underWay.subtract(1, ordering: .relaxed) }
            do {
                ticket.finish(.success(try await work()))
            } catch {
                ticket.finish(.failure(error))
            }
        }
        let end: @Sendable () async -> Void = {
            try? await Task.sleep(until: deadline)
            ticket.finish(.failure(DeadlineFault.tooLate))
        }
        return try await ticket.wait {
            for job in [work, end] {
                guard case .enqueued = add.yield(job) else { return DeadlineFault.stopping }
            }
            return nil
        }
    }
}

/// Why work gave nothing.
package enum DeadlineFault: Error {
    case tooLate
    case stopping
}
