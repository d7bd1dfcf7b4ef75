package import BillingCore
package import Postgres

/// What a transaction uses of one row of `rate_state`.
package struct RateUse: Sendable {
    package let row: LimitRow
    /// How many microseconds one unit takes at the pace in force, see `GenericCellRate.interval`.
    package let interval: FixedDecimal
    /// How many microseconds what is used takes at that pace.
    package var duration = FixedDecimal.zero

    package init(row: LimitRow, interval: FixedDecimal) {
        self.row = row
        self.interval = interval
    }
}

/// All SQL over `rate_state`: for each rate limit and value the theoretical arrival time of the next unit, see
/// `GenericCellRate`, and the pace at which that is told. Where the pace in force is another, as many units are used as
/// before: the time that they take is another. Rows are locked after those of `limit_state`, in the same order.
package enum RateStateStore {
    /// Locks the rows, making those that are missing as if nothing had been used, and answers their arrival times.
    package static func lock(_ uses: [RateUse], at now: Instant) -> SQL {
        let columns = LimitRowColumns(uses.lazy.map(\.row))
        return """
            INSERT INTO rate_state AS state (tenant_id, limit_id, scope_value, arrival, unit_interval)
            SELECT tenant_id, limit_id, scope_value, 0, unit_interval
            FROM unnest(
                \(columns.rateKey),
                \(uses.map(\.interval))::numeric[]
            ) AS wanted (tenant_id, limit_id, scope_value, unit_interval)
            ORDER BY \(LimitRowColumns.rateLockOrder(of: "wanted"))
            ON CONFLICT ON CONSTRAINT rate_state_pk DO UPDATE
            SET arrival = \(arrival(at: now, pace: "excluded.unit_interval")), unit_interval = excluded.unit_interval
            RETURNING state.tenant_id, state.limit_id, state.scope_value, state.arrival
            """
    }

    /// Moves the arrival times, from the present on where they lie in the past, and answers what they are then.
    package static func advance(_ uses: [RateUse], at now: Instant) -> SQL {
        let columns = LimitRowColumns(uses.lazy.map(\.row))
        let present = FixedDecimal(now.microseconds)
        return """
            INSERT INTO rate_state AS state (tenant_id, limit_id, scope_value, arrival, unit_interval)
            SELECT tenant_id, limit_id, scope_value, \(present)::numeric + duration, unit_interval
            FROM unnest(
                \(columns.rateKey),
                \(uses.map(\.duration))::numeric[], \(uses.map(\.interval))::numeric[]
            ) AS taken (tenant_id, limit_id, scope_value, duration, unit_interval)
            ORDER BY \(LimitRowColumns.rateLockOrder(of: "taken"))
            ON CONFLICT ON CONSTRAINT rate_state_pk DO UPDATE
            SET arrival = excluded.arrival - \(present)::numeric
                    + greatest(\(present)::numeric, \(arrival(at: now, pace: "excluded.unit_interval"))),
                unit_interval = excluded.unit_interval
            RETURNING state.tenant_id, state.limit_id, state.scope_value, state.arrival
            """
    }

    /// The same, but fails the transaction where a rate's arrival time is later than that.
    package static func advance(_ uses: [RateUse], at now: Instant, until latest: [LimitID: FixedDecimal]) -> SQL {
        let (limits, times) = (Array(latest.keys), Array(latest.values))
        return """
            \(advance(uses, at: now)), CASE
                WHEN state.arrival > (\(times)::numeric[])[array_position(\(limits)::bigint[], state.limit_id)]
                THEN refuse_transaction('a rate is used up', state.limit_id) END
            """
    }

    /// The arrival time of the row `state` at the pace in force, rounded half away from zero at the twelfth digit: as
    /// many whole units are left as at the pace of before. A row without a pace is of before there were any.
    static func arrival(at now: Instant, pace: SQL) -> SQL {
        let present = FixedDecimal(now.microseconds)
        return """
            CASE WHEN coalesce(state.unit_interval, \(pace)) = \(pace) OR state.arrival <= \(present)::numeric
                THEN state.arrival
                ELSE \(present)::numeric
                    + round((state.arrival - \(present)::numeric) * \(pace) / state.unit_interval, 12)
            END
            """
    }

    /// Removes those of the locked rows that nothing was ever used of.
    package static func removeUnused(_ rows: [LimitRow]) -> SQL {
        let columns = LimitRowColumns(rows)
        return """
            DELETE FROM rate_state AS state
            USING unnest(\(columns.rateKey))
                AS unused (tenant_id, limit_id, scope_value)
            WHERE \(LimitRowColumns.isRate(of: "unused")) AND state.arrival = 0
            """
    }

    /// Writes the arrival times of locked rows.
    package static func set(_ arrivals: [LimitRow: FixedDecimal]) -> SQL {
        let columns = LimitRowColumns(arrivals.keys)
        return """
            UPDATE rate_state AS state
            SET arrival = moved.arrival
            FROM unnest(
                \(columns.rateKey),
                \(Array(arrivals.values))::numeric[]
            ) AS moved (tenant_id, limit_id, scope_value, arrival)
            WHERE \(LimitRowColumns.isRate(of: "moved"))
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
