import BillingCore
import Postgres
import Web

/// The table `webhook_delivery` as a queue, and `webhook_attempt`. What is claimed is chosen by `claim`.
enum DeliveryQueue {
    /// How many deliveries one statement ends: few enough for it to be quick.
    static let cancelBatch = 5_000

    static func insert(_ deliveries: [DeliveryRecord], in transaction: borrowing Transaction) {
        guard !deliveries.isEmpty else { return }
        transaction.enqueue(
            """
            INSERT INTO webhook_delivery (tenant_id, delivery_id, endpoint_key, event_tenant_id, event_id, event_type,
                status, attempt_count, failure_count, next_attempt_at, created_at)
            SELECT tenant_id, delivery_id, endpoint_key, event_tenant_id, event_id, event_type,
                \(DeliveryStatus.pending), 0, 0, created_at, created_at
            FROM unnest(
                \(deliveries.map(\.endpoint.tenant))::bigint[], \(deliveries.map(\.id))::uuid[],
                \(deliveries.map(\.endpoint.key))::text[], \(deliveries.map(\.event.tenant))::bigint[],
                \(deliveries.map(\.event.id))::uuid[], \(deliveries.map(\.eventType))::text[],
                \(deliveries.map(\.createdAt))::timestamptz[]
            ) AS new (tenant_id, delivery_id, endpoint_key, event_tenant_id, event_id, event_type, created_at)
            ON CONFLICT ON CONSTRAINT webhook_delivery_once DO NOTHING
            """
        )
    }

    /// What an attempt takes; nil when the delivery is gone with its endpoint.
    static func content(of claim: ClaimedDelivery, at now: Instant, pool: PostgresPool) async throws
        -> ClaimedDelivery.Content?
    {
        try await pool.query(
            .worker,
            """
            SELECT endpoint.created_at, endpoint.kind, endpoint.url, endpoint.sealed_url, endpoint.signing,
                endpoint.sealed_secret,
                CASE WHEN endpoint.previous_secret_expires_at > \(now) THEN endpoint.previous_sealed_secret END,
                event.event_id, event.event_type, event.occurred_at, event.data
            FROM webhook_delivery AS delivery
            JOIN webhook_endpoint AS endpoint
                ON endpoint.tenant_id = delivery.tenant_id AND endpoint.endpoint_key = delivery.endpoint_key
            JOIN webhook_event AS event
                ON event.tenant_id = delivery.event_tenant_id AND event.event_id = delivery.event_id
            WHERE delivery.tenant_id = \(claim.endpoint.tenant) AND delivery.delivery_id = \(claim.id)
            """,
            content
        ).first
    }

    /// Ends what waits for an endpoint that is being disabled, which is locked, and has not arrived meanwhile. Of very
    /// much that waits only some: the rest is tried no more, and ended by `cancelWaitingForDisabled`.
    static func cancelWaiting(
        for endpoint: WebhookEndpointID,
        at now: Instant,
        in transaction: borrowing Transaction
    ) {
        transaction.enqueue(canceling(waiting(for: endpoint, limit: cancelBatch), at: now))
    }

    /// Ends some of what waits for an endpoint, while it is disabled. Tells whether there may be more.
    static func cancelSome(of endpoint: WebhookEndpointID, at now: Instant, pool: PostgresPool) async throws -> Bool {
        let chosen = waiting(for: endpoint, limit: DeliveryLog.removalBatch)
        let canceled = try await pool.execute(
            .interactive,
            """
            \(canceling(chosen, at: now)) AND EXISTS (
                SELECT FROM webhook_endpoint
                WHERE tenant_id = \(endpoint.tenant) AND endpoint_key = \(endpoint.key) AND NOT enabled
            )
            """
        )
        return canceled == DeliveryLog.removalBatch
    }

    /// Ends some of what waits for endpoints that are disabled. Returns how many.
    static func cancelWaitingForDisabled(at now: Instant, limit: Int, pool: PostgresPool) async throws -> Int {
        let chosen: SQL = """
            SELECT tenant_id, delivery_id
            FROM webhook_delivery JOIN webhook_endpoint USING (tenant_id, endpoint_key)
            WHERE status = 'pending' AND NOT enabled
            ORDER BY tenant_id, delivery_id
            LIMIT \(limit)
            """
        return try await pool.execute(.worker, canceling(chosen, at: now))
    }

    /// Ends those of some deliveries, by tenant and id, that wait still.
    private static func canceling(_ chosen: SQL, at now: Instant) -> SQL {
        """
        UPDATE webhook_delivery
        SET status = \(DeliveryStatus.canceled), finished_at = \(now), leased_until = NULL
        WHERE (tenant_id, delivery_id) IN (\(chosen)) AND status = 'pending'
        """
    }

    /// What waits for an endpoint, by tenant and id, the next to be tried first.
    private static func waiting(for endpoint: WebhookEndpointID, limit: Int) -> SQL {
        """
        SELECT tenant_id, delivery_id FROM webhook_delivery
        WHERE tenant_id = \(endpoint.tenant) AND endpoint_key = \(endpoint.key) AND status = 'pending'
        ORDER BY next_attempt_at, delivery_id
        LIMIT \(limit)
        """
    }

    /// How many attempts of a delivery are kept, the latest: as many as are shown.
    static let attemptsKept: Int32 = 1_000
    /// How many attempts one statement removes.
    static let attemptBatch = 10_000

    /// Keeps what came of an attempt, and removes some that are shown no more. One whose delivery is gone with its
    /// endpoint is not kept.
    static func record(
        _ result: AttemptResult,
        of claim: ClaimedDelivery,
        startedAt: Instant,
        _ duration: Duration,
        in transaction: borrowing Transaction
    ) {
        let milliseconds = Int32(clamping: Int64((duration / .milliseconds(1)).rounded()))
        transaction.enqueue(
            """
            INSERT INTO webhook_attempt (tenant_id, delivery_id, attempt, started_at, duration_ms, outcome, status_code,
                response_excerpt, error)
            SELECT tenant_id, delivery_id, \(claim.attempt), \(startedAt), \(milliseconds), \(result.outcome.rawValue),
                \(result.statusCode), \(result.excerpt), \(result.error)
            FROM webhook_delivery
            WHERE tenant_id = \(claim.endpoint.tenant) AND delivery_id = \(claim.id)
            ON CONFLICT DO NOTHING
            """
        )
        guard claim.attempt > attemptsKept else { return }
        transaction.enqueue(
            """
            DELETE FROM webhook_attempt
            WHERE (tenant_id, delivery_id, attempt) IN (
                SELECT tenant_id, delivery_id, attempt FROM webhook_attempt
                WHERE tenant_id = \(claim.endpoint.tenant) AND delivery_id = \(claim.id)
                    AND attempt <= \(claim.attempt - attemptsKept)
                ORDER BY attempt
                LIMIT \(attemptBatch)
            )
            """
        )
    }

    /// It has arrived, whoever else thinks it is on its way.
    static func succeed(_ claim: ClaimedDelivery, at now: Instant, in transaction: borrowing Transaction) {
        transaction.enqueue(
            """
            UPDATE webhook_delivery
            SET status = \(DeliveryStatus.succeeded), finished_at = \(now), leased_until = NULL
            WHERE tenant_id = \(claim.endpoint.tenant) AND delivery_id = \(claim.id)
            """
        )
    }

    /// It has failed, and is tried again if there is a time for that. A claim that another one has taken over, or that
    /// was under way when a retry was asked for, changes nothing.
    /// - Returns: whether the delivery was still this claim's.
    static func fail(
        _ claim: ClaimedDelivery,
        retryAt: Instant?,
        at now: Instant,
        in transaction: borrowing Transaction
    ) throws -> Bool {
        let failed = try transaction.execute(
            """
            UPDATE webhook_delivery
            SET status = \(retryAt == nil ? DeliveryStatus.failed : .pending), failure_count = failure_count + 1,
                next_attempt_at = \(retryAt ?? now), finished_at = \(retryAt == nil ? now : nil), leased_until = NULL
            WHERE \(isHeld(claim))
            """
        )
        return failed == 1
    }

    /// It could not be tried here, or not at what its endpoint is now. That is no failure of it, and it is left for
    /// later or for another process.
    static func postpone(_ claim: ClaimedDelivery, to time: Instant, in transaction: borrowing Transaction) {
        transaction.enqueue(
            "UPDATE webhook_delivery SET next_attempt_at = \(time), leased_until = NULL WHERE \(isHeld(claim))"
        )
    }

    /// Whether the delivery is still as this claim left it.
    private static func isHeld(_ claim: ClaimedDelivery) -> SQL {
        """
        tenant_id = \(claim.endpoint.tenant) AND delivery_id = \(claim.id) AND status = 'pending'
            AND attempt_count = \(claim.attempt) AND leased_until = \(claim.leasedUntil)
        """
    }

    @Sendable private static func content(_ row: inout PostgresRow) throws(PostgresError) -> ClaimedDelivery.Content {
        ClaimedDelivery.Content(
            target: ClaimedDelivery.Target(
                createdAt: try row.next(),
                kind: try row.next(),
                url: try row.next(),
                sealedURL: try row.next(PostgresBytes?.self)?.bytes,
                signing: try row.next(),
                sealedSecret: try row.next(PostgresBytes?.self)?.bytes,
                previousSealedSecret: try row.next(PostgresBytes?.self)?.bytes
            ),
            event: ClaimedDelivery.Event(
                id: try row.next(),
                type: try row.next(),
                occurredAt: try row.next(),
                data: try row.next(PostgresJSON.self).text
            )
        )
    }
}
