import HTTPTypes
import Metrics

/// The handles of one operation's metrics, made once: labels are not looked up per request. Requests that are of no
/// operation share one set, whose labels say nothing of what a client has made up.
struct OperationMetrics: Sendable {
    private let requests: [Counter]
    private let durations: [Timer]

    init(operation: Operation) {
        self.init(method: operation.method.rawValue, route: operation.path)
    }

    /// Of what no operation answers: an unknown path, a method that the path does not have, what is no HTTP request.
    static func ofNoOperation() -> OperationMetrics { OperationMetrics(method: "none", route: "none") }

    private init(method: String, route: String) {
        let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"].map { statusClass in
            [("method", method), ("route", route), ("status", statusClass)]
        }
        requests = classes.map { Counter(label: "turnpike_http_requests_total", dimensions: $0) }
        durations = classes.map { Timer(label: "turnpike_http_request_duration_seconds", dimensions: $0) }
    }

    func record(status: HTTPResponse.Status, duration: Duration) {
        let (seconds, attoseconds) = duration.components
        count(status)
        durations[Self.index(of: status)].recordNanoseconds(seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
    }

    /// Counts an answer that took no time worth telling.
    func count(_ status: HTTPResponse.Status) {
        requests[Self.index(of: status)].increment()
    }

    private static func index(of status: HTTPResponse.Status) -> Int { min(max(status.code / 100 - 1, 0), 4) }
}
