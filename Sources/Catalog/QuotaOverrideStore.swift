package import BillingCore
package import Postgres

/// All SQL on `quota_override`.
package enum QuotaOverrideStore {
    /// The override of a feature and window, one that was removed included.
    static func find(
        _ feature: FeatureID,
        _ window: WindowKind,
        of tenant: TenantID,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> QuotaOverride? {
        try transaction.first(
            """
            \(selection)
            WHERE quota.tenant_id = \(tenant) AND quota.feature_id = \(feature) AND quota.window_kind = \(window)
            """,
            Self.decode
        )
    }

    /// The overrides in force, by feature and window.
    static func active(
        of tenant: TenantID,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [QuotaOverride] {
        try transaction.query(overrides(of: tenant), Self.decode).filter(\.isActive)
    }

    /// A tenant's overrides by feature and window, those that were removed included; the rows decode with `decode`.
    package static func overrides(of tenant: TenantID) -> SQL {
        """
        \(selection)
        WHERE quota.tenant_id = \(tenant)
        ORDER BY quota.feature_id, quota.window_kind
        """
    }

    static func store(
        _ quota: QuotaOverride,
        of tenant: TenantID,
        in transaction: borrowing Transaction
    ) throws(PostgresError) {
        try transaction.execute(
            """
            INSERT INTO quota_override (
                tenant_id, feature_id, window_kind, amount, mode, overage, active, created_at, updated_at, revision
            )
            VALUES (
                \(tenant), \(quota.featureID), \(quota.window), \(quota.limit), \(quota.mode), \(quota.overage),
                \(quota.isActive), \(quota.createdAt), \(quota.updatedAt), \(quota.revision)
            )
            ON CONFLICT ON CONSTRAINT quota_override_pk DO UPDATE
            SET amount = excluded.amount, mode = excluded.mode, overage = excluded.overage, active = excluded.active,
                created_at = excluded.created_at, updated_at = excluded.updated_at, revision = excluded.revision
            """
        )
    }

    private static let selection: SQL = """
        SELECT quota.feature_id, feature.key, quota.window_kind, quota.amount, quota.mode, quota.overage, quota.active,
            quota.created_at, quota.updated_at, quota.revision
        FROM quota_override AS quota
        JOIN feature ON feature.feature_id = quota.feature_id
        """

    @Sendable
    package static func decode(_ row: inout PostgresRow) throws(PostgresError) -> QuotaOverride {
        QuotaOverride(
            featureID: try row.next(),
            featureKey: try row.next(),
            window: try row.next(),
            limit: try row.next(),
            mode: try row.next(),
            overage: try row.next(),
            isActive: try row.next(),
            createdAt: try row.next(),
            updatedAt: try row.next(),
            revision: try row.next()
        )
    }
}
