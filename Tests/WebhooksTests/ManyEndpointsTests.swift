import BillingCore
import Postgres
import TestSupport
import Testing

@testable import Webhooks

/// Of very many endpoints that something waits for, each claim looks at some.
@Suite(.timeLimit(.minutes(15)))
struct ManyEndpointsTests {
    private static let asked = DeliveryQueue.endpointsAsked

    /// Adds an endpoint for each of so many tenants, from 1 on, for which something waits.
    /// - Parameter delaySeconds: how long until that is due.
    private static func add(_ count: Int, dueIn delaySeconds: Int64 = 0, _ queue: DeliveryStory) async throws {
        try await queue.database.run(
            """
            INSERT INTO webhook_endpoint (tenant_id, endpoint_key, kind, url, description, events, enabled,
                created_at, updated_at, revision)
            SELECT n, 'chat', 'slack', 'https://example.com/', '', '{*}', true, now(), now(), 1
            FROM generate_series(1, \(count)) n;
            INSERT INTO webhook_delivery (tenant_id, delivery_id, endpoint_key, event_tenant_id, event_id,
                event_type, status, attempt_count, failure_count, next_attempt_at, created_at)
            SELECT n, gen_random_uuid(), 'chat', n, gen_random_uuid(), 'limit.reached', 'pending', 0, 0,
                '\(queue.clock.now.adding(seconds: delaySeconds))', '2020-01-01Z'
            FROM generate_series(1, \(count)) n
            """
        )
    }

    @Test("each claim goes on behind the last endpoint that was looked at, and begins anew after the last one")
    func turns() async throws {
        try await DeliveryStory.run(urls: [], events: 0) { queue in
            try await Self.add(2 * Self.asked + 100, queue)
            let worker = queue.worker()
            var seen: [ClosedRange<Int64>] = []
            for _ in 1...4 {
                let tenants = try await worker.claim(limit: 32).map(\.endpoint.tenant.rawValue).sorted()
                let (first, last) = (try #require(tenants.first), try #require(tenants.last))
                #expect(tenants.count == 32)
                seen.append(first...last)
            }
            let bound = Int64(Self.asked)
            #expect(seen[0].upperBound <= bound)
            #expect(seen[1].lowerBound > bound && seen[1].upperBound <= 2 * bound)
            #expect(seen[2].lowerBound > 2 * bound)
            #expect(seen[3].upperBound <= bound)
        }
    }

    @Test("what is due behind very many endpoints where nothing is, is found in the same round of the worker")
    func behindThose() async throws {
        let receiver = try WebhookReceiver()
        defer { receiver.stop() }
        try await DeliveryStory.run(urls: [], events: 0) { queue in
            try await Self.add(Self.asked + 50, dueIn: 3_600, queue)
            let last = Int64(Self.asked + 51)
            try await queue.addEndpoint("chat", receiver.url, of: last)
            try await queue.add(1, of: last)
            var limits = DeliveryWorker.Limits()
            limits.pause = .seconds(600)
            limits.claimsEvery = .seconds(600)
            let worker = queue.worker(limits)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await worker.run() }
                let isTold = try await eventually(within: .seconds(60)) { receiver.received.count == 1 }
                #expect(isTold)
                group.cancelAll()
            }
        }
    }

    @Test("a claim reads each endpoint that it looks at once, also before the tables are analysed")
    func plan() async throws {
        try await DeliveryStory.run(urls: [], events: 0) { queue in
            try await Self.add(2 * Self.asked, queue)
            try await queue.database.run(
                "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET enable_sort = off', current_database()); END $$"
            )
            let worker = queue.worker()
            let terms = worker.terms(limit: 1, free: worker.limits.concurrency)
            let planning = PostgresPool(PostgresConfiguration(url: queue.database.url), logger: .silent)
            let statement = DeliveryQueue.claiming(terms, at: queue.clock.now)
            let plan = try await QueryPlan(of: statement, executing: true, planning)
            await planning.close()
            #expect(plan.rowsTouched >= Self.asked && plan.rowsTouched <= 20 * Self.asked, "\(plan)")
        }
    }

    @Test("a claim locks what it takes, and none of what it might have taken")
    func locks() async throws {
        try await DeliveryStory.run(urls: [], events: 0) { queue in
            try await Self.add(50, queue)
            #expect(try await queue.worker().claim(limit: 1).count == 1)
            // What locks a row leaves its transaction in it.
            let statement: SQL = "SELECT count(*) FROM webhook_delivery WHERE xmax <> '0'"
            let locked = try await queue.pool.query(.worker, statement) { row throws(PostgresError) in
                try row.next(Int64.self)
            }
            #expect(locked.allSatisfy { $0 <= 1 }, "\(locked)")
        }
    }
}
