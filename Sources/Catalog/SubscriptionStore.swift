package import BillingCore
package import Postgres
import Web

/// All SQL on `subscription`.
package enum SubscriptionStore {
    /// What a list is narrowed to.
    struct Filter: Sendable {
        var tenant: String?
        var plan: String?
        var activeAt: Instant?
        /// The time whose plan `plan` names.
        var planAt: Instant
    }

    /// The sort key of a list: tenants in the order they were made, and within one its subscriptions.
    struct Position: Sendable {
        let tenantID: TenantID
        let id: SubscriptionID
    }

    /// Since when each of a tenant's subscriptions has covered what it covers.
    package static func coverage(of tenant: TenantID, in transaction: borrowing Transaction) throws(PostgresError)
        -> [SubscriptionID: SubscriptionCoverage]
    {
        let starts = try transaction.query(
            """
            SELECT subscription_id, NULL::timestamptz, counted_after_seq FROM subscription
            WHERE tenant_id = \(tenant) AND counted_after_seq IS NOT NULL
            UNION ALL
            SELECT subscription_id, extended_from, counted_after_seq FROM subscription_extension
            WHERE tenant_id = \(tenant)
            """
        ) { row throws(PostgresError) in
            (
                subscription: try row.next(SubscriptionID.self),
                start: SubscriptionCoverage.Start(
                    from: try row.next(Instant?.self) ?? .minimum,
                    ledgerSequence: try row.next()
                )
            )
        }
        return Dictionary(grouping: starts, by: \.subscription)
            .mapValues { SubscriptionCoverage(starts: $0.map(\.start)) }
    }

    /// Inserts the subscription with its segments, under the tenant's ledger lock; refuses one that shares time with
    /// another of the tenant.
    static func insert(_ subscription: Subscription, in transaction: borrowing Transaction) throws {
        try refusingOverlap(of: subscription) { () throws(PostgresError) in
            try transaction.execute(
                """
                INSERT INTO subscription (
                    tenant_id, subscription_id, plan_version_id, timezone, anchor, starts_at, ends_at, created_at,
                    updated_at, revision, counted_after_seq
                )
                VALUES (
                    \(subscription.tenantID), \(subscription.id), \(subscription.segments.last?.planVersionID),
                    \(subscription.zone), \(subscription.anchor), \(subscription.startsAt), \(subscription.endsAt),
                    \(subscription.createdAt), \(subscription.updatedAt), \(subscription.revision),
                    (SELECT ledger_seq FROM tenant_ledger WHERE tenant_id = \(subscription.tenantID))
                )
                """
            )
        }
        for segment in subscription.segments {
            try SubscriptionSegmentStore.insert(segment, of: subscription, in: transaction)
        }
    }

    /// Writes the end, and the plan version of the last segment, under the tenant's ledger lock. Where the end moves on
    /// it is noted from when on more is covered.
    static func update(_ subscription: Subscription, in transaction: borrowing Transaction) throws {
        transaction.enqueue(
            """
            INSERT INTO subscription_extension (tenant_id, subscription_id, extended_from, counted_after_seq)
            SELECT tenant_id, subscription_id, ends_at, ledger_seq
            FROM subscription JOIN tenant_ledger USING (tenant_id)
            WHERE tenant_id = \(subscription.tenantID) AND subscription_id = \(subscription.id)
                AND ends_at < coalesce(\(subscription.endsAt)::timestamptz, 'infinity')
            ON CONFLICT DO NOTHING
            """
        )
        try refusingOverlap(of: subscription) { () throws(PostgresError) in
            try transaction.execute(
                """
                UPDATE subscription
                SET ends_at = \(subscription.endsAt), plan_version_id = \(subscription.segments.last?.planVersionID),
                    updated_at = \(subscription.updatedAt), revision = \(subscription.revision)
                WHERE tenant_id = \(subscription.tenantID) AND subscription_id = \(subscription.id)
                """
            )
        }
    }

    static func find(_ id: SubscriptionID, in transaction: borrowing Transaction) throws -> Subscription? {
        let rows = try transaction.query(
            """
            \(selection)
            WHERE subscription.subscription_id = \(id)
            """,
            SubscriptionRow.init(row:)
        )
        return try subscriptions(rows, in: transaction).first
    }

    /// Subscriptions by tenant and id, which is the order of creation within a tenant.
    static func list(
        _ filter: Filter,
        after position: Position?,
        limit: Int,
        in transaction: borrowing Transaction
    ) throws -> [Subscription] {
        let rows = try transaction.query(
            """
            \(selection)
            WHERE (\(position?.tenantID)::bigint IS NULL
                    OR (subscription.tenant_id, subscription.subscription_id)
                        > (\(position?.tenantID), \(position?.id)))
                AND (\(filter.tenant)::text IS NULL OR tenant.key = \(filter.tenant))
                AND (\(filter.plan)::text IS NULL OR \(filter.plan) = (
                    SELECT plan.key
                    FROM subscription_segment AS segment
                    JOIN plan_version AS version ON version.plan_version_id = segment.plan_version_id
                    JOIN plan ON plan.plan_id = version.plan_id
                    WHERE segment.tenant_id = subscription.tenant_id
                        AND segment.subscription_id = subscription.subscription_id
                        AND (segment.ordinal = 0 OR segment.starts_at <= \(filter.planAt)
                            AND (subscription.ends_at IS NULL OR segment.starts_at < subscription.ends_at))
                    ORDER BY segment.ordinal DESC
                    LIMIT 1
                ))
                AND (\(filter.activeAt)::timestamptz IS NULL
                    OR (subscription.starts_at <= \(filter.activeAt)
                        AND (subscription.ends_at IS NULL OR subscription.ends_at > \(filter.activeAt))))
            ORDER BY subscription.tenant_id, subscription.subscription_id
            LIMIT \(limit)
            """,
            SubscriptionRow.init(row:)
        )
        return try subscriptions(rows, in: transaction)
    }

    /// How many subscriptions a tenant has had, those that never began too, and whether one of them began with a trial.
    static func earlier(
        of tenant: TenantID,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> (count: Int64, hadTrial: Bool) {
        let earlier = try transaction.first(
            """
            SELECT count(*), bool_or(anchor > starts_at AND ends_at IS DISTINCT FROM starts_at)
            FROM subscription
            WHERE tenant_id = \(tenant)
            """
        ) { row throws(PostgresError) in (try row.next(Int64.self), try row.next(Bool?.self)) }
        return (earlier?.0 ?? 0, earlier?.1 ?? false)
    }

    /// Whether any subscription of the tenant, of whatever time, has a segment on the plan.
    static func isSubscribed(
        _ tenant: TenantID,
        toPlan key: String,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> Bool {
        let found = try transaction.first(
            """
            SELECT true
            FROM subscription_segment AS segment
            JOIN plan_version AS version ON version.plan_version_id = segment.plan_version_id
            JOIN plan ON plan.plan_id = version.plan_id
            WHERE segment.tenant_id = \(tenant) AND plan.key = \(key)
            LIMIT 1
            """
        ) { row throws(PostgresError) in try row.next(Bool.self) }
        return found ?? false
    }

    /// Notes when each of a tenant's subscriptions next changes which limits are in force: at its start, at the start
    /// of each of its segments, and at its end.
    static func scheduleLimits(
        after now: Instant,
        tenant: TenantID,
        in transaction: borrowing Transaction
    ) throws(PostgresError) {
        try transaction.execute(
            """
            UPDATE subscription
            SET limits_due_at = CASE
                WHEN ends_at = starts_at THEN NULL
                WHEN starts_at > \(now) THEN starts_at
                ELSE least(
                    CASE WHEN ends_at > \(now) THEN ends_at END,
                    (
                        SELECT min(segment.starts_at)
                        FROM subscription_segment AS segment
                        WHERE segment.tenant_id = subscription.tenant_id
                            AND segment.subscription_id = subscription.subscription_id
                            AND segment.starts_at > \(now)
                            AND (subscription.ends_at IS NULL OR segment.starts_at < subscription.ends_at)
                    )
                )
            END
            WHERE tenant_id = \(tenant) AND (ends_at IS NULL OR limits_due_at IS NOT NULL OR ends_at > \(now))
            """
        )
    }

    /// A tenant whose limits in force should have changed, and when.
    typealias DueLimits = (dueAt: Instant, tenant: TenantID)

    /// What should have changed by now, longest due first, behind a position.
    static func dueLimits(
        at now: Instant,
        after position: DueLimits?,
        limit: Int,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [DueLimits] {
        let (dueAt, tenant) = position ?? (.minimum, .operatorWide)
        return try transaction.query(
            """
            SELECT DISTINCT limits_due_at, tenant_id
            FROM subscription
            WHERE limits_due_at >= \(dueAt) AND limits_due_at <= \(now)
                AND (limits_due_at, tenant_id) > (\(dueAt), \(tenant))
            ORDER BY limits_due_at, tenant_id
            LIMIT \(limit)
            """
        ) { row throws(PostgresError) in (try row.next(), try row.next()) }
    }

    static func areLimitsDue(
        of tenant: TenantID,
        at now: Instant,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> Bool {
        let due = try transaction.first(
            "SELECT true FROM subscription WHERE tenant_id = \(tenant) AND limits_due_at <= \(now) LIMIT 1"
        ) { row throws(PostgresError) in try row.next(Bool.self) }
        return due ?? false
    }

    private static func refusingOverlap(
        of subscription: Subscription,
        _ write: () throws(PostgresError) -> Int
    ) throws {
        do {
            _ = try write()
        } catch {
            guard error.constraint == "subscription_no_overlap" else { throw error }
            throw CatalogFault.subscriptionOverlaps(tenant: subscription.tenantKey)
        }
    }

    private static let selection: SQL = """
        SELECT subscription.tenant_id, subscription.subscription_id, tenant.key, subscription.timezone,
            subscription.anchor, subscription.starts_at, subscription.ends_at, subscription.created_at,
            subscription.updated_at, subscription.revision
        FROM subscription
        JOIN tenant ON tenant.tenant_id = subscription.tenant_id
        """

    /// The segments are read in one statement for all.
    private static func subscriptions(
        _ rows: [SubscriptionRow],
        in transaction: borrowing Transaction
    ) throws -> [Subscription] {
        let named = try SubscriptionSegmentStore.named(of: rows.map { ($0.tenantID, $0.id) }, in: transaction)
        let segments = Dictionary(grouping: named, by: \.segment.subscriptionID)
        return try rows.map { row in
            row.subscription(try (segments[row.id] ?? []).map(Subscription.Segment.init))
        }
    }
}

private struct SubscriptionRow {
    let tenantID: TenantID
    let id: SubscriptionID
    let tenantKey: String
    let zone: Zone
    let anchor: Instant
    let startsAt: Instant
    let endsAt: Instant?
    let createdAt: Instant
    let updatedAt: Instant
    let revision: Int64

    init(row: inout PostgresRow) throws(PostgresError) {
        tenantID = try row.next()
        id = try row.next()
        tenantKey = try row.next()
        zone = try row.next()
        anchor = try row.next()
        startsAt = try row.next()
        endsAt = try row.next()
        createdAt = try row.next()
        updatedAt = try row.next()
        revision = try row.next()
    }

    func subscription(_ segments: [Subscription.Segment]) -> Subscription {
        Subscription(
            id: id,
            tenantID: tenantID,
            tenantKey: tenantKey,
            segments: segments,
            zone: zone,
            anchor: anchor,
            startsAt: startsAt,
            endsAt: endsAt,
            createdAt: createdAt,
            updatedAt: updatedAt,
            revision: revision
        )
    }
}

extension Subscription.Segment {
    fileprivate init(_ row: SubscriptionSegmentStore.Named) throws {
        self.init(
            ordinal: row.segment.ordinal,
            planVersionID: row.segment.planVersionID,
            planKey: row.plan,
            version: row.version,
            startsAt: row.segment.startsAt,
            overrides: try row.segment.overrides.map { try JSONValue(parsing: $0.text) },
            createdAt: row.segment.createdAt
        )
    }
}
