import BillingCore
import Postgres
import Web

/// Making deliveries of the events in the outbox: one for each endpoint that is told of them.
enum OutboxFanOut {
    /// Which events are taken.
    enum Selection: Sendable {
        /// The first so many of those that nobody has taken, and none of which could not be taken before.
        case next(Int)
        case one(DeliveredEventID)
    }

    /// Takes events that nobody has taken, in the order of their ids, and queues their deliveries.
    ///
    /// - Returns: how many events were taken.
    static func round(
        _ selection: Selection,
        at now: Instant,
        ids: IDSource,
        in transaction: borrowing Transaction
    ) throws -> Int {
        let rows = try transaction.query(
            """
            WITH taken AS (
                UPDATE webhook_event SET fanned_out_at = \(now)
                FROM (
                    SELECT tenant_id, event_id FROM webhook_event
                    WHERE fanned_out_at IS NULL AND \(selection.condition)
                    ORDER BY event_id
                    LIMIT \(selection.count)
                    FOR UPDATE SKIP LOCKED
                ) AS next
                WHERE webhook_event.tenant_id = next.tenant_id AND webhook_event.event_id = next.event_id
                RETURNING webhook_event.tenant_id, webhook_event.event_id, event_type, operator_only
            )
            SELECT taken.tenant_id, taken.event_id, taken.event_type, endpoint.tenant_id, endpoint.endpoint_key
            FROM taken LEFT JOIN webhook_endpoint AS endpoint
                ON endpoint.tenant_id IN (\(TenantID.operatorWide), taken.tenant_id)
                AND endpoint.enabled
                AND endpoint.events && ARRAY[taken.event_type, \(WebhookEventSelection.wildcard)]
                AND (endpoint.tenant_id = \(TenantID.operatorWide) OR NOT taken.operator_only)
            ORDER BY taken.event_id, endpoint.tenant_id, endpoint.endpoint_key
            """
        ) { row throws(PostgresError) in
            Match(
                eventTenant: try row.next(),
                event: try row.next(),
                eventType: try row.next(),
                endpointTenant: try row.next(),
                endpointKey: try row.next()
            )
        }
        DeliveryQueue.insert(
            rows.compactMap { $0.delivery(id: WebhookDeliveryID(rawValue: ids.next()), at: now) },
            in: transaction
        )
        return Set(rows.map(\.event)).count
    }

    /// Stores an event whose deliveries the caller makes itself.
    static func insert(_ event: OutboxEvent, fannedOutAt: Instant, in transaction: borrowing Transaction) {
        Outbox.enqueue([event], in: transaction)
        transaction.enqueue(
            """
            UPDATE webhook_event SET fanned_out_at = \(fannedOutAt)
            WHERE tenant_id = \(event.tenant) AND event_id = \(event.id)
            """
        )
    }

    private struct Match {
        let eventTenant: TenantID
        let event: UUIDv7
        let eventType: String
        let endpointTenant: TenantID?
        let endpointKey: String?

        func delivery(id: WebhookDeliveryID, at now: Instant) -> DeliveryRecord? {
            guard let endpointTenant, let endpointKey else { return nil }
            return DeliveryRecord(
                id: id,
                endpoint: WebhookEndpointID(tenant: endpointTenant, key: endpointKey),
                event: DeliveredEventID(tenant: eventTenant, id: event),
                eventType: eventType,
                createdAt: now
            )
        }
    }
}

extension OutboxFanOut.Selection {
    fileprivate var count: Int {
        switch self {
        case .next(let count): count
        case .one: 1
        }
    }

    fileprivate var condition: SQL {
        switch self {
        case .next: "fan_out_failures = 0"
        case .one(let event): "tenant_id = \(event.tenant) AND event_id = \(event.id)"
        }
    }
}
