import BillingCore
import Postgres
import Web

/// Making deliveries of the events in the outbox: one for each endpoint that is told of them.
enum OutboxFanOut {
    /// Which events are taken.
    enum Selection: Sendable {
        /// At most so many of those that nobody has taken, and none of which could not be taken before: those of the
        /// tenants first that follow one, who take turns.
        case next(Int, after: TenantID)
        case one(DeliveredEventID)
    }

    /// A round takes no further event once it has made so many deliveries.
    static let deliveries = 2_000
    /// How many tenants have their turn in a round.
    static let tenants = 100

    /// Held while deliveries are made, shared by all who make some.
    private static let lockID: Int64 = 0x7475_726E_6661_6E6F

    /// Waits until deliveries that are being made are there, and keeps others from being made until the transaction
    /// ends: whoever enables an endpoint must not miss those of a time before it was disabled.
    static func awaitOthers(in transaction: borrowing Transaction) {
        transaction.enqueue("SELECT pg_advisory_xact_lock(\(lockID))")
    }

    /// Takes events that nobody has taken, and queues their deliveries.
    /// - Returns: the last tenant whose turn it was; nil when there was nothing to take.
    static func round(
        _ selection: Selection,
        at now: Instant,
        ids: IDSource,
        in transaction: borrowing Transaction
    ) throws -> TenantID? {
        // Where much has been written since the table was analysed, sorting all of it at each step seems cheap.
        transaction.enqueue("SET LOCAL enable_sort = off")
        transaction.enqueue("SELECT pg_advisory_xact_lock_shared(\(lockID))")
        let rows = try transaction.query(taking(selection, at: now)) { row throws(PostgresError) in
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
        return rows.last?.eventTenant
    }

    /// Takes events. Its rows are these with the endpoints that are told of them, in the order of the turns.
    static func taking(_ selection: Selection, at now: Instant) -> SQL {
        """
        WITH RECURSIVE \(selection.chosen), taken AS (
            UPDATE webhook_event SET fanned_out_at = \(now)
            FROM chosen
            WHERE webhook_event.tenant_id = chosen.tenant_id AND webhook_event.event_id = chosen.event_id
            RETURNING webhook_event.tenant_id, webhook_event.event_id, event_type, operator_only, chosen.step
        )
        SELECT taken.tenant_id, taken.event_id, taken.event_type, endpoint.tenant_id, endpoint.endpoint_key
        FROM taken LEFT JOIN webhook_endpoint AS endpoint ON \(isTold("taken"))
        ORDER BY taken.step, taken.event_id, endpoint.tenant_id, endpoint.endpoint_key
        """
    }

    /// Whether `endpoint` is told of an event.
    /// - Parameter event: what has its tenant, its type and whether it is for operators only.
    fileprivate static func isTold(_ event: SQL) -> SQL {
        """
        endpoint.tenant_id IN (\(TenantID.operatorWide), \(event).tenant_id) AND endpoint.enabled
            AND endpoint.events && ARRAY[\(event).event_type, \(WebhookEventSelection.wildcard)]
            AND (endpoint.tenant_id = \(TenantID.operatorWide) OR NOT \(event).operator_only)
        """
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
    /// The queries that end with `chosen`.
    fileprivate var chosen: SQL {
        switch self {
        case .next(let limit, let tenant):
            """
            turn AS (
                \(Self.turns(limit, after: tenant))
            ), candidate AS (
                \(Self.candidates(limit))
            ), kind AS (
                \(Self.kinds)
            ), chosen AS (
                SELECT tenant_id, event_id, step
                FROM (
                    SELECT tenant_id, event_id, step, sum(matches) OVER (ORDER BY place, step) - matches AS made
                    FROM candidate JOIN kind USING (tenant_id, event_type, operator_only)
                ) AS counted
                WHERE made < \(OutboxFanOut.deliveries)
            )
            """
        case .one(let event):
            """
            chosen AS (
                SELECT tenant_id, event_id, 1 AS step FROM webhook_event
                WHERE fanned_out_at IS NULL AND tenant_id = \(event.tenant) AND event_id = \(event.id)
                FOR UPDATE SKIP LOCKED
            )
            """
        }
    }

    /// The tenants of whom something waits, each by the one before it, from the one on that follows a tenant: the query
    /// of `turn`.
    private static func turns(_ limit: Int, after tenant: TenantID) -> SQL {
        let waits: SQL = "fanned_out_at IS NULL AND fan_out_failures = 0"
        return """
            SELECT \(tenant)::bigint AS start, \(tenant)::bigint AS tenant_id, 0 AS step, false AS is_second_round
            UNION ALL
            SELECT turn.start, following.tenant_id, turn.step + 1, following.is_second_round
            FROM turn CROSS JOIN LATERAL (
                (
                    SELECT tenant_id, turn.is_second_round FROM webhook_event
                    WHERE \(waits) AND tenant_id > turn.tenant_id
                        AND (NOT turn.is_second_round OR tenant_id <= turn.start)
                    ORDER BY tenant_id LIMIT 1
                )
                UNION ALL
                (
                    SELECT tenant_id, true FROM webhook_event
                    WHERE \(waits) AND NOT turn.is_second_round AND tenant_id <= turn.start
                    ORDER BY tenant_id LIMIT 1
                )
                LIMIT 1
            ) AS following
            WHERE turn.step < \(min(limit, OutboxFanOut.tenants))
            """
    }

    /// As many events of each of these tenants, the first ones first: the query of `candidate`.
    private static func candidates(_ limit: Int) -> SQL {
        """
        SELECT event.tenant_id, event.event_id, event.event_type, event.operator_only, event.place, turn.step
        FROM turn CROSS JOIN LATERAL (
            SELECT first.*, row_number() OVER (ORDER BY event_id) AS place
            FROM (
                SELECT tenant_id, event_id, event_type, operator_only FROM webhook_event
                WHERE fanned_out_at IS NULL AND fan_out_failures = 0 AND tenant_id = turn.tenant_id
                ORDER BY event_id
                LIMIT (SELECT \(limit)::bigint / greatest(1, max(step)) FROM turn)
                FOR UPDATE SKIP LOCKED
            ) AS first
        ) AS event
        WHERE turn.step > 0
        """
    }

    /// How many endpoints are told of each kind of event among them: the query of `kind`.
    private static let kinds: SQL = """
        SELECT sort.tenant_id, sort.event_type, sort.operator_only, count(endpoint.tenant_id) AS matches
        FROM (SELECT DISTINCT tenant_id, event_type, operator_only FROM candidate) AS sort
        LEFT JOIN webhook_endpoint AS endpoint ON \(OutboxFanOut.isTold("sort"))
        GROUP BY sort.tenant_id, sort.event_type, sort.operator_only
        """
}
