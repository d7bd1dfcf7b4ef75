import BillingCore
import Postgres

enum DeliveryStatus: String, CaseIterable, Sendable, PostgresConvertible {
    /// It waits for its next attempt, or is in one. Exits: the three others.
    case pending
    case succeeded
    /// It was given up. A retry makes it pending again, as of any of these.
    case failed
    /// Its endpoint was disabled before it arrived.
    case canceled
}

/// Names an event: ids are unique within a tenant.
struct DeliveredEventID: Hashable, Sendable {
    let tenant: TenantID
    let id: UUIDv7
}

/// One event on its way to one endpoint.
struct DeliveryRecord: Sendable {
    let id: WebhookDeliveryID
    let endpoint: WebhookEndpointID
    let event: DeliveredEventID
    /// By name, because one of a later release may be stored.
    let eventType: String
    var status = DeliveryStatus.pending
    var attemptCount: Int32 = 0
    var nextAttemptAt: Instant
    let createdAt: Instant
    var finishedAt: Instant?

    /// A new one, due at once.
    init(
        id: WebhookDeliveryID,
        endpoint: WebhookEndpointID,
        event: DeliveredEventID,
        eventType: String,
        createdAt: Instant
    ) {
        self.id = id
        self.endpoint = endpoint
        self.event = event
        self.eventType = eventType
        self.createdAt = createdAt
        nextAttemptAt = createdAt
    }

    init(id: WebhookDeliveryID, of event: OutboxEvent, to endpoint: WebhookEndpointID, at now: Instant) {
        self.init(
            id: id,
            endpoint: endpoint,
            event: DeliveredEventID(tenant: event.tenant, id: event.id),
            eventType: event.type.rawValue,
            createdAt: now
        )
    }
}
