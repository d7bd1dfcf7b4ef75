import BillingCore
import Postgres
import Web

/// What was delivered and how, read for people; and the end of it all.
enum DeliveryLog {
    struct Filter: Sendable {
        /// Whose endpoints; nil for those of every owner.
        var tenant: TenantID?
        var endpointKey: String?
        var status: DeliveryStatus?
        var eventType: String?
    }

    /// A delivery with its event and its attempts, those that are kept, the first one first.
    struct Detail: Sendable {
        let delivery: DeliveryRecord
        let occurredAt: Instant
        let data: String
        let attempts: [Attempt]
    }

    struct Attempt: Sendable {
        let number: Int32
        let startedAt: Instant
        let milliseconds: Int32
        let outcome: String
        let statusCode: Int32?
        let excerpt: String?
        let error: String?
    }

    static let removalBatch = 2_000

    /// The newest first.
    static func list(
        _ filter: Filter,
        before id: WebhookDeliveryID?,
        count: Int,
        scope: PostgresScope,
        pool: PostgresPool
    ) async throws -> [DeliveryRecord] {
        try await pool.query(.interactive, as: scope, page(filter, before: id, count: count), delivery)
    }

    static func page(_ filter: Filter, before id: WebhookDeliveryID?, count: Int) -> SQL {
        var conditions: [SQL] = ["true"]
        if let tenant = filter.tenant { conditions.append("tenant_id = \(tenant)") }
        if let key = filter.endpointKey { conditions.append("endpoint_key = \(key)") }
        if let status = filter.status { conditions.append(status.condition) }
        if let type = filter.eventType { conditions.append("event_type = \(type)") }
        if let id { conditions.append("delivery_id < \(id)") }
        return """
            SELECT \(columns) FROM webhook_delivery
            WHERE \(SQL.joined(conditions, separator: " AND "))
            ORDER BY delivery_id DESC
            LIMIT \(count)
            """
    }

    /// - Parameter tenant: the caller's own; nil for an operator's.
    static func detail(
        _ id: WebhookDeliveryID,
        tenant: TenantID?,
        scope: PostgresScope,
        pool: PostgresPool
    ) async throws -> Detail? {
        try await pool.transaction(.interactive, as: scope) { transaction in
            let found = try transaction.first(
                """
                SELECT \(columns), occurred_at, data
                FROM webhook_delivery AS delivery CROSS JOIN LATERAL (
                    SELECT occurred_at, data FROM webhook_event
                    WHERE webhook_event.tenant_id = delivery.event_tenant_id
                        AND webhook_event.event_id = delivery.event_id
                ) AS event
                WHERE delivery_id = \(id) AND (\(tenant)::bigint IS NULL OR tenant_id = \(tenant))
                """
            ) { row throws(PostgresError) in
                (try delivery(&row), try row.next(Instant.self), try row.next(PostgresJSON.self).text)
            }
            guard let (delivery, occurredAt, data) = found else { return nil }
            let attempts = try transaction.query(
                """
                SELECT attempt, started_at, duration_ms, outcome, status_code, response_excerpt, error
                FROM webhook_attempt
                WHERE tenant_id = \(delivery.endpoint.tenant) AND delivery_id = \(id)
                ORDER BY attempt DESC
                LIMIT \(DeliveryQueue.attemptsKept)
                """,
                attempt
            )
            return Detail(delivery: delivery, occurredAt: occurredAt, data: data, attempts: attempts.reversed())
        }
    }

    /// Makes a delivery due again, with a whole new schedule, also while an attempt of it is under way. Nil when it has
    /// gone.
    static func retry(
        _ id: WebhookDeliveryID,
        of tenant: TenantID,
        at now: Instant,
        in transaction: borrowing Transaction
    ) throws -> DeliveryRecord? {
        try transaction.first(
            """
            UPDATE webhook_delivery
            SET status = \(DeliveryStatus.pending), failure_count = 0, next_attempt_at = \(now),
                leased_until = NULL, finished_at = NULL
            WHERE tenant_id = \(tenant) AND delivery_id = \(id)
            RETURNING \(columns)
            """,
            delivery
        )
    }

    /// How many deliveries wait, and since when one that is due has not been tried. One that failed is due when its
    /// next attempt is.
    static func backlog(at now: Instant, pool: PostgresPool) async throws -> (count: Int64, dueSince: Instant?)? {
        try await pool.query(
            .worker,
            """
            SELECT count(*), min(next_attempt_at) FILTER (
                WHERE next_attempt_at <= \(now) AND (leased_until IS NULL OR leased_until <= \(now))
            )
            FROM webhook_delivery
            WHERE status = 'pending'
            """
        ) { row throws(PostgresError) in (try row.next(Int64.self), try row.next(Instant?.self)) }.first
    }

    /// Whether an endpoint has more deliveries than `removeSome` deletes, or `DeliveryQueue.cancelSome` ends, at a
    /// time.
    /// - Parameter isWaiting: whether only those count that are still to be tried.
    static func isLong(
        of endpoint: WebhookEndpointID,
        isWaiting: Bool,
        in transaction: borrowing Transaction
    ) throws -> Bool {
        let beyond = try transaction.first(
            """
            SELECT true FROM webhook_delivery
            WHERE tenant_id = \(endpoint.tenant) AND endpoint_key = \(endpoint.key)
                AND (NOT \(isWaiting) OR status = 'pending')
            OFFSET \(removalBatch) LIMIT 1
            """
        ) { row throws(PostgresError) in try row.next(Bool.self) }
        return beyond ?? false
    }

    /// Deletes some of the deliveries of an endpoint, those that are still to be tried only while it is disabled. Tells
    /// whether there may be more.
    static func removeSome(of endpoint: WebhookEndpointID, pool: PostgresPool) async throws -> Bool {
        // Looked at again behind the lock of each: a retry may have been asked for meanwhile.
        let isTriedNoMore: SQL = """
            (status <> 'pending' OR EXISTS (
                SELECT FROM webhook_endpoint
                WHERE tenant_id = \(endpoint.tenant) AND endpoint_key = \(endpoint.key) AND NOT enabled
            ))
            """
        let removed = try await pool.execute(
            .interactive,
            """
            DELETE FROM webhook_delivery
            WHERE (tenant_id, delivery_id) IN (
                SELECT tenant_id, delivery_id FROM webhook_delivery
                WHERE tenant_id = \(endpoint.tenant) AND endpoint_key = \(endpoint.key) AND \(isTriedNoMore)
                ORDER BY delivery_id
                LIMIT \(removalBatch)
            ) AND \(isTriedNoMore)
            """
        )
        return removed == removalBatch
    }

    /// Deletes some of the attempts of the oldest delivery made before a time. Returns how many.
    static func removeAttempts(ofOldestBefore time: Instant, limit: Int, pool: PostgresPool) async throws -> Int {
        try await pool.execute(
            .worker,
            """
            DELETE FROM webhook_attempt
            WHERE (tenant_id, delivery_id, attempt) IN (
                SELECT tenant_id, delivery_id, attempt
                FROM (
                    SELECT tenant_id, delivery_id FROM webhook_delivery
                    WHERE created_at < \(time)
                    ORDER BY created_at
                    LIMIT 1
                ) AS oldest JOIN webhook_attempt USING (tenant_id, delivery_id)
                ORDER BY attempt
                LIMIT \(limit)
            )
            """
        )
    }

    /// Deletes some of the deliveries made before a time, with their attempts.
    /// - Returns: whether each was still waiting.
    static func removeDeliveries(before time: Instant, limit: Int, pool: PostgresPool) async throws -> [Bool] {
        try await pool.query(
            .worker,
            """
            DELETE FROM webhook_delivery
            WHERE (tenant_id, delivery_id) IN (
                SELECT tenant_id, delivery_id FROM webhook_delivery
                WHERE created_at < \(time)
                ORDER BY created_at
                LIMIT \(limit)
            )
            RETURNING status = 'pending'
            """
        ) { row throws(PostgresError) in try row.next(Bool.self) }
    }

    /// Deletes some of the events taken before a time. Returns how many.
    static func removeEvents(before time: Instant, limit: Int, pool: PostgresPool) async throws -> Int {
        try await pool.execute(
            .worker,
            """
            DELETE FROM webhook_event
            WHERE (tenant_id, event_id) IN (
                SELECT tenant_id, event_id FROM webhook_event
                WHERE fanned_out_at < \(time)
                ORDER BY fanned_out_at
                LIMIT \(limit)
            )
            """
        )
    }

    private static let columns: SQL = """
        delivery_id, tenant_id, endpoint_key, event_tenant_id, event_id, event_type, created_at, status, attempt_count,
            next_attempt_at, finished_at
        """

    @Sendable private static func delivery(_ row: inout PostgresRow) throws(PostgresError) -> DeliveryRecord {
        let id = try row.next(WebhookDeliveryID.self)
        let endpoint = WebhookEndpointID(tenant: try row.next(), key: try row.next())
        let event = DeliveredEventID(tenant: try row.next(), id: try row.next())
        let type = try row.next(String.self)
        var delivery = DeliveryRecord(
            id: id,
            endpoint: endpoint,
            event: event,
            eventType: type,
            createdAt: try row.next()
        )
        delivery.status = try row.next()
        delivery.attemptCount = try row.next()
        delivery.nextAttemptAt = try row.next()
        delivery.finishedAt = try row.next()
        return delivery
    }

    @Sendable private static func attempt(_ row: inout PostgresRow) throws(PostgresError) -> Attempt {
        Attempt(
            number: try row.next(),
            startedAt: try row.next(),
            milliseconds: try row.next(),
            outcome: try row.next(),
            statusCode: try row.next(),
            excerpt: try row.next(),
            error: try row.next()
        )
    }
}

extension DeliveryStatus {
    /// Written out, because a plan for any status could use no index of one.
    fileprivate var condition: SQL {
        switch self {
        case .pending: "status = 'pending'"
        case .succeeded: "status = 'succeeded'"
        case .failed: "status = 'failed'"
        case .canceled: "status = 'canceled'"
        }
    }
}
