import BillingCore
import Postgres
import TestSupport
import Testing
import Web

@testable import Limits

/// Alerts are raised once, with what they tell.
@Suite struct AlertStoreTests {
    private static let raised = #"turnpike_alerts_raised_total{kind="threshold_crossed"}"#

    private static func draft(_ identity: String..., of tenant: Int64 = 7, operatorOnly: Bool = false) -> AlertDraft {
        var draft = AlertDraft(
            .thresholdCrossed,
            of: TenantID(tenant),
            key: "tenant-\(tenant)",
            identity: identity,
            detail: .members(["budget": .string("month")])
        )
        draft.isOperatorOnly = operatorOnly
        draft.limit = LimitID(3)
        draft.scopeValue = "u9"
        draft.threshold = FixedDecimal(80)
        return draft
    }

    private static func raise(_ drafts: [AlertDraft], _ server: TestServer, _ pool: PostgresPool) async throws {
        let clock = server.clock.clock
        try await pool.transaction(.worker) { transaction in
            try AlertStore.raise(drafts, at: clock.now(), ids: .random(clock), in: transaction)
        }
    }

    @Test("what was raised is not raised again, by one transaction or by many at once")
    func raisedOnce() async throws {
        try await TestServer.run { server in
            let before = try await server.counterValue(Self.raised)
            try await server.withPool { pool in
                try await Self.raise([Self.draft("a", "b"), Self.draft("a", "b"), Self.draft("ab")], server, pool)
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for index in 0..<8 {
                        group.addTask {
                            let drafts = [Self.draft("a", "b"), Self.draft("new"), Self.draft("old")]
                            try await Self.raise(index.isMultiple(of: 2) ? drafts : drafts.reversed(), server, pool)
                        }
                    }
                    try await group.waitForAll()
                }
                try await Self.raise([Self.draft("a", "b", of: 8)], server, pool)
            }
            let kept = try await server.column("SELECT tenant_id || ' ' || tenant_key FROM alert ORDER BY 1")
            #expect(kept == ["7 tenant-7", "7 tenant-7", "7 tenant-7", "7 tenant-7", "8 tenant-8"])
            let told = try await server.column(
                """
                SELECT event_type || ' ' || count(*) || ' ' || (array_agg(data->>'scope_value'))[1]
                FROM webhook_event JOIN alert USING (tenant_id) WHERE alert_id = event_id GROUP BY event_type
                """
            )
            #expect(told == ["budget.threshold_crossed 5 u9"], "each is told once, with what it says")
            #expect(try await server.counterValue(Self.raised) >= before + 5)
        }
    }

    @Test("an alert that its transaction takes back was never raised")
    func raisedInTheTransaction() async throws {
        struct Refused: Error {}
        try await TestServer.run { server in
            try await server.withPool { pool in
                let clock = server.clock.clock
                await #expect(throws: (any Error).self) {
                    try await pool.transaction(.worker) { transaction in
                        let drafts = [Self.draft("a")]
                        try AlertStore.raise(drafts, at: clock.now(), ids: .random(clock), in: transaction)
                        // What is enqueued is sent, so that there is something to take back.
                        try transaction.execute("SELECT 1")
                        throw Refused()
                    }
                }
                #expect(try await server.column("SELECT alert_key FROM alert") == [])
                #expect(try await server.column("SELECT event_type FROM webhook_event") == [])
                try await Self.raise([Self.draft("a")], server, pool)
            }
            #expect(try await server.column("SELECT kind FROM alert") == ["threshold_crossed"])
        }
    }

    @Test("of very many that wait tenants take turns, a hundred each")
    func turns() async throws {
        try await TestDatabase.with { database in
            let pool = PostgresPool(PostgresConfiguration(url: database.url), logger: .silent)
            let clock = TestClock().clock
            for (tenant, count) in [(7, 350), (8, 150), (0, 101)] {
                let drafts = (1...count).map { Self.draft("\($0)", of: Int64(tenant)) }
                try await pool.transaction(.worker) { transaction in
                    try AlertStore.raise(drafts, at: clock.now(), ids: .random(clock), in: transaction)
                }
            }
            try await AlertBacklogWorker(pool: pool, clock: clock, logger: .silent).raiseWaiting()
            // In the order in which they were written.
            let raised = try await pool.query(.worker, "SELECT tenant_id FROM alert ORDER BY ctid LIMIT 1000") {
                row throws(PostgresError) in try row.next(Int64.self)
            }
            #expect(raised.count == 601)
            #expect(Set(raised.prefix(300)) == [0, 7, 8] && raised.prefix(300).count { $0 == 7 } == 100)
            #expect(raised.suffix(150).allSatisfy { $0 == 7 }, "who has most ends last")
            await pool.close()
        }
    }

    @Test("what is for operators only is kept under tenant 0, once for each tenant it is about")
    func operatorOnly() async throws {
        try await TestServer.run { server in
            try await server.withPool { pool in
                let drafts = [7, 8, 7].map { Self.draft("cost", of: $0, operatorOnly: true) }
                try await Self.raise(drafts, server, pool)
            }
            #expect(
                try await server.column("SELECT tenant_id || ' ' || about_tenant_id FROM alert ORDER BY 1")
                    == ["0 7", "0 8"]
            )
        }
    }
}

/// Lists and removals read few of very many alerts.
@Suite struct AlertPlanTests {
    /// The oldest are of tenant 7, or of it and for operators; one in a thousand is of another kind. Those of windows
    /// without an end come before those without a window.
    private static let alerts = """
        INSERT INTO alert (
            tenant_id, alert_id, alert_key, kind, about_tenant_id, raised_at, window_start, window_end, detail
        )
        SELECT owner, lpad(to_hex(n), 32, '0')::uuid, n::text,
            CASE WHEN n % 1000 = 500 THEN 'reservation_expired' ELSE 'threshold_crossed' END,
            CASE WHEN owner = 0 THEN 7 + n / 2000 END, '2025-01-01Z'::timestamptz + n * interval '1 minute',
            CASE WHEN n <= 15000 THEN '0001-01-01Z'::timestamptz END,
            CASE WHEN n <= 15000 THEN '9999-12-31Z'::timestamptz END, '{}'
        FROM (
            SELECT n, CASE WHEN n % 100 = 1 THEN 0 WHEN n <= 2000 THEN 7 ELSE 100 + n % 50 END AS owner
            FROM generate_series(1, 20000) n
        ) AS numbered;
        """

    /// - Parameter seen: which both sides have acknowledged, the others nobody has.
    private static func acknowledge(_ seen: String) -> String {
        """
        UPDATE alert
        SET (acknowledged_at, acknowledged_by, tenant_acknowledged_at, tenant_acknowledged_by) = (
            SELECT raised_at, 'key:1', raised_at, 'key:2' WHERE alert_key::bigint % 1000 \(seen) 7
        );
        ANALYZE alert;
        """
    }

    private static func filter(_ change: (inout AlertStore.Filter) -> Void) -> AlertStore.Filter {
        var filter = AlertStore.Filter()
        filter.isForOperators = true
        change(&filter)
        return filter
    }

    @Test("a list reads about as many alerts as it shows, if most are acknowledged or few", arguments: ["<>", "="])
    func lists(acknowledged: String) async throws {
        try await TestDatabase.with { database in
            try await database.run(Self.alerts + Self.acknowledge(acknowledged))
            let pool = PostgresPool(PostgresConfiguration(url: database.url), logger: .silent)
            let seven = TenantID(7)
            let filters = [
                Self.filter { _ in }, Self.filter { $0.kind = .reservationExpired },
                Self.filter { $0.isAcknowledged = false }, Self.filter { $0.isAcknowledged = true },
                Self.filter { $0.tenant = seven },
            ]
            for filter in filters {
                let page = AlertStore.page(filter, seenBy: .operator, after: nil, limit: 21)
                let plan = try await QueryPlan(of: page, executing: true, pool)
                #expect(plan.rowsTouched <= 100, "\(filter): \(plan)")
            }
            for isAcknowledged in [nil, false, true] {
                let filter = AlertStore.Filter(tenant: seven, isAcknowledged: isAcknowledged)
                let page = AlertStore.page(filter, seenBy: .tenant, after: nil, limit: 21)
                let plan = try await QueryPlan(of: page, as: .tenant(7), executing: true, pool)
                #expect(plan.rowsTouched <= 100, "\(filter): \(plan)")
            }
            await pool.close()
        }
    }

    @Test("what is removed is found without those before it whose window goes on")
    func removal() async throws {
        try await TestDatabase.with { database in
            try await database.run(Self.alerts + "ANALYZE alert;")
            let pool = PostgresPool(PostgresConfiguration(url: database.url), logger: .silent)
            let now = try Instant(parsing: "2026-11-23T08:00:00Z")
            let removal = AlertStore.removal(olderThan: now, at: now, limit: 50)
            let plan = try await QueryPlan(of: removal, executing: true, pool)
            #expect(plan.rowsTouched <= 300, "\(plan)")
            let left = try await pool.query(.worker, "SELECT count(*) FROM alert") { row throws(PostgresError) in
                try row.next(Int64.self)
            }
            #expect(left == [19_950])
            await pool.close()
        }
    }
}
