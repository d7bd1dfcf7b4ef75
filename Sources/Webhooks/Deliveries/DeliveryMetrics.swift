import Metrics
import Web

/// What becomes of deliveries.
struct DeliveryMetrics: Sendable {
    private struct Kind: Hashable {
        let kind: WebhookEndpoint.Kind
        let outcome: String
    }

    /// The outcome of what could not be tried here.
    private static let putOff = "put_off"

    private let attempts: [Kind: Counter]
    private let duration = Timer(label: "turnpike_webhook_attempt_seconds")
    private let waiting = Gauge(label: "turnpike_webhook_deliveries_waiting")
    private let eventsSetAside = Counter(label: "turnpike_webhook_events_set_aside_total")
    private let unreadable = Counter(label: "turnpike_webhook_unreadable_attempts_total")
    private let oldest = Gauge(label: "turnpike_webhook_oldest_waiting_seconds")
    private let failed = Self.givenUp("failed")
    private let unsent = Self.givenUp("unsent")

    private static func givenUp(_ reason: String) -> Counter {
        Counter(label: "turnpike_webhook_deliveries_given_up_total", dimensions: [("reason", reason)])
    }

    init() {
        var attempts: [Kind: Counter] = [:]
        for kind in WebhookEndpoint.Kind.allCases {
            for outcome in AttemptResult.Outcome.allCases.map(\.rawValue) + [Self.putOff] {
                attempts[Kind(kind: kind, outcome: outcome)] = Counter(
                    label: "turnpike_webhook_attempts_total",
                    dimensions: [("kind", kind.rawValue), ("outcome", outcome)]
                )
            }
        }
        self.attempts = attempts
    }

    func attempted(
        _ kind: WebhookEndpoint.Kind,
        _ result: AttemptResult,
        isPutOff: Bool,
        _ duration: Duration
    ) {
        let outcome = isPutOff ? Self.putOff : result.outcome.rawValue
        attempts[Kind(kind: kind, outcome: outcome)]?.increment()
        self.duration.record(duration: duration)
    }

    /// An event that can't be queued was given up.
    func setAside() {
        eventsSetAside.increment()
    }

    /// A delivery was tried for the last time, and failed.
    func gaveUp() {
        failed.increment()
    }

    /// Deliveries were forgotten that nobody could send in all the time that they are kept.
    func forgot(_ count: Int) {
        unsent.increment(by: count)
    }

    /// A delivery was to be tried and could not be read.
    func wasUnreadable() {
        unreadable.increment()
    }

    func waits(_ count: Int64, oldestSeconds: Int64) {
        waiting.record(count)
        oldest.record(oldestSeconds)
    }
}
