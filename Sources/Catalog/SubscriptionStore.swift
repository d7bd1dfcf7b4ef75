import BillingCore
import Postgres
import Web

/// All SQL on `subscription`.
enum SubscriptionStore {
    /// What a list is narrowed to.
    struct Filter: Sendable {
        var tenant: String?
        var plan: String?
        var activeAt: Instant?
    }

    /// The sort key of a list: tenants in the order they were made, and within one its subscriptions.
    struct Position: Sendable {
        let tenantID: TenantID
        let id: SubscriptionID
    }

    /// Inserts the subscription; refuses one that shares time with another of the tenant.
    static func insert(_ subscription: Subscription, in transaction: borrowing Transaction) throws {
        try refusingOverlap(of: subscription) { () throws(PostgresError) in
            try transaction.execute(
                """
                INSERT INTO subscription (
                    tenant_id, subscription_id, plan_version_id, timezone, anchor, starts_at, ends_at, created_at,
                    updated_at, revision
                )
                VALUES (
                    \(subscription.tenantID), \(subscription.id), \(subscription.planVersionID), \(subscription.zone),
                    \(subscription.anchor), \(subscription.startsAt), \(subscription.endsAt),
                    \(subscription.createdAt), \(subscription.updatedAt), \(subscription.revision)
                )
                """
            )
        }
    }

    /// Writes the end.
    static func update(_ subscription: Subscription, in transaction: borrowing Transaction) throws {
        try refusingOverlap(of: subscription) { () throws(PostgresError) in
            try transaction.execute(
                """
                UPDATE subscription
                SET ends_at = \(subscription.endsAt), updated_at = \(subscription.updatedAt),
                    revision = \(subscription.revision)
                WHERE tenant_id = \(subscription.tenantID) AND subscription_id = \(subscription.id)
                """
            )
        }
    }

    static func find(
        _ id: SubscriptionID,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> Subscription? {
        try transaction.first(
            """
            \(selection)
            WHERE subscription.subscription_id = \(id)
            """,
            Self.subscription
        )
    }

    /// Subscriptions by tenant and id, which is the order of creation within a tenant.
    static func list(
        _ filter: Filter,
        after position: Position?,
        limit: Int,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [Subscription] {
        try transaction.query(
            """
            \(selection)
            WHERE (\(position?.tenantID)::bigint IS NULL
                    OR (subscription.tenant_id, subscription.subscription_id)
                        > (\(position?.tenantID), \(position?.id)))
                AND (\(filter.tenant)::text IS NULL OR tenant.key = \(filter.tenant))
                AND (\(filter.plan)::text IS NULL OR plan.key = \(filter.plan))
                AND (\(filter.activeAt)::timestamptz IS NULL
                    OR (subscription.starts_at <= \(filter.activeAt)
                        AND (subscription.ends_at IS NULL OR subscription.ends_at > \(filter.activeAt))))
            ORDER BY subscription.tenant_id, subscription.subscription_id
            LIMIT \(limit)
            """,
            Self.subscription
        )
    }

    /// The plan version in force for a tenant at an instant.
    static func planVersion(
        covering instant: Instant,
        tenant: TenantID,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> PlanVersionID? {
        try transaction.first(
            """
            SELECT plan_version_id
            FROM subscription
            WHERE tenant_id = \(tenant) AND starts_at <= \(instant) AND (ends_at IS NULL OR ends_at > \(instant))
            ORDER BY starts_at DESC
            LIMIT 1
            """
        ) { row throws(PostgresError) in try row.next() }
    }

    /// Notes when each of a tenant's subscriptions next changes which limits are in force.
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
                WHEN ends_at > \(now) THEN ends_at
            END
            WHERE tenant_id = \(tenant) AND (limits_due_at IS NOT NULL OR starts_at > \(now) OR ends_at > \(now))
            """
        )
    }

    /// Tenants whose limits in force should have changed by now.
    static func tenantsWithDueLimits(
        at now: Instant,
        limit: Int,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [TenantID] {
        try transaction.query(
            """
            SELECT tenant_id
            FROM subscription
            WHERE limits_due_at <= \(now)
            ORDER BY limits_due_at, tenant_id
            LIMIT \(limit)
            """
        ) { row throws(PostgresError) in try row.next(TenantID.self) }
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
        SELECT subscription.tenant_id, subscription.subscription_id, tenant.key, subscription.plan_version_id,
            plan.key, version.version, subscription.timezone, subscription.anchor, subscription.starts_at,
            subscription.ends_at, subscription.created_at, subscription.updated_at, subscription.revision
        FROM subscription
        JOIN tenant ON tenant.tenant_id = subscription.tenant_id
        JOIN plan_version AS version ON version.plan_version_id = subscription.plan_version_id
        JOIN plan ON plan.plan_id = version.plan_id
        """

    private static func subscription(_ row: inout PostgresRow) throws(PostgresError) -> Subscription {
        let tenantID = try row.next(TenantID.self)
        let id = try row.next(SubscriptionID.self)
        let tenantKey = try row.next(String.self)
        let planVersionID = try row.next(PlanVersionID.self)
        let planKey = try row.next(String.self)
        let version = Int(try row.next(Int32.self))
        let zone = try row.next(Zone.self)
        let anchor = try row.next(Instant.self)
        let startsAt = try row.next(Instant.self)
        let endsAt = try row.next(Instant?.self)
        let createdAt = try row.next(Instant.self)
        let updatedAt = try row.next(Instant.self)
        return Subscription(
            id: id,
            tenantID: tenantID,
            tenantKey: tenantKey,
            planVersionID: planVersionID,
            planKey: planKey,
            version: version,
            zone: zone,
            anchor: anchor,
            startsAt: startsAt,
            endsAt: endsAt,
            createdAt: createdAt,
            updatedAt: updatedAt,
            revision: try row.next()
        )
    }
}
