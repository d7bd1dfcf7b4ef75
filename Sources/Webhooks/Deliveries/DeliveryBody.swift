import BillingCore
import Web

/// How a delivery is answered and audited.
struct DeliveryBody: Encodable, Sendable {
    let id: WebhookDeliveryID
    let endpoint: String
    let tenant: String?
    let eventID: UUIDv7
    let eventType: String
    let status: String
    let attemptCount: Int32
    let nextAttemptAt: Instant?
    let createdAt: Instant
    let finishedAt: Instant?

    /// - Parameter tenantKey: whose endpoint it is; nil for the operator's own.
    init(_ delivery: DeliveryRecord, tenantKey: String?) {
        id = delivery.id
        endpoint = delivery.endpoint.key
        tenant = tenantKey
        eventID = delivery.event.id
        eventType = delivery.eventType
        status = delivery.status.rawValue
        attemptCount = delivery.attemptCount
        nextAttemptAt = delivery.status == .pending ? delivery.nextAttemptAt : nil
        createdAt = delivery.createdAt
        finishedAt = delivery.finishedAt
    }
}

/// A delivery with what is delivered and what came of each attempt.
struct DeliveryDetailBody: Encodable, Sendable {
    struct Event: Encodable, Sendable {
        let type: String
        let timestamp: Instant
        let data: JSONValue
    }

    struct Attempt: Encodable, Sendable {
        let number: Int32
        let startedAt: Instant
        let durationMs: Int32
        let outcome: String
        let statusCode: Int32?
        let responseExcerpt: String?
        let error: String?
    }

    let delivery: DeliveryBody
    let event: Event
    let attempts: [Attempt]

    init(_ detail: DeliveryLog.Detail, tenantKey: String?) throws {
        delivery = DeliveryBody(detail.delivery, tenantKey: tenantKey)
        event = Event(
            type: delivery.eventType,
            timestamp: detail.occurredAt,
            data: try JSONValue(stored: detail.data)
        )
        attempts = detail.attempts.map { attempt in
            Attempt(
                number: attempt.number,
                startedAt: attempt.startedAt,
                durationMs: attempt.milliseconds,
                outcome: attempt.outcome,
                statusCode: attempt.statusCode,
                responseExcerpt: attempt.excerpt,
                error: attempt.error
            )
        }
    }

    private enum CodingKeys: String, CodingKey {
        case event, attempts
    }

    func encode(to encoder: any Encoder) throws {
        try delivery.encode(to: encoder)
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(event, forKey: .event)
        try container.encode(attempts, forKey: .attempts)
    }
}
