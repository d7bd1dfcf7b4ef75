import BillingCore
import Catalog
import Limits
import Postgres
import TestSupport
import Testing
import Web

@testable import Usage

/// The statements of every flush, quota and log page must find their rows by an index, under the roles they run as.
@Suite struct QueryPlanTests {
    /// Many tenants with a month of usage each.
    private static let rows = """
        INSERT INTO tenant
            (tenant_id, key, name, currency, timezone, metadata, status, created_at, updated_at, revision)
        SELECT n, 't' || n, 'T', 'USD', 'UTC', '{}', 'active', now(), now(), 1 FROM generate_series(1, 2000) n;
        INSERT INTO plan (plan_id, key, name, currency, created_at, updated_at, revision)
        VALUES (1, 'pro', 'Pro', 'USD', now(), now(), 1);
        INSERT INTO plan_version (plan_version_id, plan_id, version, status, definition, created_at, updated_at,
            published_at, revision)
        VALUES (1, 1, 1, 'published', '{"interval":"month"}', now(), now(), now(), 1);
        INSERT INTO subscription (tenant_id, subscription_id, plan_version_id, timezone, anchor, starts_at, created_at,
            updated_at, revision)
        SELECT tenant_id, gen_random_uuid(), 1, 'UTC', '2026-01-01Z', '2026-01-01Z', now(), now(), 1 FROM tenant;
        INSERT INTO subscription_segment
            (tenant_id, subscription_id, ordinal, plan_version_id, starts_at, created_at)
        SELECT tenant_id, subscription_id, 0, plan_version_id, starts_at, created_at FROM subscription;
        INSERT INTO billing_period
            (tenant_id, billing_period_id, subscription_id, period_index, starts_at, ends_at, status)
        SELECT tenant_id, tenant_id * 10 + n, subscription_id, n, '2026-01-01Z'::timestamptz + n * interval '30 days',
            '2026-01-31Z'::timestamptz + n * interval '30 days', 'open'
        FROM subscription, generate_series(0, 4) n;
        INSERT INTO meter (meter_id, key, name, event_type, aggregation, definition, created_version, created_at,
            updated_at, revision)
        VALUES (1, 'm', 'm', 'e', 'count', '{}', 1, now(), now(), 1);
        INSERT INTO feature
            (feature_id, key, name, meter_id, filters, unit, created_version, created_at, updated_at, revision)
        SELECT n, 'f' || n, 'f', 1, '[]', 'unit', 1, now(), now(), 1 FROM generate_series(1, 4) n;
        INSERT INTO usage_counter (tenant_id, billing_period_id, feature_id, cell, quantity, event_count, charge)
        SELECT tenant_id, billing_period_id, n, '', 1, 1, 1 FROM billing_period, generate_series(1, 4) n;
        INSERT INTO usage_distinct (tenant_id, billing_period_id, feature_id, cell, value_key, reference_count)
        SELECT tenant_id, billing_period_id, 1, '', gen_random_uuid(), 1 FROM billing_period, generate_series(1, 3) n;
        INSERT INTO usage_limit (tenant_id, limit_id, feature_id, window_kind, amount, mode, overage, revision, active)
        SELECT tenant_id, tenant_id, 1, 'day', 1, 'hard', 'denied', 1, true FROM tenant;
        INSERT INTO limit_state (tenant_id, limit_id, scope_value, window_start, window_end, used, held, overshoot,
            limit_amount, limit_revision)
        SELECT tenant_id, tenant_id, '', day, day + interval '1 day', 1, 0, 0, 1, 1
        FROM tenant, generate_series('2026-11-01Z'::timestamptz, '2026-11-20Z', '1 day') day;
        SELECT ensure_usage_event_partition('2026-10-01'), ensure_usage_event_partition('2026-11-01');
        INSERT INTO event_dedup (tenant_id, event_key, content_hash, event_time)
        SELECT 1 + n % 2000, gen_random_uuid(), n, '2026-10-01Z'::timestamptz + n * interval '1 minute'
        FROM generate_series(1, 60000) n;
        INSERT INTO usage_event (tenant_id, ledger_seq, event_time, received_at, event_key, catalog_version, source,
            event_id, event_type, subject)
        SELECT tenant_id, content_hash, event_time, event_time, event_key, 1, 's', 'e' || content_hash, 'e', 't'
        FROM event_dedup;
        INSERT INTO price_set (price_set_id, set_key, currency, is_reported, created_at)
        SELECT n, 'USD:' || n, 'USD', false, now() FROM generate_series(1, 2000) n;
        INSERT INTO unpriced_usage (tenant_id, reason, provider, model, day_start, event_count, input_tokens,
            output_tokens, attempted_version)
        SELECT tenant_id, 'price', 'openai', 'm' || tenant_id % 400 || '-' || n, '2026-11-01Z', 1, 1, 1, 1
        FROM tenant, generate_series(1, 20) n;
        INSERT INTO unmatched_event (tenant_id, event_key, content_hash, received_at, event_time, time_given, subject,
            source, event_id, event_type, event)
        SELECT 0, gen_random_uuid(), n, now(), now(), true, 's' || n % 500, 's', 'e' || n, 'e', '{}'
        FROM generate_series(1, 20000) n;
        ANALYZE;
        """

    private static func expectIndexes(
        _ name: String,
        _ statement: SQL,
        as scope: PostgresScope,
        _ pool: PostgresPool
    ) async throws {
        let plan = try await QueryPlan(of: statement, as: scope, pool)
        #expect(plan.usesIndexesOnly, "\(name): \(plan)")
    }

    @Test func theHotStatementsUseIndexes() async throws {
        let database = try await TestDatabase.create()
        try await database.run(Self.rows)
        let pool = PostgresPool(PostgresConfiguration(url: database.url), logger: .silent)
        let tenants = (1...40).map { TenantID(Int64($0 * 3)) }
        let keys = tenants.map { EventKey(source: "s", id: "\($0)") }
        let counters = tenants.map {
            CounterKey(tenant: $0, period: BillingPeriodID($0.rawValue * 10), feature: FeatureID(1))
        }
        let time = try Instant(parsing: "2026-11-05T00:00:00Z")
        let interval = Interval(start: time, end: time.adding(seconds: 86_400))
        let position = EventPosition(time: time, ledgerSequence: 9)
        let seven = TenantID(7)
        let unpriced = tenants.map {
            UnpricedKey(tenant: $0, reason: .price, provider: "openai", model: "m1", dayStart: time)
        }
        let page = try await pool.query(
            .worker,
            EventLogStore.page(tenant: seven, interval: .allTime, after: nil, throughSequence: .max, limit: 5),
            EventLogStore.decode
        )
        let statements: [(String, SQL)] = [
            ("dedup", DedupStore.existing(tenants: tenants, keys: keys)),
            ("counters", CounterStore.counters(counters)),
            ("distinct values", DistinctStore.release(keys[0], of: counters[0])),
            (
                "distinct values of segments",
                DistinctStore.holding(Array(keys.prefix(3)), in: Array(counters.prefix(2)))
            ),
            (
                "log page",
                EventLogStore.page(tenant: seven, interval: interval, after: position, throughSequence: 9, limit: 5)
            ),
            ("voided", EventLogStore.voided(among: page, of: seven, throughSequence: 9)),
            ("event", EventLogStore.event(tenant: seven, key: keys[0], time: time)),
            ("unpriced events", EventLogStore.unpriced(unpriced[0], in: interval, after: position, limit: 5)),
            ("bounds", EventLogStore.bounds(tenant: seven, interval: interval)),
            ("unmatched", UnmatchedEventStore.waiting(subject: "s7", after: keys[0], limit: 50)),
            ("all unmatched", UnmatchedEventStore.waiting(subject: nil, after: keys[0], limit: 50)),
            ("unpriced usage", UnpricedUsageStore.summaries(UnpricedUsageStore.Filter(), after: nil, limit: 51)),
            (
                "unpriced usage of a tenant",
                UnpricedUsageStore.summaries(UnpricedUsageStore.Filter(tenant: seven), after: nil, limit: 51)
            ),
            ("untried", UnpricedUsageStore.untried(with: 1, after: unpriced[0], limit: 500)),
            ("unpriced on any day", UnpricedUsageStore.anyDay(of: unpriced.map(\.ofAnyDay))),
        ]
        for (name, statement) in statements {
            try await Self.expectIndexes(name, statement, as: .service, pool)
        }
        await pool.close()
        try await database.drop()
    }

    @Test func theStatementsOfPortalsUseIndexesUnderEitherRole() async throws {
        let database = try await TestDatabase.create()
        try await database.run(Self.rows)
        let pool = PostgresPool(PostgresConfiguration(url: database.url), logger: .silent)
        let time = try Instant(parsing: "2026-11-05T00:00:00Z")
        let position = EventPosition(time: time, ledgerSequence: 9)
        let seven = TenantID(7)
        let subscription = SubscriptionID(rawValue: UUIDv7(milliseconds: 1, random: (1, 1)))
        let filter = EventLogFilter(tenant: seven, user: "u", from: time)
        let portal: [(String, SQL)] = [
            ("newest", EventLogStore.newest(filter, before: position, limit: 51)),
            ("period's counters", CounterStore.counters(tenant: seven, subscription: subscription, periodIndex: 3)),
            (
                "limit states",
                LimitStateStore.states(
                    of: (0..<2).map {
                        LimitRow(tenant: seven, limit: LimitID(7), scopeValue: "\($0)", windowStart: time)
                    }
                )
            ),
        ]
        for (name, statement) in portal {
            try await Self.expectIndexes(name, statement, as: .service, pool)
            try await Self.expectIndexes("\(name) of a tenant", statement, as: .tenant(7), pool)
        }
        await pool.close()
        try await database.drop()
    }

    @Test func whatIsUnpricedIsFoundByKeys() async throws {
        try await TestDatabase.with { database in
            try await database.run(Self.rows)
            let pool = PostgresPool(PostgresConfiguration(url: database.url), logger: .silent)
            let all = UnpricedUsageStore.Filter()
            let ofTenant = UnpricedUsageStore.Filter(tenant: TenantID(7))
            let statements: [(String, SQL)] = [
                ("summary", UnpricedUsageStore.summaries(all, after: nil, limit: 51)),
                ("summary behind a position", UnpricedUsageStore.summaries(all, after: ("p", "m", "r"), limit: 51)),
                ("summary of a tenant", UnpricedUsageStore.summaries(ofTenant, after: nil, limit: 51)),
                ("untried", UnpricedUsageStore.untried(with: 1, after: nil, limit: 500)),
            ]
            for (name, statement) in statements {
                let plan = try await QueryPlan(of: statement, executing: true, pool)
                #expect(plan.usesIndexesOnly && plan.rowsTouched <= 6_000, "\(name): \(plan)")
            }
            await pool.close()
        }
    }

    @Test func theTenantsThatAnythingIsStoredOfAreFoundOneByOne() async throws {
        try await TestDatabase.with { database in
            try await database.run(Self.rows)
            let pool = PostgresPool(PostgresConfiguration(url: database.url), logger: .silent)
            let statement = StoredTenants.page(after: TenantID(1_000), limit: 20)
            let plan = try await QueryPlan(of: statement, executing: true, pool)
            #expect(plan.rowsTouched <= 300, "\(plan)")
            let found = try await pool.query(.worker, statement) { row throws(PostgresError) in
                try row.next(TenantID.self)
            }
            #expect(found == (1_001...1_020).map { TenantID(Int64($0)) })
            await pool.close()
        }
    }

    /// However many events share an instant, what of them was voided is told by the reversals.
    @Test func reversalsAreFoundAmongEventsOfOneInstant() async throws {
        try await TestDatabase.with { database in
            try await database.run(
                """
                SELECT ensure_usage_event_partition('2026-11-01');
                INSERT INTO usage_event (tenant_id, ledger_seq, event_time, received_at, event_key, reversal_of,
                    catalog_version, source, event_id, event_type, subject, provider, model)
                SELECT 7, n, '2026-11-05Z', now(), gen_random_uuid(),
                    CASE WHEN n <= 20 THEN gen_random_uuid() END, 1, 's', 'e' || n, 'e', 't', 'openai', 'm1'
                FROM generate_series(1, 3000) n;
                ANALYZE;
                """
            )
            let pool = PostgresPool(PostgresConfiguration(url: database.url), logger: .silent)
            let time = try Instant(parsing: "2026-11-05T00:00:00Z")
            let day = Interval(start: time, end: time.adding(seconds: 86_400))
            let seven = TenantID(7)
            let model = UnpricedKey(tenant: seven, reason: .price, provider: "openai", model: "m1", dayStart: time)
            let counted = EventLogFilter(tenant: seven, type: "e", isCounted: true)
            let page = try await pool.query(
                .worker,
                EventLogStore.page(tenant: seven, interval: day, after: nil, throughSequence: .max, limit: 5),
                EventLogStore.decode
            )
            let statements: [(String, SQL)] = [
                ("unpriced events", EventLogStore.unpriced(model, in: day, after: nil, limit: 100)),
                ("counted events", EventLogStore.newest(counted, before: nil, limit: 100)),
                ("voided", EventLogStore.voided(among: page, of: seven, throughSequence: .max)),
            ]
            for (name, statement) in statements {
                let plan = try await QueryPlan(of: statement, executing: true, pool)
                #expect(plan.rowsTouched <= 200, "\(name): \(plan)")
            }
            await pool.close()
        }
    }

    /// A budget over all tenants has rows in each: those of the tenants that ask are read, and no others.
    @Test func aTenantsRowsOfALimitAreFoundBeforeTheTableIsAnalysed() async throws {
        try await TestDatabase.with { database in
            try await database.run(
                """
                INSERT INTO limit_state (tenant_id, limit_id, scope_value, window_start, window_end, used, held,
                    overshoot, limit_amount, limit_revision)
                SELECT n, 1, value, '1970-01-01Z', '2100-01-01Z', 1, 1, 0, 1, 1
                FROM generate_series(1, 2000) n, (VALUES (''), ('#1/1/quantity/')) AS row (value);
                INSERT INTO limit_state (tenant_id, limit_id, scope_value, window_start, window_end, used, held,
                    overshoot, limit_amount, limit_revision)
                SELECT n % 20 + 1, 1, '', timestamptz '1960-01-01Z' - n * interval '1 minute', '1960-01-01Z', 1, 1,
                    0, 1, 1
                FROM generate_series(1, 20000) n;
                INSERT INTO rate_state (tenant_id, limit_id, scope_value, arrival, unit_interval)
                SELECT n, 1, '', 0, 1 FROM generate_series(1, 2000) n;
                """
            )
            let pool = PostgresPool(PostgresConfiguration(url: database.url), logger: .silent)
            let rows = (1...20).map { tenant in
                LimitRow(tenant: TenantID(tenant), limit: LimitID(1), windowStart: Instant(microseconds: 0))
            }
            let statements: [(String, SQL)] = [
                ("parts", LimitStateStore.parts(of: rows)),
                (
                    "parts of present windows",
                    LimitStateStore.parts(
                        since: Dictionary(uniqueKeysWithValues: rows.map { (TenantLimit(of: $0), $0.windowStart) })
                    )
                ),
                ("states", LimitStateStore.states(of: rows)),
                ("what is held", LimitStateStore.set(rows.map { LimitStateStore.Computed($0, held: .zero) })),
                ("rates", RateStateStore.set(Dictionary(uniqueKeysWithValues: rows.map { ($0, .zero) }))),
            ]
            for (name, statement) in statements {
                let plan = try await QueryPlan(of: statement, executing: true, on: .ingest, pool)
                #expect(plan.rowsTouched <= 4 * rows.count, "\(name): \(plan)")
            }
            await pool.close()
        }
    }

    /// Each flush asks this, also of a table that has just grown: one tenant's rows are read, not those of all tenants.
    @Test func whetherAModelWasUnpricedIsFoundByItsTenantBeforeTheTableIsAnalysed() async throws {
        try await TestDatabase.with { database in
            try await database.run(
                """
                INSERT INTO unpriced_usage (tenant_id, reason, provider, model, day_start, event_count, input_tokens,
                    output_tokens, attempted_version)
                SELECT n, 'price', 'openai', 'm1', '2026-11-01Z', 0, 1, 1, 1 FROM generate_series(1, 2000) n;
                """
            )
            let pool = PostgresPool(PostgresConfiguration(url: database.url), logger: .silent)
            let keys = (1...20).map { tenant in
                UnpricedKey(
                    tenant: TenantID(tenant),
                    reason: .price,
                    provider: "openai",
                    model: "m1",
                    dayStart: Instant(microseconds: 0)
                )
            }
            let plan = try await QueryPlan(of: UnpricedUsageStore.anyDay(of: keys), executing: true, on: .ingest, pool)
            #expect(plan.rowsTouched <= 3 * keys.count, "\(plan)")
            await pool.close()
        }
    }

    /// Every flush updates these rows in place: an index on a column that changes would cost each a new index entry.
    @Test func whatEveryFlushUpdatesIsNotIndexed() async throws {
        let database = try await TestDatabase.create()
        let pool = PostgresPool(PostgresConfiguration(url: database.url), logger: .silent)
        let changing = [
            "tenant_ledger": ["ledger_seq"],
            "usage_counter": [
                "quantity", "event_count", "cost", "charge", "ledger_seq", "winner_time", "winner_id", "winner_key",
            ],
            "usage_distinct": ["reference_count"],
            "limit_state": ["used", "held", "overshoot"],
        ]
        for (table, columns) in changing {
            let indexed = try await pool.query(
                .worker,
                """
                SELECT attribute.attname::text
                FROM pg_index AS index
                JOIN pg_attribute AS attribute
                    ON attribute.attrelid = index.indrelid AND attribute.attnum = ANY (index.indkey)
                WHERE index.indrelid = to_regclass(\(table))
                """
            ) { row throws(PostgresError) in try row.next(String.self) }
            #expect(indexed.contains("tenant_id"))
            #expect(Set(indexed).isDisjoint(with: columns), "\(table)")
        }
        await pool.close()
        try await database.drop()
    }
}
