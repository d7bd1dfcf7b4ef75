package import BillingCore
package import Postgres

/// The rows of `usage_limit` that a plan's quotas become.
package enum UsageLimitStore {
    /// A limit and whose it is.
    struct Owned: Sendable, Hashable {
        let tenantID: TenantID
        let limit: UsageLimit
    }

    /// Makes a tenant's limits those of the quotas. A limit that exists for the same feature and window keeps its id
    /// and so what was used; where anything differs it takes the new amount under a higher revision. Limits that no
    /// quota names become inactive.
    static func replace(
        with quotas: [Quota],
        for tenant: TenantID,
        in transaction: borrowing Transaction
    ) throws(PostgresError) {
        let sorted = quotas.sorted { ($0.featureID, $0.window.rawValue) < ($1.featureID, $1.window.rawValue) }
        let features = sorted.map(\.featureID)
        let windows = sorted.map(\.window)
        try transaction.execute(
            """
            INSERT INTO usage_limit AS existing (
                tenant_id, limit_id, feature_id, window_kind, amount, mode, overage, revision, active
            )
            SELECT \(tenant), nextval('limit_id_seq'), quota.feature_id, quota.window_kind, quota.amount, quota.mode,
                quota.overage, 1, true
            FROM unnest(
                \(features)::bigint[], \(windows)::text[], \(sorted.map(\.limit))::numeric[],
                \(sorted.map(\.mode))::text[], \(sorted.map(\.overage))::text[]
            ) AS quota (feature_id, window_kind, amount, mode, overage)
            ORDER BY quota.feature_id, quota.window_kind
            ON CONFLICT (tenant_id, feature_id, window_kind) DO UPDATE
            SET amount = excluded.amount, mode = excluded.mode, overage = excluded.overage,
                revision = existing.revision + 1, active = true
            WHERE (existing.amount, existing.mode, existing.overage, existing.active)
                IS DISTINCT FROM (excluded.amount, excluded.mode, excluded.overage, true)
            """
        )
        try transaction.execute(
            """
            UPDATE usage_limit
            SET active = false, revision = revision + 1
            WHERE tenant_id = \(tenant) AND active AND NOT EXISTS (
                SELECT FROM unnest(\(features)::bigint[], \(windows)::text[]) AS quota (feature_id, window_kind)
                WHERE quota.feature_id = usage_limit.feature_id AND quota.window_kind = usage_limit.window_kind
            )
            """
        )
    }

    /// Whether the tenant has or had any limit.
    static func exist(for tenant: TenantID, in transaction: borrowing Transaction) throws(PostgresError) -> Bool {
        try transaction.first("SELECT EXISTS (SELECT FROM usage_limit WHERE tenant_id = \(tenant))") {
            row throws(PostgresError) in try row.next(Bool.self)
        } ?? false
    }

    /// Says from when on the usage of a limit's windows is complete.
    package static func startCounting(_ limit: LimitID, of tenant: TenantID, from start: Instant) -> SQL {
        """
        UPDATE usage_limit
        SET counted_from = \(start)
        WHERE tenant_id = \(tenant) AND limit_id = \(limit)
        """
    }

    /// Decodes one row of `TenantSnapshotStore.limits`.
    static func owned(_ row: inout PostgresRow) throws(PostgresError) -> Owned {
        let tenant = try row.next(TenantID.self)
        let id = try row.next(LimitID.self)
        let feature = try row.next(FeatureID.self)
        return Owned(
            tenantID: tenant,
            limit: UsageLimit(
                id: id,
                featureID: feature,
                window: try row.next(),
                amount: try row.next(),
                mode: try row.next(),
                overage: try row.next(),
                revision: try row.next(),
                isActive: try row.next(),
                countedFrom: try row.next()
            )
        )
    }
}
