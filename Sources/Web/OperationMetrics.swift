import HTTPTypes
import Metrics

/// The handles of one operation's metrics, made once: labels are not looked up per request.
struct OperationMetrics: Sendable {
    private let requests: [Counter]
    private let durations: [Timer]

    init(operation: Operation) {
        let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"].map { statusClass in
            [("method", operation.method.rawValue), ("route", operation.path), ("status", statusClass)]
        }
        requests = classes.map { Counter(label: "turnpike_http_requests_total", dimensions: $0) }
        durations = classes.map { Timer(label: "turnpike_http_request_duration_seconds", dimensions: $0) }
    }

    func record(status: HTTPResponse.Status, duration: Duration) {
        let index = min(max(status.code / 100 - 1, 0), 4)
        let (seconds, attoseconds) = duration.components
        requests[index].increment()
        durations[index].recordNanoseconds(seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
    }
}
