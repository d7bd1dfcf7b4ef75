import BillingCore
package import Postgres

/// Which rows of limits somebody has locked, asked without waiting for anybody. Rows that others are making are not
/// seen.
package enum LimitRowLocks {
    /// Takes the locks of all others, so the transaction should end right after it.
    /// - Parameters:
    ///   - amounts: rows of `limit_state`.
    ///   - rates: rows of `rate_state`.
    /// - Returns: those that are locked.
    package static func locked(
        _ amounts: [LimitRow],
        rates: [LimitRow],
        in transaction: borrowing Transaction
    ) throws -> Set<LimitRow> {
        // Each tenant's in a statement of its own.
        let statements =
            Dictionary(grouping: amounts, by: \.tenant).map(lockedAmounts)
            + Dictionary(grouping: rates, by: \.tenant).map(lockedRates)
        guard !statements.isEmpty else { return [] }
        return Set(try transaction.pipeline(statements).flatMap { try $0.map(LimitRow.decode) })
    }

    private static func lockedAmounts(of tenant: TenantID, _ rows: [LimitRow]) -> SQL {
        let columns = LimitRowColumns(rows)
        return """
            WITH wanted AS (
                SELECT * FROM unnest(
                    \(columns.limits)::bigint[], \(columns.scopeValues)::text[], \(columns.windowStarts)::timestamptz[]
                ) AS wanted (limit_id, scope_value, window_start)
            ), free AS MATERIALIZED (
                SELECT limit_id, scope_value, window_start
                FROM wanted JOIN limit_state AS state USING (limit_id, scope_value, window_start)
                WHERE tenant_id = \(tenant)
                FOR UPDATE OF state SKIP LOCKED
            )
            SELECT tenant_id, limit_id, scope_value, window_start
            FROM wanted JOIN limit_state USING (limit_id, scope_value, window_start)
            WHERE tenant_id = \(tenant) AND (limit_id, scope_value, window_start) NOT IN (SELECT * FROM free)
            """
    }

    private static func lockedRates(of tenant: TenantID, _ rows: [LimitRow]) -> SQL {
        let columns = LimitRowColumns(rows)
        return """
            WITH wanted AS (
                SELECT * FROM unnest(\(columns.limits)::bigint[], \(columns.scopeValues)::text[])
                    AS wanted (limit_id, scope_value)
            ), free AS MATERIALIZED (
                SELECT limit_id, scope_value
                FROM wanted JOIN rate_state AS state USING (limit_id, scope_value)
                WHERE tenant_id = \(tenant)
                FOR UPDATE OF state SKIP LOCKED
            )
            SELECT tenant_id, limit_id, scope_value, \(Interval.allTime.start)::timestamptz
            FROM wanted JOIN rate_state USING (limit_id, scope_value)
            WHERE tenant_id = \(tenant) AND (limit_id, scope_value) NOT IN (SELECT * FROM free)
            """
    }
}
