import BillingCore
import Postgres
import Web

/// The table `webhook_delivery` as a queue, and `webhook_attempt`.
enum DeliveryQueue {
    /// Held while deliveries are claimed, so that the bound on an endpoint holds over all replicas.
    private static let claimLockID: Int64 = 0x7475_726E_686F_6F6B
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

    /// What a claim may take.
    struct ClaimTerms: Sendable {
        let limit: Int
        /// How many more attempts this process may have under way, those of the claim included.
        let free: Int
        /// What this process can send. The rest waits for a process that can.
        let kinds: [WebhookEndpoint.Kind]
        /// Whether that includes URLs that are sealed.
        let opensURLs: Bool
        /// At a time, over all processes, as is the next.
        let perEndpoint: Int
        /// The operator's own are not bounded by it.
        let perTenant: Int
        let leaseSeconds: Int64
        /// Attempts that this process has under way. Those of deliveries that were asked for again, or are gone with
        /// their endpoint, have no lease any more, and count.
        var running: [WebhookEndpointID: Int] = [:]
    }

    /// Waits until nobody else claims. What is claimed afterwards is so from then on, however long that took.
    static func awaitTurn(in transaction: borrowing Transaction) throws {
        _ = try transaction.execute("SELECT pg_advisory_xact_lock(\(claimLockID))")
    }

    /// Claims deliveries that are due: of those first who have the fewest under way, and of as many the oldest.
    ///
    /// A tenant, and each endpoint of the operator, gets an attempt only if it then has no more under way than were
    /// free before. So the share of each shrinks with the number of those who are slow, and while they are fewer than
    /// the attempts of a process there is room for somebody else (dynamic thresholds; Choudhury and Hahne, 1998).
    ///
    /// Of as many under way those come first whose endpoints answer: a slot that is free again must not go to the next
    /// who is slow as long as they have more that waits than anybody else, and has waited for longer.
    ///
    /// The endpoints that something waits for are found by stepping through the index, so that any number of deliveries
    /// waiting for one that fails costs the others nothing.
    static func claim(
        _ terms: ClaimTerms,
        at now: Instant,
        in transaction: borrowing Transaction
    ) throws -> [ClaimedDelivery] {
        // Where much has been queued since the table was analysed, sorting all of it at each step seems cheap.
        transaction.enqueue("SET LOCAL enable_sort = off")
        return try transaction.query(claiming(terms, at: now), claimed)
    }

    static func claiming(_ terms: ClaimTerms, at now: Instant) -> SQL {
        """
        WITH RECURSIVE busy AS (
            \(endpointsWaitedFor)
        ), leased AS (
            \(underWay(terms.running, at: now))
        ), waiting AS (
            SELECT found.tenant_id, busy.endpoint_key, found.delivery_id, found.next_attempt_at, open.is_failing,
                under_way.count + row_number() OVER (
                    PARTITION BY busy.tenant_id, busy.endpoint_key ORDER BY found.next_attempt_at, found.delivery_id
                ) AS level
            FROM busy
            CROSS JOIN LATERAL (
                SELECT endpoint.failing_since IS NOT NULL AS is_failing FROM webhook_endpoint AS endpoint
                WHERE endpoint.tenant_id = busy.tenant_id AND endpoint.endpoint_key = busy.endpoint_key
                    AND endpoint.enabled AND endpoint.kind = ANY(\(terms.kinds.map(\.rawValue)))
                    AND (endpoint.sealed_url IS NULL OR \(terms.opensURLs))
                LIMIT 1
            ) AS open
            CROSS JOIN LATERAL (
                SELECT coalesce(sum(count), 0)::bigint AS count FROM leased
                WHERE tenant_id = busy.tenant_id AND endpoint_key = busy.endpoint_key
            ) AS under_way
            CROSS JOIN LATERAL (
                SELECT tenant_id, delivery_id, next_attempt_at FROM webhook_delivery
                WHERE tenant_id = busy.tenant_id AND endpoint_key = busy.endpoint_key AND status = 'pending'
                    AND next_attempt_at <= \(now) AND (leased_until IS NULL OR leased_until <= \(now))
                ORDER BY next_attempt_at, delivery_id
                LIMIT greatest(0, \(terms.perEndpoint) - under_way.count)
                FOR UPDATE SKIP LOCKED
            ) AS found
        ), levelled AS (
            SELECT tenant_id, delivery_id, next_attempt_at, is_failing,
                CASE WHEN tenant_id = \(TenantID.operatorWide) THEN level ELSE
                    (SELECT coalesce(sum(count), 0) FROM leased WHERE leased.tenant_id = waiting.tenant_id)
                    + row_number() OVER (PARTITION BY tenant_id ORDER BY level, is_failing, next_attempt_at, delivery_id)
                END AS level
            FROM waiting
        ), placed AS (
            SELECT tenant_id, delivery_id, level,
                row_number() OVER (ORDER BY level, is_failing, next_attempt_at, delivery_id) AS place
            FROM levelled
            WHERE tenant_id = \(TenantID.operatorWide) OR level <= \(terms.perTenant)
        ), due AS (
            SELECT tenant_id, delivery_id FROM placed
            WHERE level <= \(terms.free) - place + 1 AND place <= \(terms.limit)
        ), claimed AS (
            UPDATE webhook_delivery AS delivery
            SET attempt_count = attempt_count + 1, leased_until = \(now.adding(seconds: terms.leaseSeconds))
            FROM due
            WHERE delivery.tenant_id = due.tenant_id AND delivery.delivery_id = due.delivery_id
            RETURNING delivery.tenant_id, delivery.delivery_id, delivery.endpoint_key, delivery.attempt_count,
                delivery.leased_until, delivery.failure_count
        )
        SELECT delivery_id, tenant_id, endpoint_key, attempt_count, leased_until, failure_count FROM claimed
        """
    }

    /// How many attempts are under way at each endpoint: the query of `leased`.
    private static func underWay(_ running: [WebhookEndpointID: Int], at now: Instant) -> SQL {
        """
        SELECT tenant_id, endpoint_key, max(count) AS count
        FROM (
            SELECT tenant_id, endpoint_key, count(*) AS count FROM webhook_delivery
            WHERE leased_until IS NOT NULL AND leased_until > \(now)
            GROUP BY tenant_id, endpoint_key
            UNION ALL
            SELECT * FROM unnest(
                \(running.keys.map(\.tenant))::bigint[], \(running.keys.map(\.key))::text[],
                \(running.values.map(Int64.init))::bigint[]
            )
        ) AS counted
        GROUP BY tenant_id, endpoint_key
        """
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

    /// The endpoints that something waits for, each by the one before it: the query of `busy`.
    private static let endpointsWaitedFor: SQL = """
        (
            SELECT tenant_id, endpoint_key FROM webhook_delivery WHERE status = 'pending'
            ORDER BY tenant_id, endpoint_key LIMIT 1
        )
        UNION ALL
        SELECT following.tenant_id, following.endpoint_key
        FROM busy CROSS JOIN LATERAL (
            SELECT tenant_id, endpoint_key FROM webhook_delivery
            WHERE status = 'pending' AND (tenant_id, endpoint_key) > (busy.tenant_id, busy.endpoint_key)
            ORDER BY tenant_id, endpoint_key LIMIT 1
        ) AS following
        """

    /// Ends what waits for an endpoint that is being disabled, which is locked, and has not arrived meanwhile. Of very
    /// much that waits only some: the rest is tried no more, and ended by `cancelWaitingForDisabled`.
    static func cancelWaiting(
        for endpoint: WebhookEndpointID,
        at now: Instant,
        in transaction: borrowing Transaction
    ) {
        transaction.enqueue(
            """
            UPDATE webhook_delivery
            SET status = \(DeliveryStatus.canceled), finished_at = \(now), leased_until = NULL
            WHERE (tenant_id, delivery_id) IN (
                SELECT tenant_id, delivery_id FROM webhook_delivery
                WHERE tenant_id = \(endpoint.tenant) AND endpoint_key = \(endpoint.key) AND status = 'pending'
                ORDER BY next_attempt_at, delivery_id
                LIMIT \(cancelBatch)
            ) AND status = 'pending'
            """
        )
    }

    /// Ends some of what waits for endpoints that are disabled. Returns how many.
    static func cancelWaitingForDisabled(at now: Instant, limit: Int, pool: PostgresPool) async throws -> Int {
        try await pool.execute(
            .worker,
            """
            UPDATE webhook_delivery
            SET status = \(DeliveryStatus.canceled), finished_at = \(now), leased_until = NULL
            WHERE (tenant_id, delivery_id) IN (
                SELECT tenant_id, delivery_id
                FROM webhook_delivery JOIN webhook_endpoint USING (tenant_id, endpoint_key)
                WHERE status = 'pending' AND NOT enabled
                ORDER BY tenant_id, delivery_id
                LIMIT \(limit)
            ) AND status = 'pending'
            """
        )
    }

    /// Keeps what came of an attempt. A delivery that is gone with its endpoint keeps nothing.
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
    @discardableResult
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

    @Sendable private static func claimed(_ row: inout PostgresRow) throws(PostgresError) -> ClaimedDelivery {
        ClaimedDelivery(
            id: try row.next(),
            endpoint: WebhookEndpointID(tenant: try row.next(), key: try row.next()),
            attempt: try row.next(),
            leasedUntil: try row.next(),
            failures: try row.next()
        )
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
