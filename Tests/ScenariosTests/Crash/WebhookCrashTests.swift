import Synchronization
import TestSupport
import Testing
import Web

/// What was committed is told, whatever dies: the service and PostgreSQL are killed while a receiver that fails at
/// random is told of changes.
@Suite(.serialized, .timeLimit(.minutes(15)))
struct WebhookCrashTests {
    private static let changes = 60
    /// How often an event is refused at most, so that the test ends: the third attempt is 35 seconds after the first.
    private static let refusals = 2

    @Test("every acknowledged change is told at least once, signed, under one id")
    func everythingIsTold() async throws {
        let refused = Mutex<(random: SeededGenerator, counts: [String: Int])>((SeededGenerator(seed: 1_126), [:]))
        let accepted = Mutex<[WebhookReceiver.Delivery]>([])
        let receiver = try WebhookReceiver { delivery in
            let isRefused = refused.withLock { state in
                let wants = Int.random(in: 0..<10, using: &state.random) < 4
                guard wants, state.counts[delivery.id, default: 0] < Self.refusals else { return false }
                state.counts[delivery.id, default: 0] += 1
                return true
            }
            if isRefused { return .init(503, delaySeconds: 0.05) }
            accepted.withLock { $0.append(delivery) }
            return .init(200, delaySeconds: 0.05)
        }
        defer { receiver.stop() }
        let settings = ["TURNPIKE_MASTER_KEY": TestServer.masterKey, "TURNPIKE_OUTBOUND_ALLOW": "127.0.0.1"]
        try await ServedTurnpike.run(settings: { _ in settings }) { turnpike in
            let secret = try await Self.prepare(turnpike, receiver)
            let acknowledged = try await Self.changeUnderFire(turnpike)
            #expect(acknowledged.count > Self.changes / 2)
            let isTold = try await eventually(within: .seconds(240)) {
                acknowledged.isSubset(of: accepted.withLock { Set($0.map(Self.tenant)) })
            }
            let deliveries = accepted.withLock { $0 }
            #expect(isTold, "not told: \(acknowledged.subtracting(deliveries.map(Self.tenant)).sorted())")
            let ids = Dictionary(grouping: receiver.received, by: Self.tenant).mapValues { Set($0.map(\.id)).count }
            #expect(ids.values.allSatisfy { $0 == 1 }, "one id for each change")
            try await WebhookVerification.verify(deliveries, secret)
            let attempts = receiver.received.count
            print("webhooks: \(acknowledged.count) changes told in \(attempts) attempts, \(deliveries.count) accepted")
        }
    }

    /// Tenants, a plan for them, and the endpoint. Gives its secret.
    private static func prepare(_ turnpike: ServedTurnpike, _ receiver: WebhookReceiver) async throws -> String {
        let client = turnpike.client
        try await client.post("/api/v1/plans", #"{"key": "p", "name": "P", "currency": "USD"}"#).expecting(201)
        try await client.post("/api/v1/plans/p/versions", #"{"interval": "month"}"#).expecting(201)
        try await client.post("/api/v1/plans/p/versions/1/publish").expecting(200)
        for number in 0..<changes {
            let tenant = #"{"key": "t\#(number)", "name": "T", "currency": "USD"}"#
            try await client.post("/api/v1/tenants", tenant).expecting(201)
        }
        let endpoint = #"{"key": "ops", "url": "\#(receiver.url)", "events": ["subscription.created"]}"#
        let made = try await client.post("/api/v1/webhook-endpoints", endpoint).expecting(201)
        return try #require(made.json["secret"]?.string)
    }

    /// Subscribes tenant after tenant while both sides of the service are killed. Gives the tenants whose subscription
    /// was acknowledged.
    private static func changeUnderFire(_ turnpike: ServedTurnpike) async throws -> Set<String> {
        var acknowledged: Set<String> = []
        for number in 0..<changes {
            switch number {
            case 20, 50: try await turnpike.crashService()
            case 35:
                try await turnpike.killDatabase()
                try await turnpike.startDatabase()
            default: break
            }
            let body = #"{"tenant": "t\#(number)", "plan": "p"}"#
            let answer = try? await turnpike.client.post("/api/v1/subscriptions", body)
            if answer?.status == 201 { acknowledged.insert("t\(number)") }
        }
        return acknowledged
    }

    private static func tenant(_ delivery: WebhookReceiver.Delivery) -> String {
        (try? JSONValue(parsing: delivery.body))?["data"]?["tenant"]?.string ?? delivery.body
    }
}
