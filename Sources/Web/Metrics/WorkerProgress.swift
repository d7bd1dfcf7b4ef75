package import BillingCore
import Metrics

/// When a worker last finished a round: the time since then is its lag.
package struct WorkerProgress: Sendable {
    private let lastSuccess: Gauge

    package init(worker: String) {
        lastSuccess = Gauge(label: "turnpike_worker_last_success_seconds", dimensions: [("worker", worker)])
    }

    package func succeeded(at time: Instant) {
        lastSuccess.record(time.microseconds / 1_000_000)
    }
}
