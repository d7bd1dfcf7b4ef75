package import BillingCore
package import Postgres

/// From which usage on a budget with windows counts, in the order in which usage was stored: for `verify`.
package struct BudgetStart: Sendable {
    package let limit: LimitID
    package let key: String
    /// Of the tenant that it belongs to.
    let afterSequence: Int64?
    /// Of the shared catalogue, where it belongs to no tenant.
    let sinceVersion: Int64?
    /// Whether what it counts, or in which window, follows from the plan that the tenant had.
    package let dependsOnPlan: Bool

    package func counts(ledgerSequence: Int64, catalogVersion: Int64) -> Bool {
        if let sinceVersion { return catalogVersion >= sinceVersion }
        return afterSequence.map { ledgerSequence > $0 } ?? false
    }
}

extension BudgetStart {
    /// What `decode` reads.
    private static let selection: SQL = """
        SELECT limit_id, key, counted_after_seq, since_version, window_kind = 'billing_period' OR scope ? 'plan'
        FROM budget
        """

    /// Those of the budgets in force whose windows of a tenant (of no tenant: 0) are the sum of what events say; not of
    /// charges, which follow from everything that was used before.
    package static func ofBudgets(countingFor tenant: TenantID) -> SQL {
        """
        \(selection)
        WHERE tenant_id IN (0, \(tenant)) AND archived_at IS NULL AND window_kind IS NOT NULL AND measure <> 'charge'
            AND (tenant_id <> 0 OR (scope ->> 'tenant' IS NOT DISTINCT FROM '*') = (\(tenant) <> 0))
            AND (counted_after_seq IS NOT NULL OR since_version IS NOT NULL)
        ORDER BY limit_id
        """
    }

    /// The same of some limits, a tenant's or shared ones, whatever they count; nothing of those of which it is not
    /// known from where on.
    package static func of(_ limits: [LimitID], in tenant: TenantID) -> SQL {
        """
        \(selection)
        WHERE tenant_id IN (0, \(tenant)) AND limit_id = ANY(\(limits)::bigint[]) AND window_kind IS NOT NULL
            AND (counted_after_seq IS NOT NULL OR since_version IS NOT NULL)
        """
    }

    @Sendable
    package static func decode(_ row: inout PostgresRow) throws(PostgresError) -> BudgetStart {
        BudgetStart(
            limit: try row.next(),
            key: try row.next(),
            afterSequence: try row.next(),
            sinceVersion: try row.next(),
            dependsOnPlan: try row.next()
        )
    }
}
