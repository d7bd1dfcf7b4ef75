package import BillingCore
package import Postgres

/// All SQL over `rate_state`: for each rate limit and value the theoretical arrival time of the next unit, see
/// `GenericCellRate`. Rows are locked after those of `limit_state`, in the same order.
package enum RateStateStore {
    /// Locks the rows, making those that are missing as if nothing had been used, and answers their arrival times.
    package static func lock(_ rows: [LimitRow]) -> SQL {
        let columns = LimitRowColumns(rows)
        return """
            INSERT INTO rate_state AS state (tenant_id, limit_id, scope_value, arrival)
            SELECT tenant_id, limit_id, scope_value, 0
            FROM unnest(\(columns.tenants)::bigint[], \(columns.limits)::bigint[], \(columns.scopeValues)::text[])
                AS wanted (tenant_id, limit_id, scope_value)
            ORDER BY tenant_id = 0, tenant_id, limit_id, scope_value
            ON CONFLICT ON CONSTRAINT rate_state_pk DO UPDATE SET arrival = state.arrival
            RETURNING state.tenant_id, state.limit_id, state.scope_value, state.arrival
            """
    }

    /// Moves the arrival times by so many microseconds each, from the present on where they lie in the past, and
    /// answers what they are then.
    package static func advance(_ durations: [LimitRow: FixedDecimal], at now: Instant) -> SQL {
        let columns = LimitRowColumns(durations.keys)
        let present = FixedDecimal(now.microseconds)
        return """
            INSERT INTO rate_state AS state (tenant_id, limit_id, scope_value, arrival)
            SELECT tenant_id, limit_id, scope_value, \(present)::numeric + duration
            FROM unnest(
                \(columns.tenants)::bigint[], \(columns.limits)::bigint[], \(columns.scopeValues)::text[],
                \(Array(durations.values))::numeric[]
            ) AS taken (tenant_id, limit_id, scope_value, duration)
            ORDER BY tenant_id = 0, tenant_id, limit_id, scope_value
            ON CONFLICT ON CONSTRAINT rate_state_pk DO UPDATE
            SET arrival = excluded.arrival + greatest(0, state.arrival - \(present)::numeric)
            RETURNING state.tenant_id, state.limit_id, state.scope_value, state.arrival
            """
    }

    /// Waits for whoever uses a rate, of any tenant, and lets nobody use one until the transaction ends.
    package static let lockAll: SQL = "LOCK TABLE rate_state IN SHARE ROW EXCLUSIVE MODE"

    /// Keeps how many units are used when the pace of a rate changes: the time that they take changes with it, rounded
    /// half away from zero at the twelfth digit, so that as many whole units are left as before.
    package static func rescale(_ limit: LimitID, from before: Int64, to after: Int64, at now: Instant) -> SQL {
        let present = FixedDecimal(now.microseconds)
        return """
            INSERT INTO rate_state AS state (tenant_id, limit_id, scope_value, arrival)
            SELECT tenant_id, limit_id, scope_value, arrival
            FROM rate_state
            WHERE limit_id = \(limit) AND arrival > \(present)
            ORDER BY tenant_id = 0, tenant_id, limit_id, scope_value
            ON CONFLICT ON CONSTRAINT rate_state_pk DO UPDATE
            SET arrival = \(present)::numeric
                + round((state.arrival - \(present)::numeric) * \(before)::bigint / \(after)::bigint, 12)
            """
    }

    /// Removes those of the locked rows that nothing was ever used of.
    package static func removeUnused(_ rows: [LimitRow]) -> SQL {
        let columns = LimitRowColumns(rows)
        return """
            DELETE FROM rate_state AS state
            USING unnest(\(columns.tenants)::bigint[], \(columns.limits)::bigint[], \(columns.scopeValues)::text[])
                AS unused (tenant_id, limit_id, scope_value)
            WHERE state.tenant_id = unused.tenant_id AND state.limit_id = unused.limit_id
                AND state.scope_value = unused.scope_value AND state.arrival = 0
            """
    }

    /// Writes the arrival times of locked rows.
    package static func set(_ arrivals: [LimitRow: FixedDecimal]) -> SQL {
        let columns = LimitRowColumns(arrivals.keys)
        return """
            UPDATE rate_state AS state
            SET arrival = moved.arrival
            FROM unnest(
                \(columns.tenants)::bigint[], \(columns.limits)::bigint[], \(columns.scopeValues)::text[],
                \(Array(arrivals.values))::numeric[]
            ) AS moved (tenant_id, limit_id, scope_value, arrival)
            WHERE state.tenant_id = moved.tenant_id AND state.limit_id = moved.limit_id
                AND state.scope_value = moved.scope_value
            """
    }

    /// - Returns: the row, as `Interval.allTime` names its window, and its arrival time.
    @Sendable
    package static func decode(
        _ row: inout PostgresRow
    ) throws(PostgresError) -> (row: LimitRow, arrival: FixedDecimal) {
        (
            LimitRow(
                tenant: try row.next(),
                limit: try row.next(),
                scopeValue: try row.next(),
                windowStart: Interval.allTime.start
            ), try row.next()
        )
    }
}
