import BillingCore
package import Postgres

/// Which rows of limits somebody may have locked, asked without waiting for anybody.
package struct LimitRowLocks: Sendable {
    /// Rows that somebody has locked.
    package private(set) var locked: Set<LimitRow> = []
    /// Rows that are not there: nobody has made them, or somebody is about to, and whoever wants one waits for that.
    package private(set) var unmade: Set<LimitRow> = []

    /// Takes the locks of all others, so the transaction should end right after it.
    /// - Parameters:
    ///   - amounts: rows of `limit_state`.
    ///   - rates: rows of `rate_state`.
    package init(amounts: [LimitRow], rates: [LimitRow], in transaction: borrowing Transaction) throws {
        // Each tenant's in a statement of its own.
        let statements =
            Dictionary(grouping: amounts, by: \.tenant).map(Self.amountsNotFree)
            + Dictionary(grouping: rates, by: \.tenant).map(Self.ratesNotFree)
        guard !statements.isEmpty else { return }
        for result in try transaction.pipeline(statements) {
            let rows = try result.map { row throws(PostgresError) in
                (row: try LimitRow.decode(&row), isThere: try row.next(Bool.self))
            }
            for (row, isThere) in rows {
                if isThere { locked.insert(row) } else { unmade.insert(row) }
            }
        }
    }

    private static func amountsNotFree(of tenant: TenantID, _ rows: [LimitRow]) -> SQL {
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
            SELECT \(tenant)::bigint, limit_id, scope_value, window_start, EXISTS (
                SELECT FROM limit_state AS state
                WHERE state.tenant_id = \(tenant) AND state.limit_id = wanted.limit_id
                    AND state.scope_value = wanted.scope_value AND state.window_start = wanted.window_start
            )
            FROM wanted
            WHERE (limit_id, scope_value, window_start) NOT IN (SELECT * FROM free)
            """
    }

    private static func ratesNotFree(of tenant: TenantID, _ rows: [LimitRow]) -> SQL {
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
            SELECT \(tenant)::bigint, limit_id, scope_value, \(Interval.allTime.start)::timestamptz, EXISTS (
                SELECT FROM rate_state AS state
                WHERE state.tenant_id = \(tenant) AND state.limit_id = wanted.limit_id
                    AND state.scope_value = wanted.scope_value
            )
            FROM wanted
            WHERE (limit_id, scope_value) NOT IN (SELECT * FROM free)
            """
    }
}
