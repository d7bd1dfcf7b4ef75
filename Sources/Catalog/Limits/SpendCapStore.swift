package import BillingCore
import Postgres

/// The spend cap of a tenant's plan in force, which keeps `id` and so what was used when the plan changes.
package struct SpendCapInForce: Sendable, Hashable {
    package let id: LimitID
    package let amount: FixedDecimal
    package let mode: LimitMode
    package let revision: Int64
    package let isActive: Bool
    /// Charges of usage from this time on count.
    package let countedFrom: Instant
}

/// All SQL on `spend_cap`.
enum SpendCapStore {
    /// Whether the tenant has or had a cap in force.
    static func exists(for tenant: TenantID, in transaction: borrowing Transaction) throws(PostgresError) -> Bool {
        let found = try transaction.first(
            "SELECT EXISTS (SELECT FROM spend_cap WHERE tenant_id = \(tenant) AND (active OR revision > 1))"
        ) { row throws(PostgresError) in try row.next(Bool.self) }
        return found ?? false
    }

    /// Makes the plan's cap the tenant's; nil puts it out of force. Where anything differs it takes a higher revision.
    static func replace(
        with cap: SpendCap?,
        for tenant: TenantID,
        at now: Instant,
        in transaction: borrowing Transaction
    ) throws(PostgresError) {
        guard let cap else {
            try transaction.execute(
                """
                UPDATE spend_cap SET active = false, revision = revision + 1 WHERE tenant_id = \(tenant) AND active
                """
            )
            return
        }
        try transaction.execute(
            """
            INSERT INTO spend_cap AS existing (tenant_id, limit_id, amount, mode, revision, active, counted_from)
            VALUES (\(tenant), nextval('limit_id_seq'), \(cap.amount), \(cap.mode), 1, true, \(now))
            ON CONFLICT ON CONSTRAINT spend_cap_identity DO UPDATE
            SET amount = excluded.amount, mode = excluded.mode, revision = existing.revision + 1, active = true,
                counted_from = CASE WHEN existing.revision = 1 AND NOT existing.active
                    THEN least(existing.counted_from, excluded.counted_from) ELSE existing.counted_from END
            WHERE (existing.amount, existing.mode, existing.active)
                IS DISTINCT FROM (excluded.amount, excluded.mode, excluded.active)
            """
        )
    }

    /// Makes the tenant's first cap, out of force, where the plan of a segment to come has one: so what is used from
    /// the segment's start on counts, however late the cap is put in force. Nothing counts in one that comes no more.
    static func prepare(
        for tenant: TenantID,
        at now: Instant,
        in transaction: borrowing Transaction
    ) throws(PostgresError) {
        transaction.enqueue(
            """
            UPDATE spend_cap SET counted_from = \(Instant.maximum)
            WHERE tenant_id = \(tenant) AND NOT active AND revision = 1
            """
        )
        try transaction.execute(
            """
            INSERT INTO spend_cap AS existing (tenant_id, limit_id, amount, mode, revision, active, counted_from)
            SELECT \(tenant), nextval('limit_id_seq'), (cap ->> 'amount')::numeric, cap ->> 'mode', 1, false, starts_at
            FROM (
                SELECT segment.starts_at, coalesce(
                    nullif(segment.overrides -> 'spend_cap', 'null'),
                    nullif(version.definition -> 'spend_cap', 'null')
                )
                FROM subscription_segment AS segment
                JOIN subscription USING (tenant_id, subscription_id)
                JOIN plan_version AS version ON version.plan_version_id = segment.plan_version_id
                WHERE segment.tenant_id = \(tenant) AND segment.starts_at > \(now)
                    AND (subscription.ends_at IS NULL OR segment.starts_at < subscription.ends_at)
                ORDER BY segment.starts_at
            ) AS scheduled (starts_at, cap)
            WHERE cap IS NOT NULL
            LIMIT 1
            ON CONFLICT ON CONSTRAINT spend_cap_identity DO UPDATE
            SET amount = excluded.amount, mode = excluded.mode, counted_from = excluded.counted_from
            WHERE NOT existing.active AND existing.revision = 1
            """
        )
    }

    /// The caps that these tenants have or had. Rows decode with `owned`.
    static func ofTenants(_ ids: [TenantID]) -> SQL {
        """
        SELECT tenant_id, limit_id, amount, mode, revision, active, counted_from
        FROM spend_cap
        WHERE tenant_id = ANY(\(ids)::bigint[])
        ORDER BY tenant_id
        """
    }

    static func owned(_ row: inout PostgresRow) throws(PostgresError) -> (tenant: TenantID, cap: SpendCapInForce) {
        (
            try row.next(),
            SpendCapInForce(
                id: try row.next(),
                amount: try row.next(),
                mode: try row.next(),
                revision: try row.next(),
                isActive: try row.next(),
                countedFrom: try row.next()
            )
        )
    }
}
