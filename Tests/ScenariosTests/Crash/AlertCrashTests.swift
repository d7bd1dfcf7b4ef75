import BillingCore
import TestSupport
import Testing
import Web

/// Told once, under fire: each threshold is told once, signed, whatever dies and however the receiver fails.
@Suite(.serialized, .timeLimit(.minutes(15)))
struct AlertCrashTests {
    private static let seed: UInt64 = 20_261_126

    /// What is killed with signal 9.
    private enum Victim {
        case service(Int), database
    }

    @Test("thresholds crossed on two replicas while those and PostgreSQL are killed: one alert each, told and verified")
    func thresholdsAreToldOnce() async throws {
        let failing = try FailingReceiver(seed: Self.seed)
        defer { failing.receiver.stop() }
        let settings = ["TURNPIKE_MASTER_KEY": TestServer.masterKey, "TURNPIKE_OUTBOUND_ALLOW": "127.0.0.1"]
        try await ServedTurnpike.run(replicas: 2, settings: { _ in settings }) { turnpike in
            let secret = try await Self.prepare(turnpike, failing.receiver)
            let senders = try await Self.underFire(turnpike)

            // Every event was acknowledged in the end, and counts once
            let acknowledged = senders.acknowledged
            let ingest = IngestAudit(databaseURL: turnpike.databaseURL, client: turnpike.client, clock: .system)
            #expect(try await ingest.findings(acknowledged) == [])
            let audit = AlertAudit(databaseURL: turnpike.databaseURL)
            let used = AlertAudit.used(by: acknowledged, time: senders.first.time)
            #expect(try await audit.used() == used)

            // Each threshold that was crossed has one row, and there is no other
            let alerts = try await audit.alerts()
            let due = AlertAudit.alerts(where: used)
            #expect(due.count > 80)
            #expect(due.subtracting(alerts.map(\.name)) == [], "not raised")
            #expect(Set(alerts.map(\.name)).subtracting(due) == [], "raised without need")
            #expect(alerts.count == due.count, "raised more than once")
            #expect(try await audit.noted() == AlertAudit.crossed(where: used))

            // Each is told under its own id, verified, and nothing else is
            let ids = Set(alerts.map(\.id))
            let isTold = try await eventually(within: .seconds(180)) {
                ids.isSubset(of: failing.taken.map(\.id))
            }
            #expect(isTold, "\(ids.subtracting(failing.taken.map(\.id)).count) of \(ids.count) alerts are not told")
            let isDone = try await eventually(within: .seconds(60)) {
                try await audit.deliveries() == ["succeeded": alerts.count]
            }
            #expect(isDone)
            let attempts = failing.receiver.received
            #expect(Set(attempts.map(\.id)).subtracting(ids) == [], "told without an alert")
            #expect(attempts.allSatisfy { Self.alert(in: $0) == $0.id })
            try await WebhookVerification.verify(attempts, secret)
            for failure in FailingReceiver.Failure.allCases { #expect(failing.failures[failure, default: 0] > 0) }
            print("alerts: \(alerts.count) told in \(attempts.count) attempts, \(failing.failures)")
        }
    }

    private static func prepare(_ turnpike: ServedTurnpike, _ receiver: WebhookReceiver) async throws -> String {
        try await CrashCatalogue.make(turnpike.client)
        try await AlertAudit.makeLimits(turnpike.client)
        let endpoint = #"{"key": "ops", "url": "\#(receiver.url)", "events": \#(AlertAudit.eventTypes)}"#
        let made = try await turnpike.client.post("/api/v1/webhook-endpoints", endpoint).expecting(201)
        return try #require(made.json["secret"]?.string)
    }

    /// The same usage, reported to both replicas.
    private struct Senders {
        let first: IngestSenders
        let second: IngestSenders

        var acknowledgements: Int {
            first.journal.entries.acknowledgements + second.journal.entries.acknowledgements
        }

        var acknowledged: Set<SentEvent> {
            first.journal.entries.acknowledged.union(second.journal.entries.acknowledged)
        }
    }

    /// Sends everything while replicas and PostgreSQL are killed at seeded points.
    private static func underFire(_ turnpike: ServedTurnpike) async throws -> Senders {
        // Two minutes that the clock has not reached: which windows the usage is in does not hang on how fast it is.
        let minute = Clock.system.now().microseconds / 60_000_000 * 60
        let times = [90, 150].map { Instant(seconds: minute + $0) }
        let replicas = (0..<2).map { replica in
            IngestSenders(senders: 4, times: times, seed: seed, client: turnpike.client(replica))
        }
        let senders = Senders(first: replicas[0], second: replicas[1])
        let total = 2 * senders.first.senders * senders.first.batches
        let victims: [Victim] = [.service(0), .database, .service(1), .database, .service(0)]
        var random = SeededGenerator(seed: seed)
        async let first: Void = senders.first.run()
        async let second: Void = senders.second.run()
        for (index, victim) in victims.enumerated() {
            let span = total / (victims.count + 1)
            let point = span * index + Int(random.next() % UInt64(span)) + 1
            let isReached = try await eventually(within: .seconds(60)) { senders.acknowledgements >= point }
            #expect(isReached, "stuck: \(senders.first.journal.summary), \(senders.second.journal.summary)")
            switch victim {
            case .service(let replica): try await turnpike.crashService(replica)
            case .database:
                try await turnpike.killDatabase()
                try await turnpike.startDatabase()
            }
        }
        _ = await (first, second)
        for journal in replicas.map(\.journal) {
            #expect(journal.entries.violations == [])
            print("alerts: \(journal.summary)")
        }
        #expect(senders.acknowledged.count == total / 2 * senders.first.events)
        return senders
    }

    private static func alert(in delivery: WebhookReceiver.Delivery) -> String? {
        (try? JSONValue(parsing: delivery.body))?["data"]?["id"]?.string
    }
}
