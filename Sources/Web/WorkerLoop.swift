import BillingCore
package import Logging
import Metrics
import ServiceLifecycle

/// The rounds of a background worker, one after the other until shutdown. A round that fails is logged and made good by
/// the next one; `turnpike_worker_last_success_seconds` says when one last succeeded, so that its age is the lag.
package struct WorkerLoop: Sendable {
    private let name: String
    private let interval: Duration
    private let clock: Clock
    private let logger: Logger
    private let lastSuccess: Gauge

    /// - Parameters:
    ///   - name: the worker's name in metrics and logs, such as `partitions`.
    ///   - interval: the pause between two rounds.
    package init(_ name: String, every interval: Duration, clock: Clock, logger: Logger) {
        self.name = name
        self.interval = interval
        self.clock = clock
        self.logger = logger
        lastSuccess = Gauge(label: "turnpike_worker_last_success_seconds", dimensions: [("worker", name)])
    }

    package func run(_ round: @escaping @Sendable () async throws -> Void) async {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                do {
                    try await round()
                    lastSuccess.record(clock.now().microseconds / 1_000_000)
                } catch  where Task.isCancelled {
                    return
                } catch {
                    logger.warning("a worker's round failed", metadata: ["worker": "\(name)", "error": "\(error)"])
                }
                try? await Task.sleep(for: interval)
            }
        }
    }

    /// Repeats a step until it finds less than it takes at a time, or the task is cancelled.
    /// - Parameter step: takes so many, and tells how many it has found.
    package static func drain(_ batch: Int, _ step: (Int) async throws -> Int) async throws {
        while try await step(batch) == batch, !Task.isCancelled {}
    }
}
