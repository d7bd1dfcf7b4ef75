import Metrics

/// The meters of admission.
enum AdmissionMetrics {
    private static let closed = Counter(
        label: "turnpike_admissions_unavailable_total",
        dimensions: [("answered", "closed")]
    )
    private static let open = Counter(
        label: "turnpike_admissions_unavailable_total",
        dimensions: [("answered", "open")]
    )

    private static let depth = Meter(label: "turnpike_admission_queue_calls")

    /// Shows them at zero, so that the first outage is seen as a rise.
    static func begin() {
        [closed, open].forEach { $0.increment(by: 0) }
        depth.increment(by: 0.0)
    }

    /// A call that began to wait in a lane.
    static func countQueued() { depth.increment() }

    /// Calls that ceased to wait there.
    static func countTaken(_ calls: Int) { depth.decrement(by: Double(calls)) }

    /// A call that was answered by failure policy.
    static func countUnavailable(isClosed: Bool) { (isClosed ? closed : open).increment() }

    private static let allowed = counter("allowed")
    private static let refused = Dictionary(
        uniqueKeysWithValues: AdmissionBody.reasons.map { ($0, counter($0)) }
    )

    private static func counter(_ result: String) -> Counter {
        Counter(label: "turnpike_admissions_total", dimensions: [("result", result)])
    }

    /// - Parameter reason: why it is refused; nil where it is allowed.
    static func count(_ reason: String?) {
        guard let reason else { return allowed.increment() }
        refused[reason]?.increment()
    }
}
