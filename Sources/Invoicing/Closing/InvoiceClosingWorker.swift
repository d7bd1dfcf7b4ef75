package import Logging
import ServiceLifecycle
package import Web

/// Drafts and finalises what is due, all the time. Safe on every replica: see `InvoiceClosing`.
package struct InvoiceClosingWorker: Service {
    private let closing: InvoiceClosing
    private let clock: Clock
    private let loop: WorkerLoop

    package init(closing: InvoiceClosing, clock: Clock, interval: Duration = .seconds(30), logger: Logger) {
        self.closing = closing.telling(logger)
        self.clock = clock
        loop = WorkerLoop("period_close", every: interval, clock: clock, logger: logger)
    }

    package func run() async throws {
        await loop.run { _ = try await closing.run(asOf: clock.now(), waits: false) }
    }
}
