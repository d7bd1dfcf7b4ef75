import BillingCore
import Identity
import Postgres
import Synchronization
import TestSupport
import Testing
import Web

@testable import Webhooks

/// Claims, leases and bounds, with workers like those of several replicas.
@Suite(.timeLimit(.minutes(10)))
struct DeliveryQueueTests {
    /// A database with an endpoint for each URL, and events waiting to be told to all of them.
    private struct Queue: Sendable {
        let pool: PostgresPool
        let clock: TestClock

        static func run(urls: [String], events: Int, _ body: (Queue) async throws -> Void) async throws {
            try await TestDatabase.with { database in
                let pool = PostgresPool(PostgresConfiguration(url: database.url), logger: .silent)
                let queue = Queue(pool: pool, clock: TestClock())
                do {
                    try await queue.fill(urls, events: events)
                    try await body(queue)
                    await pool.close()
                } catch {
                    await pool.close()
                    throw error
                }
            }
        }

        private func fill(_ urls: [String], events: Int) async throws {
            let now = clock.now
            try await pool.transaction(.worker) { transaction in
                for (index, url) in urls.enumerated() {
                    let endpoint = WebhookEndpoint(
                        id: WebhookEndpointID(tenant: .operatorWide, key: "chat-\(index)"),
                        kind: .slack,
                        url: url,
                        description: "",
                        events: .all,
                        isEnabled: true,
                        signing: nil,
                        createdAt: now,
                        updatedAt: now,
                        revision: 1
                    )
                    _ = try WebhookEndpointStore.insert(endpoint, sealedSecret: nil, in: transaction)
                }
                let ids = IDSource.random(clock.clock)
                Outbox.enqueue(
                    (0..<events).map { index in
                        OutboxEvent(
                            id: ids.next(),
                            tenant: TenantID(Int64(index % 3)),
                            type: .limitReached,
                            occurredAt: now,
                            data: .object([])
                        )
                    },
                    in: transaction
                )
            }
            try await worker().fanOut()
        }

        func worker(_ limits: DeliveryWorker.Limits = .init()) -> DeliveryWorker {
            DeliveryWorker(
                pool: pool,
                sender: WebhookSender(
                    outbound: OutboundClient(
                        addresses: OutboundGuard(allowed: [AddressRange("127.0.0.1")].compactMap(\.self))
                    ),
                    masterKey: nil,
                    mail: nil
                ),
                disabling: EndpointDisabling(announce: { _, _ in }, ids: .random(clock.clock)),
                tenants: TenantDirectory(
                    tenant: { _ in nil },
                    subject: { _ in nil },
                    keys: { _ in [:] },
                    standing: { _ in nil }
                ),
                limits: limits,
                clock: clock.clock,
                ids: .random(clock.clock),
                metrics: DeliveryMetrics(),
                logger: .silent
            )
        }

        func states() async throws -> [String] {
            try await pool.query(
                .worker,
                "SELECT status || ' ' || attempt_count FROM webhook_delivery ORDER BY 1 LIMIT 1000"
            ) { row throws(PostgresError) in try row.next(String.self) }
        }
    }

    @Test("a claim is nobody else's until its lease ends; then another worker takes it over")
    func leasesEnd() async throws {
        let receiver = try WebhookReceiver()
        defer { receiver.stop() }
        try await Queue.run(urls: [receiver.url], events: 1) { queue in
            let (dead, alive) = (queue.worker(), queue.worker())
            let lost = try #require(try await dead.claim(limit: 10).first)
            #expect(try await alive.claim(limit: 10).isEmpty)
            queue.clock.advance(seconds: DeliveryWorker.Limits().leaseSeconds)
            let taken = try #require(try await alive.claim(limit: 10).first)
            #expect(taken.id == lost.id && (lost.attempt, taken.attempt) == (1, 2))
            await alive.attempt(taken)
            #expect(try await queue.states() == ["succeeded 2"])
            #expect(receiver.received.count == 1)
        }
    }

    @Test("whoever comes back after its lease changes nothing by a failure, and ends it by a success")
    func lateResults() async throws {
        let isUp = Mutex(false)
        let receiver = try WebhookReceiver { _ in .init(isUp.withLock { $0 } ? 200 : 500) }
        defer { receiver.stop() }
        try await Queue.run(urls: [receiver.url], events: 1) { queue in
            let worker = queue.worker()
            let late = try #require(try await worker.claim(limit: 1).first)
            queue.clock.advance(seconds: DeliveryWorker.Limits().leaseSeconds)
            let present = try #require(try await worker.claim(limit: 1).first)
            await worker.attempt(late)
            #expect(try await queue.states() == ["pending 2"])
            #expect(try await worker.claim(limit: 1).isEmpty, "the present claim is still held")
            isUp.withLock { $0 = true }
            await worker.attempt(late)
            isUp.withLock { $0 = false }
            await worker.attempt(present)
            #expect(try await queue.states() == ["succeeded 2"], "it has arrived, whatever failed beside that")
        }
    }

    @Test("claims of all workers together respect the bound on an endpoint, and each its own in total")
    func claimsAreBounded() async throws {
        let urls = (0..<3).map { "https://example-\($0).com/" }
        try await Queue.run(urls: urls, events: 20) { queue in
            var limits = DeliveryWorker.Limits()
            limits.concurrencyPerEndpoint = 4
            let workers = (0..<4).map { _ in queue.worker(limits) }
            let claims = try await withThrowingTaskGroup(of: [ClaimedDelivery].self) { group in
                for worker in workers { group.addTask { try await worker.claim(limit: 5) } }
                return try await group.reduce(into: []) { $0 += $1 }
            }
            #expect(claims.count == 12)
            #expect(Set(claims.map(\.id)).count == 12)
            #expect(Dictionary(grouping: claims, by: \.endpoint).values.map(\.count) == [4, 4, 4])
            #expect(try await workers[0].claim(limit: 5).isEmpty)
            queue.clock.advance(seconds: limits.leaseSeconds)
            #expect(try await workers[0].claim(limit: 5).count == 5)
        }
    }

    @Test("a running worker keeps to its bounds, and a slow endpoint does not hold up another")
    func workersAreBounded() async throws {
        let slow = try WebhookReceiver { _ in .init(delaySeconds: 0.3) }
        let quick = try WebhookReceiver()
        defer { [slow, quick].forEach { $0.stop() } }
        try await Queue.run(urls: [slow.url, quick.url], events: 12) { queue in
            var limits = DeliveryWorker.Limits()
            limits.concurrency = 5
            limits.concurrencyPerEndpoint = 3
            limits.pause = .milliseconds(10)
            let worker = queue.worker(limits)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await worker.run() }
                let isQuick = try await eventually(within: .seconds(30)) { quick.received.count == 12 }
                #expect(isQuick && slow.received.count < 12)
                let succeeded = Array(repeating: "succeeded 1", count: 24)
                let isDone = try await eventually(within: .seconds(30)) { try await queue.states() == succeeded }
                #expect(isDone)
                group.cancelAll()
            }
            #expect(slow.mostAtOnce == 3)
            #expect(quick.mostAtOnce <= 3)
        }
    }

    @Test("what one endpoint takes quickly follows at once, not with the next look")
    func attemptsFollowEachOther() async throws {
        let receiver = try WebhookReceiver()
        defer { receiver.stop() }
        try await Queue.run(urls: [receiver.url], events: 60) { queue in
            var limits = DeliveryWorker.Limits()
            limits.pause = .seconds(600)
            let worker = queue.worker(limits)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await worker.run() }
                let succeeded = Array(repeating: "succeeded 1", count: 60)
                let isDone = try await eventually(within: .seconds(60)) { try await queue.states() == succeeded }
                #expect(isDone)
                group.cancelAll()
            }
            #expect(receiver.mostAtOnce <= limits.concurrencyPerEndpoint)
        }
    }

    @Test("an event is queued once for an endpoint, however many workers look")
    func fanOutIsOnce() async throws {
        try await Queue.run(urls: ["https://example.com/"], events: 0) { queue in
            let ids = IDSource.random(queue.clock.clock)
            let now = queue.clock.now
            for _ in 0..<5 {
                try await queue.pool.transaction(.worker) { transaction in
                    let events = (0..<10).map { _ in
                        OutboxEvent(
                            id: ids.next(),
                            tenant: TenantID(1),
                            type: .usageUnpriced,
                            occurredAt: now,
                            data: .object([])
                        )
                    }
                    Outbox.enqueue(events, in: transaction)
                }
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for _ in 0..<4 { group.addTask { try await queue.worker().fanOut() } }
                    try await group.waitForAll()
                }
            }
            #expect(try await queue.states().count == 50)
        }
    }

    @Test("claiming reads of many that wait for an endpoint no more than it takes")
    func claimingIsCheap() async throws {
        try await Queue.run(urls: ["https://example.com/", "https://example.org/"], events: 1) { queue in
            try await queue.pool.execute(
                .worker,
                """
                INSERT INTO webhook_delivery (tenant_id, delivery_id, endpoint_key, event_tenant_id, event_id,
                    event_type, status, attempt_count, failure_count, next_attempt_at, created_at, finished_at)
                SELECT 0, gen_random_uuid(), 'chat-' || number % 2, event.tenant_id, gen_random_uuid(), 'limit.reached',
                    CASE WHEN number <= 3000 THEN 'pending' ELSE 'succeeded' END, 0, 0, '2020-01-01Z', '2020-01-01Z',
                    CASE WHEN number <= 3000 THEN NULL ELSE '2020-01-01Z'::timestamptz END
                FROM generate_series(1, 20000) AS number, webhook_event AS event
                """
            )
            try await queue.pool.execute(.worker, "ANALYZE webhook_delivery")
            let statement = DeliveryQueue.claiming(limit: 8, perEndpoint: 4, leaseSeconds: 30, at: queue.clock.now)
            let plan = try await QueryPlan(of: statement, executing: true, queue.pool)
            #expect(plan.rowsTouched < 200, "\(plan.rowsTouched): \(plan)")
        }
    }
}
