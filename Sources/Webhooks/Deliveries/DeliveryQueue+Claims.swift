import BillingCore
import Postgres

/// Which deliveries are tried next.
extension DeliveryQueue {
    /// Held while deliveries are claimed, so that the bound on an endpoint holds over all replicas.
    private static let claimLockID: Int64 = 0x7475_726E_686F_6F6B

    /// Of how many tenants a claim asks whether anything is due at an endpoint of the operator.
    private static let tenantsAsked = 64

    /// How many of the endpoints that something waits for a claim looks at.
    static let endpointsAsked = 1_000

    /// What a claim has taken.
    struct Claims: Sendable {
        /// In the order of their turns.
        let deliveries: [ClaimedDelivery]
        /// The last endpoint that was looked at; nil where nothing waits for any behind those.
        let lookedUntil: WebhookEndpointID?
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
        /// Whose event this process told last at each endpoint of the operator.
        var toldLast: [WebhookEndpointID: TenantID] = [:]
        /// The endpoints behind this one are looked at; nil begins with the first.
        var lookBehind: WebhookEndpointID?
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
    /// At an endpoint of the operator that answers, the events of all tenants take turns, so that one with very many
    /// holds up no other's.
    ///
    /// The endpoints that something waits for are found by stepping through the index, so that any number of deliveries
    /// waiting for one that fails costs the others nothing. Of very many endpoints a claim looks at some, and the next
    /// one at those behind them: all this holds among those that are looked at, and every attempt under way counts.
    static func claim(
        _ terms: ClaimTerms,
        at now: Instant,
        in transaction: borrowing Transaction
    ) throws -> Claims {
        // Where much has been queued since the table was analysed, sorting all of it at each step seems cheap.
        transaction.enqueue("SET LOCAL enable_sort = off")
        let rows = try transaction.query(claiming(terms, at: now), claimed)
        return Claims(deliveries: rows.compactMap(\.delivery), lookedUntil: rows.first?.lookedUntil)
    }

    static func claiming(_ terms: ClaimTerms, at now: Instant) -> SQL {
        """
        WITH RECURSIVE busy AS (
            \(endpointsWaitedFor(behind: terms.lookBehind))
        ), leased AS (
            \(underWay(terms.running, at: now))
        ), told AS (
            SELECT * FROM unnest(
                \(terms.toldLast.keys.map(\.key))::text[], \(Array(terms.toldLast.values))::bigint[]
            ) AS last (endpoint_key, event_tenant_id)
        ), open AS (
            \(open(terms))
        ), waiting AS (
            SELECT open.tenant_id, found.delivery_id, found.next_attempt_at, open.is_failing, 0 AS position,
                open.under_way + row_number() OVER (
                    PARTITION BY open.tenant_id, open.endpoint_key ORDER BY found.next_attempt_at, found.delivery_id
                ) AS level
            FROM open CROSS JOIN LATERAL (\(oldest(at: now))) AS found
            WHERE open.tenant_id <> 0 OR open.is_failing
            UNION ALL
            SELECT open.tenant_id, found.delivery_id, found.next_attempt_at, open.is_failing, found.position,
                open.under_way + found.position
            FROM open CROSS JOIN LATERAL (\(inTurn(at: now))) AS found
            WHERE open.tenant_id = 0 AND NOT open.is_failing
        ), levelled AS (
            SELECT tenant_id, delivery_id, next_attempt_at, is_failing, position,
                CASE WHEN tenant_id = \(TenantID.operatorWide) THEN level ELSE
                    (SELECT coalesce(sum(count), 0) FROM leased WHERE leased.tenant_id = waiting.tenant_id)
                    + row_number() OVER (
                        PARTITION BY tenant_id ORDER BY level, is_failing, next_attempt_at, delivery_id
                    )
                END AS level
            FROM waiting
        ), placed AS (
            SELECT tenant_id, delivery_id, level, position,
                row_number() OVER (ORDER BY level, is_failing, next_attempt_at, delivery_id) AS place
            FROM levelled
            WHERE tenant_id = \(TenantID.operatorWide) OR level <= \(terms.perTenant)
        ), due AS (
            SELECT tenant_id, delivery_id, position FROM placed
            WHERE level <= \(terms.free) - place + 1 AND place <= \(terms.limit)
            LIMIT \(terms.limit)
        ), locked AS (
            \(locking(at: now))
        ), claimed AS (
            \(leasing(until: now.adding(seconds: terms.leaseSeconds)))
        )
        SELECT last.tenant_id, last.endpoint_key, claimed.delivery_id, claimed.tenant_id, claimed.endpoint_key,
            attempt_count, leased_until, failure_count, event_tenant_id
        FROM (VALUES (\(endpointsAsked))) AS asked (count)
        LEFT JOIN busy AS last ON last.step = asked.count
        LEFT JOIN claimed ON true
        ORDER BY position
        """
    }

    /// What is `due` and nobody else is changing: the query of `locked`.
    private static func locking(at now: Instant) -> SQL {
        """
        SELECT free.tenant_id, free.delivery_id, due.position
        FROM due CROSS JOIN LATERAL (
            SELECT tenant_id, delivery_id FROM webhook_delivery
            WHERE tenant_id = due.tenant_id AND delivery_id = due.delivery_id AND status = 'pending'
                AND \(isDue(at: now))
            LIMIT 1
            FOR UPDATE SKIP LOCKED
        ) AS free
        """
    }

    /// Takes what is `locked`: the query of `claimed`.
    private static func leasing(until end: Instant) -> SQL {
        """
        UPDATE webhook_delivery AS delivery
        SET attempt_count = attempt_count + 1, leased_until = \(end)
        FROM locked
        WHERE delivery.tenant_id = locked.tenant_id AND delivery.delivery_id = locked.delivery_id
        RETURNING delivery.tenant_id, delivery.delivery_id, delivery.endpoint_key, delivery.attempt_count,
            delivery.leased_until, delivery.failure_count, delivery.event_tenant_id, locked.position
        """
    }

    /// The endpoints that may be tried, with how many more attempts each: the query of `open`.
    private static func open(_ terms: ClaimTerms) -> SQL {
        """
        SELECT busy.tenant_id, busy.endpoint_key, endpoint.is_failing, under_way.count AS under_way,
            coalesce((SELECT event_tenant_id FROM told WHERE told.endpoint_key = busy.endpoint_key), -1) AS told_last,
            least(\(terms.limit), greatest(0, \(terms.perEndpoint) - under_way.count)) AS room
        FROM busy
        CROSS JOIN LATERAL (
            SELECT endpoint.failing_since IS NOT NULL AS is_failing FROM webhook_endpoint AS endpoint
            WHERE endpoint.tenant_id = busy.tenant_id AND endpoint.endpoint_key = busy.endpoint_key
                AND endpoint.enabled AND endpoint.kind = ANY(\(terms.kinds.map(\.rawValue)))
                AND (endpoint.sealed_url IS NULL OR \(terms.opensURLs))
            LIMIT 1
        ) AS endpoint
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(count), 0)::bigint AS count FROM leased
            WHERE tenant_id = busy.tenant_id AND endpoint_key = busy.endpoint_key
        ) AS under_way
        """
    }

    /// Whether what waits may be tried.
    private static func isDue(at now: Instant) -> SQL {
        "next_attempt_at <= \(now) AND (leased_until IS NULL OR leased_until <= \(now))"
    }

    /// What is due at the endpoint `open`, the oldest first.
    private static func oldest(at now: Instant) -> SQL {
        """
        SELECT delivery_id, next_attempt_at FROM webhook_delivery
        WHERE tenant_id = open.tenant_id AND endpoint_key = open.endpoint_key AND status = 'pending'
            AND \(isDue(at: now))
        ORDER BY next_attempt_at, delivery_id
        LIMIT open.room
        """
    }

    /// What is due at the operator's endpoint `open`: one of each tenant in turn, from the one on whose event was told
    /// last, and the next of each where there is room for more. So many tenants that something waits for are asked
    /// whether anything is due; where that finds too little, the oldest follows.
    private static func inTurn(at now: Instant) -> SQL {
        let isHere: SQL = "tenant_id = 0 AND endpoint_key = open.endpoint_key AND status = 'pending'"
        return """
            WITH RECURSIVE turn AS (
                SELECT open.told_last AS start, open.told_last AS event_tenant_id, false AS is_second_round,
                    0 AS step, 0 AS found
                UNION ALL
                SELECT turn.start, following.event_tenant_id, following.is_second_round, turn.step + 1,
                    turn.found + (
                        SELECT count(*)::integer FROM (
                            SELECT FROM webhook_delivery
                            WHERE \(isHere) AND \(isDue(at: now)) AND event_tenant_id = following.event_tenant_id
                            LIMIT 1
                        ) AS due
                    )
                FROM turn CROSS JOIN LATERAL (
                    (
                        SELECT event_tenant_id, turn.is_second_round FROM webhook_delivery
                        WHERE \(isHere) AND event_tenant_id > turn.event_tenant_id
                            AND (NOT turn.is_second_round OR event_tenant_id <= turn.start)
                        ORDER BY event_tenant_id LIMIT 1
                    )
                    UNION ALL
                    (
                        SELECT event_tenant_id, true FROM webhook_delivery
                        WHERE \(isHere) AND NOT turn.is_second_round AND event_tenant_id <= turn.start
                        ORDER BY event_tenant_id LIMIT 1
                    )
                    LIMIT 1
                ) AS following
                WHERE turn.step < \(tenantsAsked) AND turn.found < open.room
            ), own AS (
                SELECT one.delivery_id, one.next_attempt_at, turn.step, row_number() OVER (
                    PARTITION BY turn.step ORDER BY one.next_attempt_at, one.delivery_id
                ) AS place
                FROM turn CROSS JOIN LATERAL (
                    SELECT delivery_id, next_attempt_at FROM webhook_delivery
                    WHERE \(isHere) AND \(isDue(at: now)) AND event_tenant_id = turn.event_tenant_id
                    ORDER BY next_attempt_at, delivery_id
                    LIMIT open.room
                ) AS one
                WHERE turn.step > 0
            ), others AS (
                SELECT delivery_id, next_attempt_at FROM (\(oldest(at: now))) AS old
                WHERE (SELECT count(*) FROM own) < open.room AND delivery_id NOT IN (SELECT delivery_id FROM own)
            )
            SELECT delivery_id, next_attempt_at, row_number() OVER (ORDER BY place, step, next_attempt_at) AS position
            FROM (
                SELECT delivery_id, next_attempt_at, place, step FROM own
                UNION ALL
                SELECT delivery_id, next_attempt_at, open.room + 1, 0 FROM others
            ) AS found
            ORDER BY place, step, next_attempt_at
            LIMIT open.room
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

    /// The endpoints that something waits for, each by the one before it: the query of `busy`.
    private static func endpointsWaitedFor(behind last: WebhookEndpointID?) -> SQL {
        let (tenant, key) = (last?.tenant.rawValue ?? -1, last?.key ?? "")
        return """
            (
                SELECT tenant_id, endpoint_key, 1 AS step FROM webhook_delivery
                WHERE status = 'pending' AND (tenant_id, endpoint_key) > (\(tenant), \(key))
                ORDER BY tenant_id, endpoint_key LIMIT 1
            )
            UNION ALL
            SELECT following.tenant_id, following.endpoint_key, busy.step + 1
            FROM busy CROSS JOIN LATERAL (
                SELECT tenant_id, endpoint_key FROM webhook_delivery
                WHERE status = 'pending' AND (tenant_id, endpoint_key) > (busy.tenant_id, busy.endpoint_key)
                ORDER BY tenant_id, endpoint_key LIMIT 1
            ) AS following
            WHERE busy.step < \(endpointsAsked)
            """
    }

    @Sendable private static func claimed(
        _ row: inout PostgresRow
    ) throws(PostgresError) -> (delivery: ClaimedDelivery?, lookedUntil: WebhookEndpointID?) {
        var lookedUntil: WebhookEndpointID?
        if let tenant = try row.next(TenantID?.self) {
            lookedUntil = WebhookEndpointID(tenant: tenant, key: try row.next())
        } else {
            row.skip()
        }
        guard let id = try row.next(WebhookDeliveryID?.self) else { return (nil, lookedUntil) }
        let delivery = ClaimedDelivery(
            id: id,
            endpoint: WebhookEndpointID(tenant: try row.next(), key: try row.next()),
            attempt: try row.next(),
            leasedUntil: try row.next(),
            failures: try row.next(),
            eventTenant: try row.next()
        )
        return (delivery, lookedUntil)
    }
}
