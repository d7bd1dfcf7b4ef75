import BillingCore
import Postgres
import Synchronization
import TestSupport
import Testing
import Web

@testable import Webhooks

/// Claims, leases and bounds, with workers like those of several replicas.
@Suite(.timeLimit(.minutes(15)))
struct DeliveryQueueTests {
    @Test("a claim is nobody else's until its lease ends; then another worker takes it over")
    func leasesEnd() async throws {
        let receiver = try WebhookReceiver()
        defer { receiver.stop() }
        try await DeliveryStory.run(urls: [receiver.url], events: 1) { queue in
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
        let (failing, succeeding) = (AnswerGate(), AnswerGate())
        let waiting = Mutex([(failing, 500), (succeeding, 200)])
        let receiver = try WebhookReceiver { _ in
            guard let (gate, status) = waiting.withLock({ $0.isEmpty ? nil : $0.removeFirst() }) else {
                return .init(500)
            }
            gate.pass()
            return .init(status)
        }
        defer { receiver.stop() }
        try await DeliveryStory.run(urls: [receiver.url], events: 1) { queue in
            let worker = queue.worker()
            let late = try #require(try await worker.claim(limit: 1).first)
            async let failure: Void = worker.attempt(late)
            #expect(try await eventually(within: .seconds(10)) { receiver.received.count == 1 })
            async let success: Void = worker.attempt(late)
            #expect(try await eventually(within: .seconds(10)) { receiver.received.count == 2 })
            queue.clock.advance(seconds: DeliveryWorker.Limits().leaseSeconds)
            let present = try #require(try await worker.claim(limit: 1).first)
            failing.open()
            await failure
            #expect(try await queue.states() == ["pending 2"])
            #expect(try await worker.claim(limit: 1).isEmpty, "the present claim is still held")
            succeeding.open()
            await success
            await worker.attempt(present)
            #expect(try await queue.states() == ["succeeded 2"], "it has arrived, whatever failed beside that")
            #expect(receiver.received.count == 3)
        }
    }

    @Test("an attempt that its lease leaves no time for is not begun: whoever claims next makes it")
    func nearlyOver() async throws {
        let receiver = try WebhookReceiver()
        defer { receiver.stop() }
        try await DeliveryStory.run(urls: [receiver.url], events: 1) { queue in
            let (worker, limits) = (queue.worker(), DeliveryWorker.Limits())
            let claim = try #require(try await worker.claim(limit: 1).first)
            queue.clock.advance(seconds: limits.leaseSeconds - limits.attemptSeconds + 1)
            await worker.attempt(claim)
            #expect(receiver.received.isEmpty)
            queue.clock.advance(seconds: limits.attemptSeconds - 1)
            await worker.attempt(try #require(try await worker.claim(limit: 1).first))
            #expect(try await queue.states() == ["succeeded 2"])
            #expect(receiver.received.count == 1)
        }
    }

    @Test("what waits for its next attempt is not late, and what is due and not being tried is")
    func lateness() async throws {
        let receiver = try WebhookReceiver { _ in .init(500) }
        defer { receiver.stop() }
        try await DeliveryStory.run(urls: [receiver.url], events: 1) { queue in
            let worker = queue.worker()
            let madeAt = queue.clock.now
            queue.clock.advance(seconds: 3)
            let backlog = { try await DeliveryLog.backlog(at: queue.clock.now, pool: queue.pool) }
            #expect(try await backlog()?.dueSince == madeAt)
            let claim = try #require(try await worker.claim(limit: 1).first)
            #expect(try await backlog()?.dueSince == nil, "it is being tried")
            await worker.attempt(claim)
            let waiting = try #require(try await backlog())
            #expect(waiting.count == 1 && waiting.dueSince == nil)
            queue.clock.advance(seconds: 3_600)
            let dueSince = try #require(try await backlog()?.dueSince)
            #expect(dueSince > madeAt.adding(seconds: 3) && dueSince < queue.clock.now)
        }
    }

    @Test("claims of all workers together respect the bound on an endpoint, and each its own in total")
    func claimsAreBounded() async throws {
        let urls = (0..<3).map { "https://example-\($0).com/" }
        try await DeliveryStory.run(urls: urls, events: 20) { queue in
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

    @Test("one tenant has a quarter of the attempts of a process, however many endpoints it has")
    func tenantsAreBounded() async throws {
        let urls = (0..<8).map { "https://example-\($0).com/" }
        try await DeliveryStory.run(urls: urls, owners: [1, 1, 1, 0], events: 30) { queue in
            let worker = queue.worker()
            #expect(worker.limits.concurrency == 32)
            let claims = try await worker.claim(limit: 32)
            let counts = Dictionary(grouping: claims, by: \.endpoint.tenant).mapValues(\.count)
            #expect(counts == [TenantID(0): 8, TenantID(1): 8])
            #expect(try await queue.worker().claim(limit: 32).isEmpty, "over all processes")
            queue.clock.advance(seconds: worker.limits.leaseSeconds)
            #expect(try await worker.claim(limit: 32).count == 16)
        }
    }

    @Test("what this process can't send is left to others, untouched")
    func kindsAreLeft() async throws {
        let urls = ["https://example.com/", "https://example.org/", "https://example.net"]
        try await DeliveryStory.run(urls: urls, events: 1) { queue in
            try await queue.database.run(
                """
                UPDATE webhook_endpoint SET kind = 'email', url = 'mailto:a@b.c' WHERE endpoint_key = 'chat-0';
                UPDATE webhook_endpoint SET sealed_url = 'sealed' WHERE endpoint_key = 'chat-2'
                """
            )
            let claims = try await queue.worker().claim(limit: 10)
            #expect(claims.map(\.endpoint.key) == ["chat-1"])
            #expect(try await queue.states() == ["pending 0", "pending 0", "pending 1"])
            #expect(try await DeliveryLog.backlog(at: queue.clock.now, pool: queue.pool)?.count == 3)
        }
    }

    @Test("a retry that is asked for while an attempt is under way outlives that attempt's failure")
    func retriesOutliveAttempts() async throws {
        let receiver = try WebhookReceiver { _ in .init(500) }
        defer { receiver.stop() }
        try await DeliveryStory.run(urls: [receiver.url], events: 1) { queue in
            let worker = queue.worker()
            let old = try #require(try await worker.claim(limit: 1).first)
            let now = queue.clock.now
            _ = try await queue.pool.transaction(.worker) { transaction in
                try DeliveryLog.retry(old.id, of: old.endpoint.tenant, at: now, in: transaction)?.id
            }
            await worker.attempt(old)
            let new = try #require(try await worker.claim(limit: 1).first, "it is due at once")
            #expect((new.id, new.failures) == (old.id, 0))
            await worker.attempt(new)
            #expect(try await queue.states() == ["pending 2"])
            #expect(try await worker.claim(limit: 1).isEmpty, "it waits as after a first failure")
        }
    }

    @Test("events that can't be queued so many at a time are queued in fewer")
    func fanOutStartsAgain() async throws {
        let receiver = try WebhookReceiver()
        defer { receiver.stop() }
        try await DeliveryStory.run(urls: [receiver.url], events: 3) { queue in
            // Of events that nobody has taken yet, eight at a time are too many.
            try await queue.database.run(
                """
                CREATE FUNCTION refuse_eight() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN
                    IF (SELECT count(*) FROM taken) >= 8 THEN RAISE 'too many'; END IF;
                    RETURN NULL;
                END $$;
                CREATE TRIGGER refuse_eight AFTER UPDATE ON webhook_event
                REFERENCING NEW TABLE AS taken FOR EACH STATEMENT EXECUTE FUNCTION refuse_eight()
                """
            )
            try await queue.add(10)
            var limits = DeliveryWorker.Limits()
            limits.fanOutEvents = 10
            limits.pause = .milliseconds(10)
            let worker = queue.worker(limits)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await worker.run() }
                let isDone = try await eventually(within: .seconds(30)) {
                    try await queue.states() == Array(repeating: "succeeded 1", count: 13)
                }
                #expect(isDone)
                group.cancelAll()
            }
        }
    }

    @Test("deliveries go on while nothing at all can be queued")
    func fanOutStopsNothing() async throws {
        let receiver = try WebhookReceiver()
        defer { receiver.stop() }
        try await DeliveryStory.run(urls: [receiver.url], events: 3) { queue in
            try await queue.database.run(
                "ALTER TABLE webhook_event ADD CONSTRAINT stuck CHECK (fanned_out_at IS NULL) NOT VALID"
            )
            try await queue.add(1)
            let worker = queue.worker()
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await worker.run() }
                let isDone = try await eventually(within: .seconds(30)) {
                    try await queue.states() == Array(repeating: "succeeded 1", count: 3)
                }
                #expect(isDone)
                group.cancelAll()
            }
        }
    }

    @Test("a running worker keeps to its bounds, and a slow endpoint does not hold up another")
    func workersAreBounded() async throws {
        let gate = AnswerGate()
        let attemptSeconds: Int64 = 120
        let slow = try WebhookReceiver { _ in
            gate.pass(seconds: attemptSeconds)
            return .init()
        }
        let quick = try WebhookReceiver()
        defer { [slow, quick].forEach { $0.stop() } }
        try await DeliveryStory.run(urls: [slow.url, quick.url], events: 12) { queue in
            var limits = DeliveryWorker.Limits()
            limits.concurrency = 5
            limits.concurrencyPerEndpoint = 3
            limits.pause = .milliseconds(10)
            let worker = queue.worker(limits, attemptSeconds: attemptSeconds)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await worker.run() }
                let isQuick = try await eventually(within: .seconds(60)) {
                    quick.received.count == 12 && slow.received.count == 3
                }
                #expect(isQuick)
                gate.open()
                let succeeded = Array(repeating: "succeeded 1", count: 24)
                let isDone = try await eventually(within: .seconds(60)) { try await queue.states() == succeeded }
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
        try await DeliveryStory.run(urls: [receiver.url], events: 60) { queue in
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
        try await DeliveryStory.run(urls: ["https://example.com/"], events: 0) { queue in
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
        try await DeliveryStory.run(urls: ["https://example.com/", "https://example.org/"], events: 1) { queue in
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
            let terms = queue.worker().terms(limit: 8, free: 32)
            let statement = DeliveryQueue.claiming(terms, at: queue.clock.now)
            let plan = try await QueryPlan(of: statement, executing: true, queue.pool)
            #expect(plan.rowsTouched < 200, "\(plan.rowsTouched): \(plan)")
        }
    }

    @Test("what waits to be queued is queued piece by piece, so that what is due can be tried in between")
    func pieces() async throws {
        try await DeliveryStory.run(urls: ["https://example.com/"], events: 0) { queue in
            try await queue.add(5)
            let (worker, batch) = (queue.worker(), FanOutBatch(2))
            #expect(try await worker.fanOut(batch, until: ContinuousClock.now))
            let waiting: SQL = "SELECT count(*) FROM webhook_event WHERE fanned_out_at IS NULL"
            let left = try await queue.pool.query(.worker, waiting) { row throws(PostgresError) in
                try row.next(Int64.self)
            }
            #expect(left == [3])
            #expect(try await !worker.fanOut(batch, until: ContinuousClock.now + .seconds(600)))
        }
    }
}
