import BillingCore
import Postgres
import TestSupport
import Testing
import Web

@testable import Webhooks

/// What can't be told is set aside, and the rest goes on.
@Suite(.timeLimit(.minutes(15)))
struct SetAsideTests {
    /// Makes it impossible to queue events of a type.
    private static let refuseUnmatched = """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.event_type = 'usage.unmatched' THEN RAISE 'cannot be queued'; END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON webhook_delivery FOR EACH ROW EXECUTE FUNCTION refuse()
        """

    private static func aside(_ queue: DeliveryStory) async throws -> [String] {
        try await queue.pool.query(
            .worker,
            """
            SELECT fan_out_failures || ' ' || (set_aside_at IS NOT NULL) FROM webhook_event
            WHERE fan_out_failures > 0 ORDER BY 1
            """
        ) { row throws(PostgresError) in try row.next(String.self) }
    }

    @Test("an event that can never be queued holds up no others, and is set aside after some failures")
    func events() async throws {
        try await DeliveryStory.run(urls: ["https://example.com/"], events: 0) { queue in
            try await queue.database.run(Self.refuseUnmatched)
            let worker = queue.worker()
            try await queue.add(7)
            try await queue.add(1, .usageUnmatched)
            try await queue.add(20)
            try await worker.fanOut()
            #expect(try await queue.states().count == 27)
            #expect(try await Self.aside(queue) == ["1 false"])
            try await worker.fanOut()
            #expect(try await Self.aside(queue) == ["1 false"], "its time has not come")
            for (index, seconds) in OutboxSuspects.retrySeconds.enumerated() {
                queue.clock.advance(seconds: seconds)
                try await queue.add(1)
                try await worker.fanOut()
                #expect(try await queue.states().count == 28 + index)
            }
            let failures = OutboxSuspects.retrySeconds.count + 1
            #expect(try await Self.aside(queue) == ["\(failures) true"])
            queue.clock.advance(seconds: 86_400)
            try await worker.fanOut()
            #expect(try await Self.aside(queue) == ["\(failures) true"])
            let logged = queue.log.lines
            #expect(
                logged.filter { $0.contains("an event is set aside") && $0.contains("cannot be queued") }.count == 1
            )
            #expect(logged.filter { $0.contains("an event cannot be queued") }.count == failures - 1)

            // As docs/operations.md says
            try await queue.database.run("DROP TRIGGER refuse ON webhook_delivery")
            try await queue.pool.execute(
                .worker,
                """
                UPDATE webhook_event
                SET fanned_out_at = NULL, set_aside_at = NULL, fan_out_failures = 0, fan_out_retry_at = NULL
                WHERE set_aside_at IS NOT NULL
                """
            )
            try await worker.fanOut()
            #expect(try await queue.states().count == 28 + OutboxSuspects.retrySeconds.count)
        }
    }

    @Test("an event that can be queued at a later time is told then")
    func passingTrouble() async throws {
        try await DeliveryStory.run(urls: ["https://example.com/"], events: 0) { queue in
            try await queue.database.run(Self.refuseUnmatched)
            let worker = queue.worker()
            try await queue.add(3, .usageUnmatched)
            try await worker.fanOut()
            #expect(try await Self.aside(queue) == ["1 false", "1 false", "1 false"])
            try await queue.database.run("DROP TRIGGER refuse ON webhook_delivery")
            queue.clock.advance(seconds: OutboxSuspects.retrySeconds[0])
            try await worker.fanOut()
            #expect(try await queue.states() == ["pending 0", "pending 0", "pending 0"])
        }
    }

    @Test("of very many that can't be queued each round tries some, until it comes to the others")
    func manyAtOnce() async throws {
        try await DeliveryStory.run(urls: ["https://example.com/"], events: 0) { queue in
            try await queue.database.run(Self.refuseUnmatched)
            try await queue.add(2 * OutboxSuspects.batch + 1, .usageUnmatched)
            try await queue.add(5)
            for round in 1...2 {
                try await queue.worker().fanOut()
                #expect(try await Self.aside(queue).count == round * OutboxSuspects.batch)
            }
            try await queue.worker().fanOut()
            #expect(try await queue.states().count == 5)
        }
    }

    @Test("several workers note a failure once")
    func failuresCountOnce() async throws {
        try await DeliveryStory.run(urls: ["https://example.com/"], events: 0) { queue in
            try await queue.database.run(Self.refuseUnmatched)
            try await queue.add(1, .usageUnmatched)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<4 { group.addTask { try await queue.worker().fanOut() } }
                try await group.waitForAll()
            }
            #expect(try await Self.aside(queue) == ["1 false"])
        }
    }

    @Test("a delivery that can't be read is given up like one that can't be sent, and others arrive")
    func deliveries() async throws {
        let receiver = try WebhookReceiver()
        defer { receiver.stop() }
        try await DeliveryStory.run(urls: [receiver.url, receiver.url], events: 1) { queue in
            try await queue.database.run(
                """
                ALTER TABLE webhook_endpoint DROP CONSTRAINT webhook_endpoint_signing;
                UPDATE webhook_endpoint SET signing = 'of another release' WHERE endpoint_key = 'chat-0'
                """
            )
            let worker = queue.worker()
            let claims = try await worker.claim(limit: 10)
            #expect(claims.count == 2)
            for claim in claims { await worker.attempt(claim) }
            #expect(try await queue.states() == ["pending 1", "succeeded 1"])
            #expect(receiver.received.count == 1)
            for seconds in RetrySchedule.delaysSeconds {
                queue.clock.advance(seconds: seconds)
                await worker.attempt(try #require(try await worker.claim(limit: 10).first))
            }
            #expect(try await queue.states() == ["failed \(RetrySchedule.delaysSeconds.count + 1)", "succeeded 1"])
            let errors = try await queue.pool.query(
                .worker,
                "SELECT DISTINCT coalesce(error, 'none') FROM webhook_attempt ORDER BY 1"
            ) { row throws(PostgresError) in try row.next(String.self) }
            #expect(errors == ["none", "the delivery cannot be read"])
            #expect(queue.log.lines.contains { $0.contains("a delivery cannot be read") && $0.contains("chat-0") })
        }
    }
}
