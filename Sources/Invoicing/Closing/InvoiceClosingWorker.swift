package import Logging
import Metrics
import ServiceLifecycle
package import Web

/// Drafts and finalises what is due, all the time, and counts what can't be. Safe on every replica: see
/// `InvoiceClosing`.
package struct InvoiceClosingWorker: Service {
    private let closing: InvoiceClosing
    private let clock: Clock
    private let loop: WorkerLoop
    private let undrafted = Self.putOff("draft")
    private let unfinalized = Self.putOff("finalize")

    package init(closing: InvoiceClosing, clock: Clock, interval: Duration = .seconds(30), logger: Logger) {
        self.closing = closing.telling(logger)
        self.clock = clock
        loop = WorkerLoop("period_close", every: interval, clock: clock, logger: logger)
    }

    package func run() async throws {
        await loop.run {
            _ = try await closing.run(asOf: clock.now(), waits: false)
            let putOff = try await closing.putOff()
            undrafted.record(putOff.subscriptions)
            unfinalized.record(putOff.drafts)
        }
    }

    private static func putOff(_ step: String) -> Gauge {
        Gauge(label: "turnpike_invoices_put_off", dimensions: [("step", step)])
    }
}
