import BillingCore
import Postgres
import TestSupport
import Testing
import Web

/// Thousands of events from several senders while the plan changes under them: each is rated once, under the segment of
/// its time.
@Suite(.timeLimit(.minutes(15)))
struct PlanChangeRaceTests {
    private static func version(_ unit: String) -> String {
        """
        {"charges":[{"feature":"seconds","price":{"model":"graduated","tiers":[
           {"up_to":"1000","unit_amount":"\(unit)"},{"up_to":null,"unit_amount":"0.25","flat_amount":"2"}]}},
          {"feature":"workers","price":{"model":"per_unit","unit_amount":"\(unit)"}},
          {"feature":"level","price":{"model":"per_unit","unit_amount":"\(unit)"}}],
         "quotas":[{"feature":"seconds","limit":"\(unit)000","window":"billing_period"}]}
        """
    }

    private static let senders = 4
    private static let batches = 25
    private static let batchSize = 40
    private static let changes = 30

    @Test func eventsWhileThePlanChangesAreEachRatedOnce() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addFeature("seconds")
            try await server.addFeature("workers", "unique_count", of: "worker")
            try await server.addFeature("level", "latest", of: "seconds")
            try await server.publish(Self.version("1"))
            try await server.publish(Self.version("2"), as: "max")
            let id = try await server.subscribe(at: "2026-11-01T00:00:00Z")
            try await withThrowingTaskGroup(of: Void.self) { group in
                for sender in 0..<Self.senders {
                    group.addTask { try await Self.send(server, sender) }
                }
                group.addTask {
                    for change in 0..<Self.changes {
                        server.clock.advance(seconds: 1)
                        let plan = change.isMultiple(of: 2) ? "max" : "pro"
                        try await server.ask("POST", "/subscriptions/\(id)/change", #"{"plan":"\#(plan)"}"#)
                    }
                }
                try await group.waitForAll()
            }
            #expect(try await server.differences() == [])
            let total = Self.senders * Self.batches * Self.batchSize
            let counted = try await server.withPool { pool in
                try await pool.query(
                    .worker,
                    """
                    SELECT sum(counter.quantity)::numeric(38,12), sum(counter.event_count)::bigint,
                        count(DISTINCT period.segment)
                    FROM usage_counter AS counter
                    JOIN billing_period AS period USING (tenant_id, billing_period_id)
                    JOIN feature USING (feature_id)
                    WHERE feature.key = 'seconds'
                    GROUP BY feature.key
                    ORDER BY feature.key
                    """
                ) { row throws(PostgresError) in
                    (try row.next(FixedDecimal.self), try row.next(Int64.self), try row.next(Int64.self))
                }
            }
            #expect(counted.first?.0.description == String(total))
            #expect(counted.first?.1 == Int64(total))
            #expect((counted.first?.2 ?? 0) > 1)
            #expect(try await server.used("seconds") == String(total))
        }
    }

    @Test(
        "a change that counts anew locks limits in the order of all others: while it waits for one it holds none behind"
    )
    func limitsAreLockedInOneOrder() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            for feature in ["a-month", "b-day", "c-day"] { try await server.addFeature(feature) }
            let quotas = """
                {"feature":"a-month","limit":"100","window":"month"},{"feature":"b-day","limit":"100","window":"day"}
                """
            try await server.publish(#"{"quotas":[\#(quotas)]}"#)
            let another = #"{"feature":"c-day","limit":"100","window":"day"}"#
            try await server.publish(#"{"quotas":[\#(quotas),\#(another)]}"#, as: "max")
            let id = try await server.subscribe(at: "2026-11-01T00:00:00Z")
            try await server.ingest(SentEvent("1", data: #"{"seconds":1}"#))
            server.clock.advance(seconds: 60)
            let first: SQL = """
                SELECT FROM limit_state WHERE limit_id = (SELECT min(limit_id) FROM limit_state) FOR UPDATE
                """
            try await server.whileLocked(by: first) {
                let change = Task {
                    try await server.ask("POST", "/subscriptions/\(id)/change", #"{"plan":"max"}"#)
                }
                try await server.withPool { pool in _ = try await pool.execute(.worker, TestServer.untilSomebodyWaits) }
                let free = try await server.column("SELECT limit_id::text FROM limit_state FOR UPDATE SKIP LOCKED")
                #expect(free.count == 1)
                change.cancel()
            }
        }
    }

    @Test func anyOrderOfEventsAndVoidsGivesTheSame() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addFeature("seconds")
            try await server.addFeature("workers", "unique_count", of: "worker")
            try await server.addFeature("level", "latest", of: "seconds")
            try await server.addFeature("peak", "max", of: "seconds")
            let peak = #"{"feature":"peak","price":{"model":"per_unit","unit_amount":"3"}}"#
            for (plan, unit) in [("pro", "1"), ("max", "2")] {
                let version = Self.version(unit).replacing(#"{"charges":["#, with: #"{"charges":[\#(peak),"#)
                try await server.publish(version, as: plan)
            }
            let id = try await server.subscribe(at: "2026-11-01T00:00:00Z")
            for plan in ["max", "pro", "max"] {
                server.clock.advance(seconds: 60)
                try await server.ask("POST", "/subscriptions/\(id)/change", #"{"plan":"\#(plan)"}"#)
            }
            server.clock.advance(seconds: 60)
            // The segments begin at minutes 0, 1, 2 and 3 after 08:00; events fall in all of them, in any order.
            var generator = SeededGenerator(seed: 11)
            var stored: [String] = []
            for round in 0..<12 {
                let events = (0..<30).map { index in
                    let second = Int.random(in: 0..<240, using: &generator)
                    let time = "2026-11-23T08:0\(second / 60):\(second % 60 < 10 ? "0" : "")\(second % 60)Z"
                    let worker = Int.random(in: 0..<25, using: &generator)
                    let seconds = Int.random(in: 0..<60, using: &generator)
                    return SentEvent(
                        "\(round)-\(index)",
                        time: time,
                        data: #"{"seconds":\#(seconds),"worker":"w\#(worker)"}"#
                    )
                }
                try await server.post(events).expecting(200)
                stored += events.map(\.id)
                for _ in 0..<12 {
                    _ = try await server.void(stored.remove(at: Int.random(in: stored.indices, using: &generator)))
                }
                #expect(try await server.differences() == [], "round \(round)")
            }
        }
    }

    /// Events at the present of the moving clock, and late ones of the days before.
    private static func send(_ server: TestServer, _ sender: Int) async throws {
        for batch in 0..<batches {
            let events = (0..<batchSize).map { index in
                let isLate = index.isMultiple(of: 5)
                return SentEvent(
                    "\(sender)-\(batch)-\(index)",
                    time: isLate ? "2026-11-20T00:00:0\(sender)Z" : nil,
                    data: #"{"seconds":1,"worker":"w\#((sender * 31 + batch * 7 + index) % 50)"}"#
                )
            }
            try await sendUntilStored(events, to: server)
        }
    }

    /// A batch that could not be measured because the plan changed again and again is refused whole, and sent again.
    private static func sendUntilStored(_ events: [SentEvent], to server: TestServer) async throws {
        let attempts = 100
        for _ in 1..<attempts {
            let answer = try await server.post(events)
            if answer.status == 200 { return }
            #expect(answer.code == "overloaded")
        }
        try await server.post(events).expecting(200)
    }
}
