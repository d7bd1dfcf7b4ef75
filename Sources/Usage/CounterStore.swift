package import BillingCore
package import Catalog
package import Postgres

/// A counter to be stored: its key, its new state, and the unrounded charge of that state.
package struct CounterRow: Sendable {
    package let key: CounterKey
    package let state: CounterState
    /// The unrounded charge of the state under its segment's plan version, to 12 digits. Where the plan changed within
    /// the period it is what the segment adds to those before it.
    package let charge: FixedDecimal
    /// The period's quantity through the segment; nil where the period has one segment, so that it is the state's.
    package var runningQuantity: FixedDecimal?

    /// From here on, a request without any huge quantity (`Measurement.isHuge`) could make the counter overflow: 10,000
    /// events of less than 10^15 each stay far below 10^26 while a counter holds less than 10^20.
    fileprivate var isLarge: Bool {
        [state.quantity, state.cost, charge].contains { $0.unscaled.magnitude >= Self.largeUnscaled }
    }

    /// 10^20 with 12 fractional digits.
    private static let largeUnscaled: UInt128 = 100_000_000_000_000_000_000_000_000_000_000
}

/// All SQL over `usage_counter`.
package enum CounterStore {
    /// The columns that `decode` reads.
    private static let columns: SQL = """
        counter.tenant_id, counter.billing_period_id, counter.feature_id, counter.cell, counter.quantity,
            counter.event_count, counter.cost, counter.ledger_seq, counter.winner_time, counter.winner_id,
            counter.winner_key, counter.charge, counter.running_quantity, counter.uncosted_events,
            counter.uncosted_quantity, counter.uncosted_exact
        """

    /// The counters named, as they stand. Read under the tenant's ledger lock they can be changed and written back.
    package static func counters(_ keys: [CounterKey]) -> SQL {
        """
        SELECT \(columns)
        FROM unnest(
            \(keys.map(\.tenant))::bigint[], \(keys.map(\.period))::bigint[],
            \(keys.map(\.feature))::bigint[], \(keys.map(\.cell))::text[]
        ) AS wanted (tenant_id, billing_period_id, feature_id, cell)
        JOIN usage_counter AS counter
            ON counter.tenant_id = wanted.tenant_id
            AND counter.billing_period_id = wanted.billing_period_id
            AND counter.feature_id = wanted.feature_id
            AND counter.cell = wanted.cell
        """
    }

    /// Every counter of a subscription's billing period, by feature, the pooled one before its cells, each by segment;
    /// the rows decode with `decodeOfPeriod`.
    package static func counters(tenant: TenantID, subscription: SubscriptionID, periodIndex: Int) -> SQL {
        """
        SELECT period.segment, \(columns)
        FROM billing_period AS period
        JOIN usage_counter AS counter
            ON counter.tenant_id = period.tenant_id AND counter.billing_period_id = period.billing_period_id
        WHERE period.tenant_id = \(tenant) AND period.subscription_id = \(subscription)
            AND period.period_index = \(Int32(clamping: periodIndex))
        ORDER BY counter.feature_id, counter.cell, period.segment
        """
    }

    /// Every counter of some billing periods, of any tenants.
    package static func counters(of periods: [BillingPeriod]) -> SQL {
        """
        SELECT \(columns)
        FROM unnest(\(periods.map(\.tenantID))::bigint[], \(periods.map(\.id))::bigint[])
            AS wanted (tenant_id, billing_period_id)
        JOIN usage_counter AS counter
            ON counter.tenant_id = wanted.tenant_id AND counter.billing_period_id = wanted.billing_period_id
        ORDER BY counter.tenant_id, counter.billing_period_id, counter.feature_id, counter.cell
        """
    }

    /// Every counter of a tenant, for `verify`.
    package static func counters(tenant: TenantID) -> SQL {
        """
        SELECT \(columns)
        FROM usage_counter AS counter
        WHERE counter.tenant_id = \(tenant)
        ORDER BY counter.billing_period_id, counter.feature_id, counter.cell
        """
    }

    /// Writes counters whole with the transaction's next round trip, and notes the tenants whose counters have become
    /// large. Nothing is sent where there are none.
    static func enqueue(_ rows: [CounterRow], in transaction: borrowing Transaction) {
        guard !rows.isEmpty else { return }
        transaction.enqueue(store(rows))
        let large = Set(rows.filter { $0.isLarge }.map(\.key.tenant))
        if !large.isEmpty { TenantLedger.noteLargeCounters(of: large, in: transaction) }
    }

    /// Writes counters whole. Rows are locked in key order. Arrays are taken in step, as `EventColumns.insert` says.
    package static func store(_ rows: [CounterRow]) -> SQL {
        """
        INSERT INTO usage_counter (
            tenant_id, billing_period_id, feature_id, cell, quantity, running_quantity, event_count, cost, charge,
            ledger_seq, winner_time, winner_id, winner_key, uncosted_events, uncosted_quantity, uncosted_exact
        )
        SELECT tenant_id, billing_period_id, feature_id, cell, quantity, running_quantity, event_count, cost, charge,
            ledger_seq, winner_time, winner_id, winner_key, uncosted_events, uncosted_quantity, true
        FROM (
            SELECT unnest(\(rows.map(\.key.tenant))::bigint[]) AS tenant_id,
                unnest(\(rows.map(\.key.period))::bigint[]) AS billing_period_id,
                unnest(\(rows.map(\.key.feature))::bigint[]) AS feature_id,
                unnest(\(rows.map(\.key.cell))::text[]) AS cell,
                unnest(\(rows.map(\.state.quantity))::numeric[]) AS quantity,
                unnest(\(rows.map(\.runningQuantity))::numeric[]) AS running_quantity,
                unnest(\(rows.map(\.state.eventCount))::bigint[]) AS event_count,
                unnest(\(rows.map(\.state.cost))::numeric[]) AS cost,
                unnest(\(rows.map(\.charge))::numeric[]) AS charge,
                unnest(\(rows.map(\.state.ledgerSequence))::bigint[]) AS ledger_seq,
                unnest(\(rows.map(\.state.winner?.time))::timestamptz[]) AS winner_time,
                unnest(\(rows.map(\.state.winner?.id))::text[]) AS winner_id,
                unnest(\(rows.map(\.state.winner?.key))::uuid[]) AS winner_key,
                unnest(\(rows.map(\.state.uncosted.eventCount))::bigint[]) AS uncosted_events,
                unnest(\(rows.map(\.state.uncosted.quantity))::numeric[]) AS uncosted_quantity
        ) AS counted
        ORDER BY tenant_id, billing_period_id, feature_id, cell
        ON CONFLICT ON CONSTRAINT usage_counter_pk DO UPDATE
        SET quantity = excluded.quantity, running_quantity = excluded.running_quantity,
            event_count = excluded.event_count, cost = excluded.cost, charge = excluded.charge,
            ledger_seq = excluded.ledger_seq, winner_time = excluded.winner_time, winner_id = excluded.winner_id,
            winner_key = excluded.winner_key, uncosted_events = excluded.uncosted_events,
            uncosted_quantity = excluded.uncosted_quantity
        """
    }

    @Sendable
    package static func decodeOfPeriod(_ row: inout PostgresRow) throws(PostgresError) -> PeriodCounter {
        PeriodCounter(segment: Int(try row.next(Int32.self)), row: try decode(&row))
    }

    @Sendable
    package static func decode(_ row: inout PostgresRow) throws(PostgresError) -> CounterRow {
        let key = CounterKey(
            tenant: try row.next(),
            period: try row.next(),
            feature: try row.next(),
            cell: try row.next()
        )
        var state = CounterState(
            quantity: try row.next(),
            eventCount: try row.next(),
            cost: try row.next()
        )
        state.ledgerSequence = try row.next()
        let time = try row.next(Instant?.self)
        let id = try row.next(String?.self)
        let winnerKey = try row.next(EventKey?.self)
        if let time, let id, let winnerKey {
            state.winner = CounterWinner(time: time, id: id, key: winnerKey)
        }
        let charge = try row.next(FixedDecimal.self)
        let running = try row.next(FixedDecimal?.self)
        state.uncosted = UncostedUsage(
            eventCount: try row.next(),
            quantity: try row.next(),
            isExact: try row.next()
        )
        return CounterRow(key: key, state: state, charge: charge, runningQuantity: running)
    }
}

/// One distinct value of a `unique_count` feature in a period, and by how many more or fewer events it is carried.
package struct DistinctChange: Sendable {
    package let counter: CounterKey
    package let value: EventKey
    package let references: Int64
}

/// All SQL over `usage_distinct`.
package enum DistinctStore {
    /// Adds to reference counts and answers what they are then, without what was added: to whoever knows that, a value
    /// is new where the two are equal. The rows decode with `decode`.
    package static func change(_ changes: [DistinctChange]) -> SQL {
        """
        INSERT INTO usage_distinct AS seen (
            tenant_id, billing_period_id, feature_id, cell, value_key, reference_count
        )
        SELECT tenant_id, billing_period_id, feature_id, '', value_key, added
        FROM unnest(
            \(changes.map(\.counter.tenant))::bigint[], \(changes.map(\.counter.period))::bigint[],
            \(changes.map(\.counter.feature))::bigint[], \(changes.map(\.value))::uuid[],
            \(changes.map(\.references))::bigint[]
        ) AS change (tenant_id, billing_period_id, feature_id, value_key, added)
        ORDER BY tenant_id, billing_period_id, feature_id, value_key
        ON CONFLICT ON CONSTRAINT usage_distinct_pk DO UPDATE
        SET reference_count = seen.reference_count + excluded.reference_count
        RETURNING seen.tenant_id, seen.billing_period_id, seen.feature_id, seen.value_key, seen.reference_count
        """
    }

    /// Sets reference counts, whatever they were.
    package static func replace(_ counts: [DistinctChange]) -> SQL {
        """
        INSERT INTO usage_distinct (tenant_id, billing_period_id, feature_id, cell, value_key, reference_count)
        SELECT tenant_id, billing_period_id, feature_id, '', value_key, counted
        FROM unnest(
            \(counts.map(\.counter.tenant))::bigint[], \(counts.map(\.counter.period))::bigint[],
            \(counts.map(\.counter.feature))::bigint[], \(counts.map(\.value))::uuid[],
            \(counts.map(\.references))::bigint[]
        ) AS change (tenant_id, billing_period_id, feature_id, value_key, counted)
        ORDER BY tenant_id, billing_period_id, feature_id, value_key
        ON CONFLICT ON CONSTRAINT usage_distinct_pk DO UPDATE SET reference_count = excluded.reference_count
        """
    }

    /// Which of the counters have which of the values now; the rows decode with `decode`.
    package static func holding(_ values: [EventKey], in counters: [CounterKey]) -> SQL {
        """
        SELECT held.tenant_id, held.billing_period_id, held.feature_id, held.value_key, held.reference_count
        FROM unnest(
            \(counters.map(\.tenant))::bigint[], \(counters.map(\.period))::bigint[],
            \(counters.map(\.feature))::bigint[]
        ) AS wanted (tenant_id, billing_period_id, feature_id)
        CROSS JOIN unnest(\(values)::uuid[]) AS value (value_key)
        JOIN usage_distinct AS held
            ON held.tenant_id = wanted.tenant_id AND held.billing_period_id = wanted.billing_period_id
            AND held.feature_id = wanted.feature_id AND held.cell = '' AND held.value_key = value.value_key
        WHERE held.reference_count > 0
        """
    }

    /// Takes one reference of a value away and answers how many are left.
    package static func release(_ value: EventKey, of counter: CounterKey) -> SQL {
        """
        UPDATE usage_distinct
        SET reference_count = reference_count - 1
        WHERE tenant_id = \(counter.tenant) AND billing_period_id = \(counter.period)
            AND feature_id = \(counter.feature) AND cell = '' AND value_key = \(value)
        RETURNING reference_count
        """
    }

    @Sendable
    package static func decode(_ row: inout PostgresRow) throws(PostgresError) -> DistinctChange {
        DistinctChange(
            counter: CounterKey(
                tenant: try row.next(),
                period: try row.next(),
                feature: try row.next()
            ),
            value: try row.next(),
            references: try row.next()
        )
    }

    /// Per counter: how many distinct values it has and how many events carry them, for `verify`.
    package static func totals(tenant: TenantID) -> SQL {
        """
        SELECT tenant_id, billing_period_id, feature_id, count(*) FILTER (WHERE reference_count > 0),
            coalesce(sum(reference_count), 0)::bigint
        FROM usage_distinct
        WHERE tenant_id = \(tenant) AND cell = ''
        GROUP BY tenant_id, billing_period_id, feature_id
        ORDER BY tenant_id, billing_period_id, feature_id
        """
    }
}
