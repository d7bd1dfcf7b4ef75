import BillingCore
import Postgres
import TestSupport
import Testing
import Web

@testable import Webhooks

/// However many are slow, there is room for the others.
@Suite(.timeLimit(.minutes(15)))
struct DeliveryFairnessTests {
    /// Longer than any test waits.
    private static let slowSeconds = 110.0
    private static let attemptSeconds: Int64 = 120

    @Test("four tenants and the operator with slow receivers do not hold up a fifth")
    func slowTenants() async throws {
        let slow = try WebhookReceiver { _ in .init(delaySeconds: Self.slowSeconds) }
        let quick = try WebhookReceiver()
        defer { [slow, quick].forEach { $0.stop() } }
        // Three slow endpoints each, of tenants 1 to 4 and the operator; with 4 attempts at each endpoint and 8 of each
        // tenant they would take all 32 of a process.
        let urls = Array(repeating: slow.url, count: 15)
        try await DeliveryStory.run(urls: urls, owners: [1, 2, 3, 4, 0], events: 0) { queue in
            for tenant in 0...4 { try await queue.add(24, of: Int64(tenant)) }
            var limits = DeliveryWorker.Limits()
            limits.pause = .milliseconds(10)
            let worker = queue.worker(limits, attemptSeconds: Self.attemptSeconds)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await worker.run() }
                let isFull = try await eventually { slow.mostAtOnce >= 16 }
                #expect(isFull)
                let begun = ContinuousClock.now
                try await queue.addEndpoint("quick", quick.url, of: 5)
                try await queue.add(40, of: 5)
                let isTold = try await eventually { quick.received.count == 40 }
                #expect(isTold, "\(quick.received.count) of 40 in \(ContinuousClock.now - begun)")
                #expect(slow.mostAtOnce < limits.concurrency)
                group.cancelAll()
            }
        }
    }

    @Test("asked for again, or gone with their endpoint, deliveries under way count as long as they are")
    func withoutLease() async throws {
        let slow = try WebhookReceiver { _ in .init(delaySeconds: Self.slowSeconds) }
        defer { slow.stop() }
        try await DeliveryStory.run(urls: [slow.url], owners: [1], events: 0) { queue in
            var limits = DeliveryWorker.Limits()
            limits.pause = .milliseconds(10)
            let worker = queue.worker(limits, attemptSeconds: Self.attemptSeconds)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await worker.run() }
                for isRemoved in [false, false, true, false] {
                    if isRemoved {
                        let endpoint = WebhookEndpointID(tenant: TenantID(1), key: "chat-0")
                        try await queue.pool.transaction(.worker) { WebhookEndpointStore.delete(endpoint, in: $0) }
                        try await queue.addEndpoint("chat-0", slow.url, of: 1)
                    }
                    try await queue.add(8, of: 1)
                    let areQueued = try await eventually { try await queue.states().count >= 8 }
                    let isFull = try await eventually { slow.mostAtOnce == limits.concurrencyPerEndpoint }
                    #expect(areQueued && isFull)
                    // What a retry does to each.
                    try await queue.pool.execute(.worker, "UPDATE webhook_delivery SET leased_until = NULL")
                    queue.clock.advance(seconds: 1)
                    // Some rounds: each claims what it may.
                    try await Task.sleep(for: .milliseconds(300))
                }
                #expect(slow.mostAtOnce == limits.concurrencyPerEndpoint)
                group.cancelAll()
            }
        }
    }

    @Test("alone, a tenant has its whole share; the more have something under way, the less each")
    func shares() async throws {
        let urls = (0..<60).map { "https://example-\($0).com/" }
        let owners = (1...20).map { Int64($0) }
        try await DeliveryStory.run(urls: urls, owners: owners, events: 0) { queue in
            let worker = queue.worker()
            #expect((worker.limits.concurrency, worker.limits.concurrencyPerTenant) == (32, 8))
            try await queue.add(20, of: 1)
            try await worker.fanOut()
            #expect(try await worker.claim(limit: 32).count == 8)
            for tenant in owners.dropFirst() { try await queue.add(20, of: tenant) }
            try await worker.fanOut()
            let others = try await worker.claim(limit: 24, free: 24)
            let counts = Dictionary(grouping: others, by: \.endpoint.tenant).mapValues(\.count)
            #expect(counts.count == 19, "each of them gets something")
            #expect(counts.values.max() == 2)
            #expect(others.count < 24, "and not all is taken")
        }
    }

    @Test("those with less under way come first, the older of as many")
    func order() async throws {
        let urls = (0..<3).map { "https://example-\($0).com/" }
        try await DeliveryStory.run(urls: urls, owners: [1, 2, 3], events: 0) { queue in
            let worker = queue.worker()
            for tenant in [1, 1, 1, 2, 2, 3] as [Int64] {
                try await queue.add(1, of: tenant)
                try await worker.fanOut()
                queue.clock.advance(seconds: 1)
            }
            var tenants: [TenantID] = []
            for _ in 0..<6 {
                tenants += try await worker.claim(limit: 1).map(\.endpoint.tenant)
            }
            #expect(tenants == [1, 2, 3, 1, 2, 1].map { TenantID($0) })
        }
    }

    @Test("of those with as much under way they come first whose endpoints answer, however long others have waited")
    func answeringFirst() async throws {
        let urls = (0..<3).map { "https://example-\($0).com/" }
        try await DeliveryStory.run(urls: urls, owners: [1, 2, 0], events: 0) { queue in
            let worker = queue.worker()
            try await queue.pool.execute(
                .worker,
                "UPDATE webhook_endpoint SET failing_since = \(queue.clock.now) WHERE tenant_id = 1"
            )
            for tenant in [1, 1, 2, 2] as [Int64] {
                try await queue.add(1, of: tenant)
                try await worker.fanOut()
                queue.clock.advance(seconds: 1)
            }
            let claims = try await worker.claim(limit: 2, free: 32)
            #expect(Set(claims.map(\.endpoint.tenant.rawValue)) == [0, 2])
        }
    }

    @Test(
        "tenants take turns at an endpoint of the operator, and the oldest event comes first at one that fails"
    )
    func turnsOfTenants() async throws {
        try await DeliveryStory.run(urls: ["https://example.com/"], events: 0) { queue in
            for (count, tenant) in [(10, 5), (2, 7), (1, 2)] {
                try await queue.add(count, of: Int64(tenant))
                try await queue.worker().fanOut()
                queue.clock.advance(seconds: 1)
            }
            let told = { (limits: [Int]) async throws -> [Int64] in
                var tenants: [Int64] = []
                let worker = queue.worker()
                for limit in limits {
                    let claims = try await worker.claim(limit: limit)
                    tenants += claims.map(\.eventTenant.rawValue).sorted()
                    // They have arrived, each after those that were claimed before it.
                    for claim in claims {
                        try await queue.pool.transaction(.worker) { transaction in
                            DeliveryQueue.succeed(claim, at: queue.clock.now, in: transaction)
                        }
                    }
                }
                return tenants
            }
            #expect(try await told([1, 1, 1, 1]) == [2, 5, 7, 5])
            try await queue.pool.execute(.worker, "UPDATE webhook_endpoint SET failing_since = \(queue.clock.now)")
            #expect(try await told([3]) == [5, 5, 5])
            try await queue.pool.execute(.worker, "UPDATE webhook_endpoint SET failing_since = NULL")
            #expect(try await told([4]) == [5, 5, 5, 7])
        }
    }

    @Test("what waits for its next attempt at an endpoint of the operator is stepped over, tenant by tenant")
    func waitingTenants() async throws {
        try await DeliveryStory.run(urls: ["https://example.com/"], events: 1) { queue in
            // Of tenant 9 very much, of more tenants than are asked a little, and of a last one something that is due.
            try await queue.pool.execute(
                .worker,
                """
                INSERT INTO webhook_delivery (tenant_id, delivery_id, endpoint_key, event_tenant_id, event_id,
                    event_type, status, attempt_count, failure_count, next_attempt_at, created_at)
                SELECT 0, gen_random_uuid(), 'chat-0', CASE WHEN number <= 3000 THEN 9 ELSE number END,
                    gen_random_uuid(), 'limit.reached', 'pending', 1, 1,
                    \(queue.clock.now)::timestamptz + CASE WHEN number = 4000 THEN -1 ELSE 1 END * interval '1 minute',
                    '2020-01-01Z'
                FROM generate_series(1, 4000) AS number
                """
            )
            let worker = queue.worker()
            let claims = try await worker.claim(limit: 4)
            #expect(Set(claims.map(\.eventTenant.rawValue)) == [0, 4_000])
            try await queue.pool.execute(.worker, "UPDATE webhook_delivery SET leased_until = NULL")
            var terms = worker.terms(limit: 4, free: 32)
            terms.toldLast = [WebhookEndpointID(tenant: .operatorWide, key: "chat-0"): TenantID(1)]
            let plan = try await QueryPlan(
                of: DeliveryQueue.claiming(terms, at: queue.clock.now),
                executing: true,
                queue.pool
            )
            #expect(plan.rowsTouched < 500, "\(plan.rowsTouched): \(plan)")
        }
    }
}
