import BillingCore
import Postgres
import Synchronization
import TestSupport
import Testing
import Web

/// Eight senders on two replicas with duplicates, conflicts, voids, late and out-of-order events: afterwards
/// everything that is stored and answered equals a naive model of what the senders were told.
@Suite(.timeLimit(.minutes(15))) struct RandomisedRunTests {
    private static let keys = 320
    private static let tenants = ["acme", "beta", "gamma"]

    private static let plan = """
        {"charges":[{"feature":"seconds","price":{"model":"graduated","tiers":[
           {"up_to":"100","unit_amount":"1"},{"up_to":null,"unit_amount":"0.25","flat_amount":"2"}]}}],
         "quotas":[{"feature":"seconds","limit":"1000","window":"day"},
                   {"feature":"seconds","limit":"1000","window":"billing_period"}]}
        """

    /// What the senders were told, by event.
    private final class Told: Sendable {
        struct State {
            var accepted: [String: [UsageModel.Event]] = [:]
            var voided: [String: Int] = [:]
            var failures: [String] = []
        }

        let state = Mutex(State())
    }

    /// The content of a key: a pure function, so that senders agree on duplicates and differ on purpose.
    private static func event(_ key: Int, variant: Int) -> UsageModel.Event {
        var random = SeededGenerator(seed: UInt64(key * 2 + variant + 1))
        let earliest = UsageModel.seconds("2026-10-20T00:00:00Z")
        let time = Int64.random(in: earliest...UsageModel.now + 240_000_000, using: &random)
        return UsageModel.Event(
            id: "k\(key)",
            source: key % 3 == 0 ? "gw-a" : "gw-b",
            subject: key % 16 == 5 ? "late" : tenants[key % 3],
            time: Int.random(in: 0..<20, using: &random) == 0 ? nil : time,
            milliseconds: Int64.random(in: 0...5_000, using: &random),
            worker: Int.random(in: 0..<9, using: &random)
        )
    }

    private static func sent(_ event: UsageModel.Event) -> SentEvent {
        let text = event.sent
        return SentEvent(event.id, source: event.source, subject: event.subject, time: text.time, data: text.data)
    }

    private static func arrange(_ server: TestServer) async throws {
        try await server.addTenant("acme", zone: "Europe/Berlin")
        try await server.addTenant("beta")
        try await server.addTenant("gamma")
        let features = [
            ("seconds", "sum", "seconds"), ("calls", "count", nil), ("peak", "max", "seconds"),
            ("level", "latest", "seconds"), ("workers", "unique_count", "worker"),
        ]
        for (key, aggregation, property) in features {
            try await server.addFeature(key, aggregation, of: property)
        }
        try await server.publish(plan)
        try await server.subscribe(at: "2026-10-05T06:00:00Z")
    }

    private static func run(_ sender: Int, on server: TestServer, _ told: Told) async throws {
        var random = SeededGenerator(seed: UInt64(1_000 + sender))
        var mine: [UsageModel.Event] = []
        for _ in 0..<14 {
            let batch = (0..<Int.random(in: 1...12, using: &random)).map { _ in
                let key = Int.random(in: 0..<keys, using: &random)
                return event(key, variant: key % 16 != 5 && Int.random(in: 0..<5, using: &random) == 0 ? 1 : 0)
            }
            let answer = try await server.post(batch.map(sent))
            let other = Set(
                (answer.json["problems"]?.elements ?? []).compactMap { problem -> String? in
                    let isPlain = problem["status"]?.string.map { ["unsubscribed", "unpriced"].contains($0) } ?? false
                    return isPlain ? nil : problem["index"]?.number
                }
            )
            told.state.withLock { state in
                if answer.status != 200 { state.failures.append("\(answer)") }
                for (index, event) in batch.enumerated() where !other.contains(String(index)) {
                    state.accepted[event.id, default: []].append(event)
                }
            }
            mine += batch.filter { $0.subject != "late" }
            if let event = mine.randomElement(using: &random), Int.random(in: 0..<2, using: &random) == 0 {
                let voided = try await server.void(event.id, source: event.source, tenant: event.subject)
                told.state.withLock { $0.voided[event.id, default: 0] += voided["status"]?.string == "voided" ? 1 : 0 }
            }
        }
    }

    private static func counters(of tenant: String, _ server: TestServer) async throws -> Set<UsageModel.Counter> {
        try await server.withPool { pool in
            let rows = try await pool.query(
                .worker,
                """
                SELECT feature.key, period.period_index, counter.quantity, counter.event_count
                FROM usage_counter AS counter
                JOIN feature ON feature.feature_id = counter.feature_id
                JOIN billing_period AS period ON period.tenant_id = counter.tenant_id
                    AND period.billing_period_id = counter.billing_period_id
                JOIN tenant ON tenant.tenant_id = counter.tenant_id
                WHERE tenant.key = \(tenant) AND counter.event_count > 0
                """
            ) { row throws(PostgresError) in
                UsageModel.Counter(
                    feature: try row.next(),
                    period: Int(try row.next(Int32.self)),
                    quantity: try row.next(FixedDecimal.self).description,
                    events: try row.next()
                )
            }
            return Set(rows)
        }
    }

    private static func days(of tenant: String, _ server: TestServer) async throws -> [String: String] {
        try await server.withPool { pool in
            let rows = try await pool.query(
                .worker,
                """
                SELECT state.window_start, state.used
                FROM limit_state AS state
                JOIN usage_limit AS quota ON quota.tenant_id = state.tenant_id AND quota.limit_id = state.limit_id
                JOIN tenant ON tenant.tenant_id = state.tenant_id
                WHERE tenant.key = \(tenant) AND quota.window_kind = 'day' AND state.used <> 0
                """
            ) { row throws(PostgresError) in
                (try row.next(Instant.self).description, try row.next(FixedDecimal.self).description)
            }
            return Dictionary(rows) { first, _ in first }
        }
    }

    @Test func storedAndAnsweredIsWhatTheModelSays() async throws {
        try await TestServer.run { first in
            try await TestServer.run(on: first.database, clock: first.clock) { second in
                try await Self.arrange(first)
                let told = Told()
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for sender in 0..<8 {
                        group.addTask { try await Self.run(sender, on: sender % 2 == 0 ? first : second, told) }
                    }
                    group.addTask {
                        try await second.subscribe("beta", at: "2026-11-10T00:00:00Z")
                        try await first.ask("POST", "/unmatched-events/replay")
                        try await first.ask("PATCH", "/tenants/acme", #"{"subjects":["late"]}"#)
                        try await second.ask("POST", "/unmatched-events/replay")
                    }
                    try await group.waitForAll()
                }
                try await first.ask("POST", "/unmatched-events/replay")
                try await Self.compare(told.state.withLock { $0 }, first, second)
            }
        }
    }

    private static func compare(_ told: Told.State, _ first: TestServer, _ second: TestServer) async throws {
        #expect(told.failures == [])
        let late = try await first.column(
            "SELECT event_id FROM usage_event WHERE subject = 'late' AND reversal_of IS NULL"
        )
        #expect(late.count > 5)
        #expect(Set(late).count == late.count)
        let direct = told.accepted.filter { $0.value.first?.subject != "late" }
        #expect(direct.allSatisfy { $0.value.count == 1 }, "each event was accepted from exactly one sender")
        #expect(told.voided.count > 20)
        #expect(told.voided.allSatisfy { $0.value == 1 }, "each void took effect for exactly one sender")

        let counted = direct.values.compactMap(\.first).filter { told.voided[$0.id] == nil }
        let replayed = late.compactMap { $0.flatMap { Int($0.dropFirst()) } }.map { event($0, variant: 0) }
        let acme = UsageModel(
            periodStarts: ["2026-10-05T06:00:00Z", "2026-11-05T07:00:00Z"].map(UsageModel.seconds),
            events: counted.filter { $0.subject == "acme" } + replayed
        )
        let beta = UsageModel(
            periodStarts: [UsageModel.seconds("2026-11-10T00:00:00Z")],
            events: counted.filter { $0.subject == "beta" }
        )
        #expect(acme.events.count > 60)
        #expect(try await counters(of: "acme", second) == acme.counters())
        #expect(try await counters(of: "beta", first) == beta.counters())
        #expect(try await counters(of: "gamma", first) == [])
        let winter = UsageModel.seconds("2026-10-25T01:00:00Z")
        let berlin = acme.days { $0 < winter ? 2 : 1 }.filter { $0.value != "0" }
        #expect(try await days(of: "acme", first) == berlin)
        let today = berlin["2026-11-22T23:00:00.000000Z"] ?? "0"
        #expect(try await second.used("seconds", window: "day") == today)
        for (tenant, model, period) in [("acme", acme, 1), ("beta", beta, 0)] {
            let total = model.counters().first { $0.feature == "seconds" && $0.period == period }?.quantity ?? "0"
            #expect(try await first.used("seconds", window: "billing_period", tenant: tenant) == total)
            let line = "seconds \(total) = \(model.charge(period: period))"
            #expect(try await second.invoiced(tenant) == [line])
        }
        #expect(try await first.differences() == [])
    }
}
