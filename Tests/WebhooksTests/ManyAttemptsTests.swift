import Postgres
import TestSupport
import Testing

@testable import Webhooks

/// A delivery can be asked for again any number of times.
@Suite(.timeLimit(.minutes(15)))
struct ManyAttemptsTests {
    /// Adds attempts, from the first on, to each delivery.
    private static func addAttempts(_ count: Int, _ queue: DeliveryStory) async throws {
        try await queue.database.run(
            """
            INSERT INTO webhook_attempt (tenant_id, delivery_id, attempt, started_at, duration_ms, outcome)
            SELECT tenant_id, delivery_id, n, created_at, 1, 'failed'
            FROM webhook_delivery, generate_series(1, \(count)) n
            """
        )
    }

    private static func count(_ table: SQL, _ queue: DeliveryStory) async throws -> [Int64] {
        try await queue.pool.query(.worker, "SELECT count(*) FROM \(table)") { row throws(PostgresError) in
            try row.next(Int64.self)
        }
    }

    private static func upkeep(_ queue: DeliveryStory) -> WebhookUpkeepWorker {
        WebhookUpkeepWorker(pool: queue.pool, metrics: DeliveryMetrics(), clock: queue.clock.clock, logger: .silent)
    }

    /// Ends a deletion of deliveries as the time that a statement may take does.
    private static func endDeletions(of rows: String, where condition: String, _ queue: DeliveryStory) async throws {
        try await queue.database.run(
            """
            CREATE FUNCTION take_long() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF \(condition) THEN RAISE 'took too long' USING ERRCODE = 'query_canceled'; END IF;
                RETURN OLD;
            END
            $$;
            CREATE TRIGGER takes_long \(rows) EXECUTE FUNCTION take_long()
            """
        )
    }

    @Test("the latest thousand attempts of a delivery are kept")
    func attempts() async throws {
        let receiver = try WebhookReceiver()
        defer { receiver.stop() }
        try await DeliveryStory.run(urls: [receiver.url], events: 1) { queue in
            try await Self.addAttempts(1_400, queue)
            try await queue.pool.execute(.worker, "UPDATE webhook_delivery SET attempt_count = 1500")
            let worker = queue.worker()
            await worker.attempt(try #require(try await worker.claim(limit: 1).first))
            #expect(try await queue.states() == ["succeeded 1501"])
            let kept = try await queue.pool.query(
                .worker,
                "SELECT min(attempt) || ' to ' || max(attempt) || ': ' || count(*) FROM webhook_attempt"
            ) { row throws(PostgresError) in try row.next(String.self) }
            #expect(kept == ["502 to 1501: 900"])
        }
    }

    @Test(
        "where all attempts of old deliveries are too many for one statement, fewer deliveries are forgotten at a time"
    )
    func sweptInPieces() async throws {
        try await DeliveryStory.run(urls: ["https://example.com/"], events: 350) { queue in
            let rows = "AFTER DELETE ON webhook_delivery REFERENCING OLD TABLE AS gone FOR EACH STATEMENT"
            try await Self.endDeletions(of: rows, where: "(SELECT count(*) FROM gone) > 100", queue)
            queue.clock.advance(seconds: WebhookUpkeepWorker.keptSeconds + 1)
            try await Self.upkeep(queue).sweepDeliveries()
            #expect(try await Self.count("webhook_delivery", queue) == [0])
        }
    }

    @Test("of a delivery that has too many attempts itself these are forgotten first")
    func attemptsFirst() async throws {
        try await DeliveryStory.run(urls: ["https://example.com/"], events: 3) { queue in
            try await Self.addAttempts(20, queue)
            try await Self.endDeletions(
                of: "BEFORE DELETE ON webhook_delivery FOR EACH ROW",
                where: "(SELECT count(*) FROM webhook_attempt WHERE delivery_id = OLD.delivery_id) > 10",
                queue
            )
            queue.clock.advance(seconds: WebhookUpkeepWorker.keptSeconds + 1)
            try await Self.upkeep(queue).sweepDeliveries()
            #expect(try await Self.count("webhook_delivery", queue) == [0])
        }
    }

    @Test("events are forgotten while deliveries can't be")
    func eventsAlone() async throws {
        try await DeliveryStory.run(urls: ["https://example.com/"], events: 3) { queue in
            try await Self.endDeletions(of: "BEFORE DELETE ON webhook_delivery FOR EACH ROW", where: "true", queue)
            queue.clock.advance(seconds: WebhookUpkeepWorker.keptSeconds + 1)
            await #expect(throws: PostgresError.self) { try await Self.upkeep(queue).sweepDeliveries() }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await Self.upkeep(queue).run() }
                let areForgotten = try await eventually { try await Self.count("webhook_event", queue) == [0] }
                #expect(areForgotten)
                group.cancelAll()
            }
            #expect(try await Self.count("webhook_delivery", queue) == [3])
        }
    }
}
