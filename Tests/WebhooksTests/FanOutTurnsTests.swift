import BillingCore
import Postgres
import TestSupport
import Testing

@testable import Webhooks

/// Events wait for their deliveries, and tenants take turns.
@Suite(.timeLimit(.minutes(15)))
struct FanOutTurnsTests {
    private static let url = "https://example.com/"

    /// Tenants with how many events of theirs have been taken, those without any left out.
    private static func taken(_ queue: DeliveryStory) async throws -> [String] {
        try await queue.pool.query(
            .worker,
            """
            SELECT tenant_id || ': ' || count(*) FROM webhook_event WHERE fanned_out_at IS NOT NULL
            GROUP BY tenant_id ORDER BY tenant_id
            """
        ) { row throws(PostgresError) in try row.next(String.self) }
    }

    @Test("a tenant with many endpoints and events holds up nobody's: a round ends with a number of deliveries")
    func manyDeliveries() async throws {
        try await DeliveryStory.run(urls: [], events: 0) { queue in
            for number in 1...50 { try await queue.addEndpoint("own-\(number)", Self.url, of: 1) }
            try await queue.addEndpoint("ops", Self.url, of: 0)
            try await queue.add(100, of: 1)
            for tenant in [2, 0] as [Int64] { try await queue.add(1, of: tenant) }
            let batch = FanOutBatch(DeliveryWorker.Limits().fanOutEvents)
            #expect(try await queue.worker().fanOut(batch, until: ContinuousClock.now), "more waits")
            // Of 51 deliveries each: no further one is taken once there are 2,000.
            #expect(try await Self.taken(queue) == ["0: 1", "1: 40", "2: 1"])
            #expect(try await !queue.worker().fanOut(batch))
            #expect(try await Self.taken(queue) == ["0: 1", "1: 100", "2: 1"])
            let made = try await queue.pool.query(.worker, "SELECT count(*) FROM webhook_delivery") {
                row throws(PostgresError) in try row.next(Int64.self)
            }
            #expect(made == [100 * 51 + 2])
        }
    }

    @Test("those have the next turn who follow the last, and share what a round takes")
    func turns() async throws {
        try await DeliveryStory.run(urls: [Self.url], events: 0) { queue in
            for tenant in 0...4 { try await queue.add(4, of: Int64(tenant)) }
            let (worker, batch) = (queue.worker(), FanOutBatch(2))
            var seen: [[String]] = []
            for _ in 1...3 {
                try await worker.fanOut(batch, until: ContinuousClock.now)
                seen.append(try await Self.taken(queue))
            }
            #expect(
                seen == [
                    ["0: 1", "1: 1"], ["0: 1", "1: 1", "2: 1", "3: 1"], ["0: 2", "1: 1", "2: 1", "3: 1", "4: 1"],
                ]
            )
            try await worker.fanOut(FanOutBatch(11), until: ContinuousClock.now)
            #expect(try await Self.taken(queue) == ["0: 4", "1: 3", "2: 3", "3: 3", "4: 3"])
        }
    }

    @Test("what waits is found without reading what was taken before, nor all that waits")
    func plan() async throws {
        try await DeliveryStory.run(urls: [Self.url], events: 0) { queue in
            try await queue.database.run(
                """
                INSERT INTO webhook_event (
                    tenant_id, event_id, event_type, occurred_at, operator_only, data, fanned_out_at
                )
                SELECT n % 500, gen_random_uuid(), 'limit.reached', '2026-11-23T07:00:00Z', false, '{}',
                    '2026-11-23T07:00:00Z'
                FROM generate_series(1, 20000) n;
                ANALYZE webhook_event;
                INSERT INTO webhook_event (tenant_id, event_id, event_type, occurred_at, operator_only, data)
                SELECT CASE WHEN n <= 3000 THEN 7 ELSE n END, gen_random_uuid(), 'limit.reached',
                    '2026-11-23T07:00:00Z', false, '{}'
                FROM generate_series(1, 5000) n;
                DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET enable_sort = off', current_database()); END $$;
                """
            )
            let planning = PostgresPool(PostgresConfiguration(url: queue.database.url), logger: .silent)
            let statement = OutboxFanOut.taking(.next(20, after: TenantID(6)), at: queue.clock.now)
            let plan = try await QueryPlan(of: statement, executing: true, planning)
            await planning.close()
            #expect(plan.rowsTouched < 1_000, "\(plan.rowsTouched): \(plan)")
            #expect(try await Self.taken(queue).contains("7: 41"), "40 before, and one of it like of 19 others")
        }
    }
}
