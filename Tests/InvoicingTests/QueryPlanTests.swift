import BillingCore
import Catalog
import Postgres
import TestSupport
import Testing
import Web

@testable import Invoicing

/// A page of a list reads little more than it shows, whatever it is narrowed to, and closing finds its rows by keys.
@Suite struct QueryPlanTests {
    /// 2,000 tenants with ten invoices each, nearly all of them paid, and the few in every other state among the oldest
    /// and the newest.
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
            updated_at, revision, closing_done)
        SELECT tenant_id, gen_random_uuid(), 1, 'UTC', '2026-01-01Z', '2026-01-01Z', now(), now(), 1, true FROM tenant;
        INSERT INTO billing_period (tenant_id, billing_period_id, subscription_id, period_index, starts_at, ends_at,
            status, needs_adjustment)
        SELECT tenant_id, tenant_id * 10 + n, subscription_id, n, '2026-01-01Z'::timestamptz + n * interval '30 days',
            '2026-01-31Z'::timestamptz + n * interval '30 days', 'final', tenant_id % 100 = 0 AND n = 1
        FROM subscription, generate_series(0, 4) n;
        INSERT INTO invoice (tenant_id, invoice_id, subscription_id, kind, period_index, period_start, period_end,
            created_at, status, issued_at, updated_at, revision)
        SELECT tenant_id, gen_random_uuid(), subscription_id, 'regular', n, issued, issued + interval '1 day', issued,
            CASE
                WHEN n = 9 AND tenant_id % 50 = 0 THEN 'draft'
                WHEN n = 9 AND tenant_id % 50 = 1 THEN 'finalized'
                WHEN n = 5 AND tenant_id % 200 = 2 THEN 'void'
                WHEN n = 5 AND tenant_id % 200 = 3 THEN 'uncollectible'
                ELSE 'paid'
            END,
            issued, issued, 1
        FROM subscription, generate_series(0, 9) n,
            LATERAL (SELECT '2026-01-01Z'::timestamptz + n * interval '30 days' + tenant_id * interval '1 minute')
                AS time (issued);
        INSERT INTO invoice_document (tenant_id, invoice_id, sequence, number, finalized_at, due_at, ledger_seq,
            currency, tenant_key, tenant_name, subtotal, discount, credits, tax, total, carried_forward, paid_by_credit,
            amount_due, facts, content_hash)
        SELECT tenant_id, invoice_id, row_number() OVER (), 'INV-' || row_number() OVER (), issued_at, issued_at, 1,
            'USD', 't', 'T', 1, 0, 0, 0, 1, 0, 0, 1, '{}', sha256('x')
        FROM invoice WHERE status <> 'draft';
        INSERT INTO credit_grant (tenant_id, credit_grant_id, kind, name, currency, amount, remaining, priority, origin,
            created_at, updated_at, revision)
        SELECT tenant_id, gen_random_uuid(), 'prepaid', 'c', 'USD', 1, n % 2, 0, 'api', now(), now(), 1
        FROM tenant, generate_series(1, 20) n;
        INSERT INTO discount (tenant_id, discount_id, name, percent, duration, uses, created_at, updated_at, revision)
        SELECT tenant_id, gen_random_uuid(), 'd', 1, 'forever', 0, now(), now(), 1 FROM tenant, generate_series(1, 10);
        INSERT INTO credit_note (tenant_id, credit_note_id, invoice_id, sequence, number, created_at, currency, reason,
            amount, tax, total, settled_as, facts)
        SELECT tenant_id, gen_random_uuid(), invoice_id, row_number() OVER (), 'CN', issued_at, 'USD', 'r', 1, 0, 1,
            'credit', '{}'
        FROM invoice WHERE status = 'paid';
        ANALYZE;
        """

    private static func invoices(_ narrow: (inout InvoiceStore.Filter) throws -> Void) rethrows -> SQL {
        var filter = InvoiceStore.Filter()
        try narrow(&filter)
        return InvoiceStore.page(filter, after: nil, limit: 51)
    }

    @Test func `a page of a list touches few rows`() async throws {
        try await TestDatabase.with { database in
            try await database.run(Self.rows)
            let pool = PostgresPool(PostgresConfiguration(url: database.url), logger: .silent)
            let seven = TenantID(7)
            let now = try Instant(parsing: "2026-11-23T00:00:00Z")
            let late = try Instant(parsing: "2026-09-20T00:00:00Z")
            let grants = CreditGrantStore.Filter(kind: nil, status: nil, now: now)
            let position = InvoiceStore.Position(issuedAt: late, id: InvoiceID(rawValue: .zero))
            let invoice = InvoiceID(rawValue: UUIDv7(milliseconds: 1, random: (1, 1)))
            var lists: [(String, SQL)] = [
                ("invoices", Self.invoices { _ in }),
                ("invoices behind a position", InvoiceStore.page(InvoiceStore.Filter(), after: position, limit: 51)),
                ("invoices of a tenant", Self.invoices { $0.tenant = seven }),
                ("invoices of a span", Self.invoices { ($0.from, $0.to) = (late, now) }),
                ("overdue invoices", Self.invoices { $0.overdueAt = now }),
                ("credit grants", CreditGrantStore.page(tenant: seven, grants, after: nil, limit: 51)),
                ("discounts", DiscountStore.page(tenant: seven, status: .active, after: nil, limit: 51)),
                ("credit notes", CreditNoteStore.page(CreditNoteStore.Filter(), after: nil, limit: 51)),
                ("credit notes of a tenant", CreditNoteStore.page(.init(tenant: seven), after: nil, limit: 51)),
                (
                    "credit notes of an invoice",
                    CreditNoteStore.page(.init(tenant: seven, invoice: invoice), after: nil, limit: 51)
                ),
                (
                    "credit notes of a span",
                    CreditNoteStore.page(.init(from: now.adding(seconds: -86_400)), after: nil, limit: 51)
                ),
            ]
            for status in InvoiceStatus.allCases {
                lists.append(("invoices that are \(status)", Self.invoices { $0.status = status }))
                lists.append(
                    ("a tenant's that are \(status)", Self.invoices { ($0.tenant, $0.status) = (seven, status) })
                )
            }
            for (name, statement) in lists {
                let plan = try await QueryPlan(of: statement, executing: true, pool)
                #expect(plan.usesIndexesOnly && plan.rowsTouched <= 250, "\(name): \(plan)")
            }
            await pool.close()
        }
    }

    @Test func `overdue invoices that were not told of are found among the unpaid`() async throws {
        try await TestDatabase.with { database in
            try await database.run(Self.rows)
            let pool = PostgresPool(PostgresConfiguration(url: database.url), logger: .silent)
            let now = try Instant(parsing: "2026-11-23T00:00:00Z")
            let statement = InvoiceStore.noteOverdue(at: now, after: .start, limit: 50)
            let plan = try await QueryPlan(of: statement, executing: true, pool)
            #expect(plan.usesIndexesOnly && plan.rowsTouched <= 250, "\(plan)")
            await pool.close()
        }
    }

    @Test func `what is put off is counted by keys`() async throws {
        try await TestDatabase.with { database in
            try await database.run(Self.rows)
            let pool = PostgresPool(PostgresConfiguration(url: database.url), logger: .silent)
            let now = try Instant(parsing: "2026-11-23T00:00:00Z")
            for statement in [SubscriptionClosingStore.countPutOff(at: now), InvoiceStore.countPutOff(at: now)] {
                let plan = try await QueryPlan(of: statement, executing: true, pool)
                #expect(plan.usesIndexesOnly && plan.rowsTouched <= 250, "\(plan)")
            }
            await pool.close()
        }
    }

    @Test func `what waits for an adjustment is found by keys`() async throws {
        try await TestDatabase.with { database in
            try await database.run(Self.rows)
            let pool = PostgresPool(PostgresConfiguration(url: database.url), logger: .silent)
            let now = try Instant(parsing: "2026-11-23T00:00:00Z")
            let statement = InvoiceAwaiting.statement(now: now, 0, of: 2, limit: 50)
            let plan = try await QueryPlan(of: statement, executing: true, pool)
            #expect(plan.usesIndexesOnly && plan.rowsTouched <= 250, "\(plan)")
            await pool.close()
        }
    }
}
