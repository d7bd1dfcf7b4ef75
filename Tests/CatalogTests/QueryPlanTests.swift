import BillingCore
import Postgres
import TestSupport
import Testing
import Web

@testable import Catalog

/// Every statement on the way to a tenant's snapshot must find its rows by an index, however many tenants there are.
@Suite struct QueryPlanTests {
    @Test func theHotStatementsUseIndexes() async throws {
        try await CatalogFixture.run { fixture in
            try await fixture.addTenants(20_000)
            try await fixture.subscribeEverybody()
            try await fixture.database.run(
                """
                INSERT INTO meter (meter_id, key, name, event_type, aggregation, definition, created_version,
                    created_at, updated_at, revision)
                VALUES (1, 'm', 'm', 'e', 'count', '{}', 1, now(), now(), 1);
                INSERT INTO feature (feature_id, key, name, meter_id, filters, unit, created_version, created_at,
                    updated_at, revision)
                VALUES (1, 'f', 'f', 1, '[]', 'unit', 1, now(), now(), 1);
                INSERT INTO usage_limit (tenant_id, limit_id, feature_id, window_kind, amount, mode, overage,
                    revision, active)
                SELECT tenant_id, tenant_id, 1, 'month', 1, 'hard', 'denied', 1, true FROM tenant;
                INSERT INTO billing_period (tenant_id, billing_period_id, subscription_id, period_index, starts_at,
                    ends_at, status)
                SELECT tenant_id, tenant_id, subscription_id, 0, starts_at, '2026-02-01Z', 'open' FROM subscription;
                ANALYZE;
                """
            )
            let ids = (1...50).map { TenantID(Int64($0 * 7)) }
            let subscription = SubscriptionID(rawValue: UUIDv7(milliseconds: 1, random: (1, 1)))
            let wanted = BillingPeriod.Wanted(
                tenantID: TenantID(1),
                subscriptionID: subscription,
                index: 0,
                interval: Interval(start: fixture.clock.now, end: fixture.clock.now.adding(seconds: 1))
            )
            let statements: [(String, SQL)] = [
                ("subjects", SubjectDirectory.lookup(of: ids.map { "s\($0)" })),
                ("tenants", TenantSnapshotStore.tenants(ids)),
                ("subscriptions", TenantSnapshotStore.subscriptions(ids)),
                ("periods", TenantSnapshotStore.periods(ids, endingAfter: fixture.clock.now)),
                ("segments", SubscriptionSegmentStore.segments(ofTenants: ids)),
                ("limits", TenantSnapshotStore.limits(ids)),
                ("versions", TenantLedger.versions(of: ids)),
                ("wanted periods", BillingPeriodStore.reading([wanted])),
            ]
            for (name, statement) in statements {
                let plan = try await QueryPlan(of: statement, fixture.pool)
                #expect(plan.usesIndexesOnly, "\(name): \(plan)")
            }
        }
    }

    @Test func theListsOfPricesReadAPage() async throws {
        try await CatalogFixture.run { fixture in
            try await fixture.database.run(
                """
                INSERT INTO price_book (price_id, provider, model, component, above_input_tokens, unit_amount, currency,
                    effective_from, source, created_version, created_at)
                SELECT gen_random_uuid(), 'p' || n % 20, 'm' || n % 1000, 'output', 0, 1, 'USD',
                    '2026-01-01Z'::timestamptz + n * interval '1 minute', 'api', 1, now()
                FROM generate_series(1, 40000) n;
                INSERT INTO fx_rate (fx_rate_id, from_currency, to_currency, rate, effective_from, created_at)
                SELECT gen_random_uuid(), 'USD', (ARRAY['EUR', 'JPY', 'KWD', 'GBP'])[1 + n % 4], 1,
                    '2026-01-01Z'::timestamptz + n * interval '1 minute', now()
                FROM generate_series(1, 40000) n;
                INSERT INTO price_set (price_set_id, set_key, currency, is_reported, created_at)
                SELECT n, 'USD:' || n, 'USD', false, now() FROM generate_series(1, 20) n;
                INSERT INTO price_set_entry (price_set_id, price_id)
                SELECT n, price_id FROM generate_series(1, 20) n, (SELECT price_id FROM price_book LIMIT 2000) price;
                ANALYZE;
                """
            )
            var ofModel = PriceBookStore.Filter()
            ofModel.provider = "p7"
            ofModel.model = "m7"
            var inForce = PriceBookStore.Filter()
            inForce.provider = "p7"
            inForce.effectiveAt = try Instant(parsing: "2026-06-01T00:00:00Z")
            let lists: [(String, SQL)] = [
                ("prices", PriceBookStore.page(PriceBookStore.Filter(), after: nil, limit: 51)),
                ("prices of a model", PriceBookStore.page(ofModel, after: nil, limit: 51)),
                ("prices in force", PriceBookStore.page(inForce, after: nil, limit: 51)),
                ("rates", FXRateStore.page(from: nil, to: nil, after: nil, limit: 51)),
                ("rates to one", FXRateStore.page(from: Currency("USD"), to: Currency("JPY"), after: nil, limit: 51)),
            ]
            for (name, statement) in lists {
                let plan = try await QueryPlan(of: statement, executing: true, fixture.pool)
                #expect(plan.usesIndexesOnly && plan.rowsTouched < 6_000, "\(name): \(plan)")
            }
        }
    }
}
