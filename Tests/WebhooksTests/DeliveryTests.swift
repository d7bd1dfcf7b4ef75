import BillingCore
import Foundation
import Postgres
import Synchronization
import TestSupport
import Testing
import TurnpikeServer
import Web

@testable import Webhooks

/// The way of an event to its endpoints, over HTTP.
@Suite(.timeLimit(.minutes(15)))
struct DeliveryTests {
    private static let path = "/api/v1/deliveries"

    @Test("an event arrives as it was written, and only where it is wanted")
    func eventsArrive() async throws {
        let (all, some) = (try WebhookReceiver(), try WebhookReceiver())
        defer { [all, some].forEach { $0.stop() } }
        try await HookStory.run { server in
            try await server.makeEndpoint("all", all.url)
            try await server.makeEndpoint("some", some.url, events: "invoice.paid")
            let ids = try await server.tell([.invoiceFinalized, .invoicePaid])
            #expect(try await server.deliveries(reach: ["succeeded", "succeeded", "succeeded"]))
            #expect(Set(all.received.map(\.id)) == Set(ids))
            #expect(some.received.map(\.id) == [ids[1]])
            let one = try #require(some.received.first)
            #expect(
                one.body == #"{"type":"invoice.paid","timestamp":"2026-11-23T08:00:00.000000Z","#
                    + #""data":{"tenant":"acme","number":"INV-1"}}"#
            )
            #expect(one.headers["webhook-timestamp"] == "1795420800")
            #expect(one.headers["content-type"] == "application/json")
            let unknown = try await server.operatorClient.get("\(Self.path)?endpoint=none")
            #expect(unknown.status == 404 && unknown.code == "webhook_endpoint_not_found")
            let delivery = try #require(try await server.deliveries("?endpoint=some").first)
            #expect(delivery["event_id"]?.string == ids[1] && delivery["attempt_count"]?.number == "1")
            let detail = try await server.operatorClient.get("\(Self.path)/\(delivery["id"]?.string ?? "")").json
            #expect(detail["event"]?["data"]?["number"]?.string == "INV-1")
            #expect(detail["attempts"]?[0]?["status_code"]?.number == "200")
            #expect(detail["attempts"]?[0]?["response_excerpt"]?.string == "thanks")
            #expect(detail["attempts"]?[0]?["outcome"]?.string == "succeeded")
        }
    }

    @Test("a failed delivery comes back with the same id, later and later, until it is given up")
    func failuresAreTriedAgain() async throws {
        let receiver = try WebhookReceiver { _ in .init(500, body: String(repeating: "é", count: 3_000)) }
        defer { receiver.stop() }
        try await HookStory.run { server in
            try await server.makeEndpoint("ops", receiver.url)
            let ids = try await server.tell([.invoicePaid])
            for (index, delay) in RetrySchedule.delaysSeconds.enumerated() {
                #expect(try await eventually(within: .seconds(30)) { receiver.received.count == index + 1 })
                #expect(try await eventually { try await Self.attempts(server) == "\(index + 1)" })
                let next = try await server.deliveries().first?["next_attempt_at"]?.string ?? ""
                let wait = try Instant(parsing: next).microseconds - server.clock.now.microseconds
                #expect((800_000 * delay...1_200_000 * delay).contains(wait), "after failure \(index + 1)")
                server.clock.set(try Instant(parsing: next))
            }
            #expect(try await server.deliveries(reach: ["failed"]))
            #expect(receiver.received.count == RetrySchedule.delaysSeconds.count + 1)
            #expect(Set(receiver.received.map(\.id)) == Set(ids))
            #expect(Set(receiver.received.compactMap { $0.headers["webhook-timestamp"] }).count > 10)
            let delivery = try #require(try await server.deliveries().first)
            #expect(delivery["finished_at"]?.string != nil && delivery["next_attempt_at"] == .null)
            let detail = try await server.operatorClient.get("\(Self.path)/\(delivery["id"]?.string ?? "")").json
            #expect(detail["attempts"]?.elements?.count == 13)
            #expect(detail["attempts"]?[12]?["response_excerpt"]?.string == String(repeating: "é", count: 512))
            let endpoint = try await server.operatorClient.get("/api/v1/webhook-endpoints/ops").json
            #expect(endpoint["enabled"]?.bool == true, "one event alone disables nothing")
            #expect(endpoint["failing_since"]?.string == "2026-11-23T08:00:00.000000Z")
        }
    }

    private static func attempts(_ server: TestServer) async throws -> String? {
        guard let delivery = try await server.deliveries().first else { return nil }
        // While an attempt is under way, the time of the next one is still the time of this one.
        let next = try Instant(parsing: delivery["next_attempt_at"]?.string ?? "")
        return next > server.clock.now ? delivery["attempt_count"]?.number : nil
    }

    @Test("a receiver that fails at random gets every event, each under its one id")
    func everyEventArrivesAtLeastOnce() async throws {
        // How often each is still to fail: fewer times than there are attempts, whatever order they come in.
        let failures = Mutex((random: SeededGenerator(seed: 20_261_126), left: [String: Int]()))
        let receiver = try WebhookReceiver { request in
            failures.withLock { failures in
                let left = failures.left[request.id] ?? Int.random(in: 0...6, using: &failures.random)
                failures.left[request.id] = left - 1
                guard left > 0 else { return .init() }
                return .init(left.isMultiple(of: 2) ? 503 : 301, headers: "Location: /elsewhere\r\n")
            }
        }
        defer { receiver.stop() }
        try await HookStory.run { server in
            try await server.makeEndpoint("ops", receiver.url)
            let ids = try await server.tell(Array(repeating: .limitReached, count: 40))
            let arrived = try await eventually(within: .seconds(120)) {
                try await server.skipToNextAttempts()
                return try await server.deliveries("?limit=100&status=succeeded").count == 40
            }
            #expect(arrived)
            #expect(Set(receiver.received.map(\.id)) == Set(ids))
            #expect(receiver.received.count > 40)
            let bodies = Dictionary(grouping: receiver.received, by: \.id).mapValues { Set($0.map(\.body)).count }
            #expect(bodies.values.allSatisfy { $0 == 1 }, "an attempt says what the one before said")
        }
    }

    @Test("410 disables the endpoint at once, ends what is on its way and is told to the others")
    func goneDisables() async throws {
        let (gone, other) = (try WebhookReceiver { _ in .init(410) }, try WebhookReceiver())
        defer { [gone, other].forEach { $0.stop() } }
        try await HookStory.run { server in
            try await server.makeEndpoint("gone", gone.url, events: "limit.reached", #", "tenant": "acme""#)
            try await server.makeEndpoint("other", other.url, events: "webhook_endpoint.disabled")
            try await server.tell([.limitReached])
            #expect(try await eventually(within: .seconds(30)) { other.received.count == 1 })
            #expect(gone.received.count == 1)
            let told = try JSONValue(parsing: other.received[0].body)
            #expect(told["type"]?.string == "webhook_endpoint.disabled")
            let detail = told["data"]?["detail"]
            #expect(detail?["endpoint"]?.string == "gone" && detail?["reason"]?.string == "gone")
            #expect(told["data"]?["tenant"]?.string == "acme")
            let alerts = try await server.operatorClient.get("/api/v1/alerts?tenant=acme").json["data"]
            #expect(alerts?.elements?.map { $0["kind"]?.string } == ["webhook_endpoint_disabled"])
            let endpoint = try await server.operatorClient.get("/api/v1/webhook-endpoints/gone?tenant=acme").json
            #expect(endpoint["enabled"]?.bool == false && endpoint["disabled_reason"]?.string == "gone")
            let log = try await server.operatorClient.get("/api/v1/audit-log?action=webhook_endpoint.disabled").json
            #expect(log["data"]?[0]?["credential_id"]?.string == "worker:webhook_deliveries")
            try await server.tell([.limitReached])
            #expect(try await server.deliveries(reach: ["failed", "succeeded"]), "nothing more is made for it")
            let id = try #require(try await server.deliveries("?endpoint=gone&tenant=acme").first?["id"]?.string)
            let refused = try await server.operatorClient.post("\(Self.path)/\(id)/retry")
            #expect(refused.code == "webhook_endpoint_disabled")
            let enabled = try await server.operatorClient.patch(
                "/api/v1/webhook-endpoints/gone?tenant=acme",
                #"{"enabled": true}"#
            ).json
            #expect(enabled["disabled_reason"] == .null && enabled["failing_since"] == .null)
        }
    }

    @Test("an endpoint that is enabled and gone over and over is told of once an hour")
    func toldOnceAnHour() async throws {
        let gone = try WebhookReceiver { _ in .init(410) }
        defer { gone.stop() }
        try await HookStory.run { server in
            try await server.makeEndpoint("gone", gone.url, events: "limit.reached", #", "tenant": "acme""#)
            let path = "/api/v1/webhook-endpoints/gone"
            func isGone(_ attempt: Int) async throws {
                try await server.operatorClient.patch("\(path)?tenant=acme", #"{"enabled": true}"#).expecting(200)
                try await server.operatorClient.post("\(path)/test?tenant=acme", "{}").expecting(202)
                let isDisabled = try await eventually {
                    let endpoint = try await server.operatorClient.get("\(path)?tenant=acme").json
                    return endpoint["enabled"] == .bool(false) && gone.received.count == attempt
                }
                #expect(isDisabled)
            }
            func alerts() async throws -> Int? {
                try await server.operatorClient.get("/api/v1/alerts?tenant=acme").json["data"]?.elements?.count
            }
            for attempt in 1...3 {
                try await isGone(attempt)
                server.clock.advance(seconds: 60)
            }
            #expect(try await alerts() == 1)
            server.clock.advance(seconds: 3_600)
            try await isGone(4)
            #expect(try await alerts() == 2)
        }
    }

    @Test("an endpoint that nothing has reached for five days is disabled, and what waits for it canceled")
    func failingForDaysDisables() async throws {
        let receiver = try WebhookReceiver { _ in .init(500) }
        defer { receiver.stop() }
        try await HookStory.run { server in
            try await server.makeEndpoint("ops", receiver.url, events: "limit.reached")
            try await server.tell([.limitReached])
            #expect(
                try await eventually(within: .seconds(60)) {
                    try await server.skipToNextAttempts()
                    return try await server.deliveries().first?["status"]?.string == "failed"
                }
            )
            try await server.tell([.limitReached])
            server.clock.advance(seconds: EndpointDisabling.failingSeconds)
            #expect(
                try await eventually(within: .seconds(60)) {
                    try await server.skipToNextAttempts()
                    return try await server.deliveries("?status=failed").count == 2
                }
            )
            let endpoint = try await server.operatorClient.get("/api/v1/webhook-endpoints/ops").json
            #expect(endpoint["enabled"]?.bool == false && endpoint["disabled_reason"]?.string == "failing")
            let events = try await server.column(
                "SELECT event_type FROM webhook_event ORDER BY event_id DESC LIMIT 1"
            )
            #expect(events == ["webhook_endpoint.disabled"])
        }
    }

    @Test(
        "of endpoints that are disabled in an hour the first few are told of by key, and then once that there are more"
    )
    func newKeysAreToldOfTogether() async throws {
        let gone = try WebhookReceiver { _ in .init(410) }
        defer { gone.stop() }
        try await HookStory.run { server in
            for number in 1...8 {
                let more = #", "tenant": "acme""#
                try await server.makeEndpoint("gone-\(number)", gone.url, events: "limit.reached", more)
                let path = "/api/v1/webhook-endpoints/gone-\(number)?tenant=acme"
                try await server.operatorClient.post("/api/v1/webhook-endpoints/gone-\(number)/test?tenant=acme")
                    .expecting(202)
                let isDisabled = try await eventually(within: .seconds(30)) {
                    try await server.operatorClient.get(path).json["enabled"]?.bool == false
                }
                #expect(isDisabled)
                try await server.operatorClient.delete(path).expecting(204)
            }
            let told: SQL = """
                SELECT (detail ->> 'endpoint') || coalesce(' and ' || (detail ->> 'more'), '') FROM alert
                WHERE kind = 'webhook_endpoint_disabled' ORDER BY 1
                """
            let expected = (1...5).map { "gone-\($0)" } + ["gone-6 and true"]
            #expect(try await server.column(told) == expected)
        }
    }

    @Test("disabling an endpoint cancels what waits for it")
    func disablingCancels() async throws {
        let receiver = try WebhookReceiver { _ in .init(500) }
        defer { receiver.stop() }
        try await HookStory.run { server in
            try await server.makeEndpoint("ops", receiver.url)
            try await server.tell([.limitReached])
            #expect(try await eventually { try await Self.attempts(server) == "1" })
            try await server.operatorClient.patch("/api/v1/webhook-endpoints/ops", #"{"enabled": false}"#).expecting(
                200
            )
            #expect(try await server.deliveries(reach: ["canceled"]))
        }
    }

    @Test("a redelivery keeps the id of what it delivers, and can be asked for whatever became of it")
    func redeliveryKeepsTheID() async throws {
        let receiver = try WebhookReceiver()
        defer { receiver.stop() }
        try await HookStory.run { server in
            try await server.makeEndpoint("ops", receiver.url)
            let ids = try await server.tell([.limitReached])
            #expect(try await server.deliveries(reach: ["succeeded"]))
            let id = try #require(try await server.deliveries().first?["id"]?.string)
            let answer = try await server.operatorClient.post("\(Self.path)/\(id)/retry").expecting(202)
            #expect(answer.json["status"]?.string == "pending")
            #expect(try await server.deliveries(reach: ["succeeded"]) && receiver.received.count == 2)
            #expect(receiver.received.map(\.id) == [ids[0], ids[0]])
            let log = try await server.operatorClient.get("/api/v1/audit-log?resource=delivery:\(id)").json
            #expect(log["data"]?[0]?["action"]?.string == "delivery.retried")
        }
    }

    @Test("a redirect is an answer like any other and is not followed")
    func redirectsAreNotFollowed() async throws {
        let inside = try WebhookReceiver()
        let receiver = try WebhookReceiver { _ in .init(307, headers: "Location: \(inside.url)\r\n") }
        defer { [inside, receiver].forEach { $0.stop() } }
        try await HookStory.run { server in
            try await server.makeEndpoint("ops", receiver.url)
            try await server.tell([.limitReached])
            #expect(try await eventually { try await Self.attempts(server) == "1" })
            #expect(receiver.received.count == 1 && inside.received.isEmpty)
        }
    }

    @Test("an address inside is not called, whatever name leads there, unless the operator allows it")
    func insideIsNotCalled() async throws {
        let receiver = try WebhookReceiver()
        defer { receiver.stop() }
        try await HookStory.run(configure: { $0.outboundAllowed = [] }) { server in
            for url in ["http://127.0.0.1:\(receiver.port)/", "https://[::1]/", "http://localhost/"] {
                let body = #"{"key": "a", "url": "\#(url)", "events": ["*"]}"#
                let refused = try await server.operatorClient.post("/api/v1/webhook-endpoints", body)
                #expect(refused.status == 400 && refused.pointers == ["/url"], "\(url)")
                #expect(refused.text.contains("must be https at a public address"), "\(refused.text)")
            }
            let number = #"{"key": "a", "url": "https://2130706433/", "events": ["*"]}"#
            let refused = try await server.operatorClient.post("/api/v1/webhook-endpoints", number)
            #expect(refused.status == 400 && refused.text.contains("written in full"))
            // A name is looked up at each attempt, and so is a number that was taken before.
            let name = "https://localhost:\(receiver.port)/"
            for key in ["ops-0", "ops-1"] { try await server.makeEndpoint(key, name) }
            try await server.database.run(
                "UPDATE webhook_endpoint SET url = 'https://2130706433/' WHERE endpoint_key = 'ops-1'"
            )
            try await server.makeEndpoint("chat", name, #", "kind": "slack""#)
            try await server.tell([.limitReached])
            #expect(
                try await eventually(within: .seconds(30)) {
                    try await server.column("SELECT error FROM webhook_attempt ORDER BY error LIMIT 9").count == 3
                }
            )
            let errors = try await server.column("SELECT error FROM webhook_attempt ORDER BY error LIMIT 9")
            #expect(errors.allSatisfy { $0?.contains("is not public and not in TURNPIKE_OUTBOUND_ALLOW") == true })
            #expect(receiver.received.isEmpty)
        }
    }

    @Test("what the operator may call inside, tenants may not, and they are not told what is there")
    func tenantsDoNotCallInside() async throws {
        let receiver = try WebhookReceiver()
        defer { receiver.stop() }
        try await HookStory.run(configure: { $0.webhookAllowed = [] }) { server in
            try await server.makeEndpoint("ops", receiver.url)
            for url in [receiver.url, "http://nowhere.invalid/"] {
                let body = #"{"key": "a", "url": "\#(url)", "events": ["*"], "tenant": "acme"}"#
                #expect(try await server.operatorClient.post("/api/v1/webhook-endpoints", body).pointers == ["/url"])
            }
            let urls = ["https://localhost:\(receiver.port)/", "https://nowhere.invalid/"]
            for (index, url) in urls.enumerated() {
                try await server.makeEndpoint("own-\(index)", url, #", "tenant": "acme""#)
            }
            try await server.tell([.limitReached])
            let statement: SQL = "SELECT error FROM webhook_attempt WHERE tenant_id = 1 ORDER BY error LIMIT 9"
            #expect(try await eventually(within: .seconds(60)) { try await server.column(statement).count == 2 })
            let errors = try await server.column(statement)
            #expect(Set(errors) == ["the URL must be https at a public address"])
            let isTold = try await eventually {
                try await server.deliveries("?status=succeeded").map { $0["endpoint"]?.string } == ["ops"]
            }
            #expect(isTold)
            #expect(receiver.received.count == 1)
        }
    }
}
