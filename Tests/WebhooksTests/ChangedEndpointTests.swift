import BillingCore
import Postgres
import TestSupport
import Testing
import Web

@testable import Webhooks

/// An endpoint is judged by attempts at what it is, and not by those at what it was.
@Suite(.timeLimit(.minutes(15)))
struct ChangedEndpointTests {
    private static let path = "/api/v1/webhook-endpoints/ops"

    @Test("a 410 of the URL before does not disable the endpoint with another one, which gets the event")
    func anotherURL() async throws {
        let gate = AnswerGate()
        let old = try WebhookReceiver { _ in
            gate.pass()
            return .init(410)
        }
        let new = try WebhookReceiver()
        defer { [old, new].forEach { $0.stop() } }
        try await HookStory.run { server in
            try await server.makeEndpoint("ops", old.url)
            try await server.tell([.limitReached])
            #expect(try await eventually(within: .seconds(30)) { old.received.count == 1 })
            try await server.operatorClient.patch(Self.path, #"{"url": "\#(new.url)"}"#).expecting(200)
            gate.open()
            #expect(try await server.deliveries(reach: ["succeeded"]))
            #expect(new.received.map(\.id) == old.received.map(\.id))
            let endpoint = try await server.operatorClient.get(Self.path).expecting(200).json
            #expect(endpoint["enabled"]?.bool == true && endpoint["failing_since"] == .null)
            let attempts = try await server.column("SELECT status_code::text FROM webhook_attempt ORDER BY attempt")
            #expect(attempts == ["410", "200"], "both are shown")
        }
    }

    @Test("late answers of the URL before neither begin nor end the time for which an endpoint has failed")
    func lateAnswers() async throws {
        for status in [200, 500] {
            let gate = AnswerGate()
            let old = try WebhookReceiver { _ in
                gate.pass()
                return .init(status)
            }
            defer { old.stop() }
            try await DeliveryStory.run(urls: [old.url], events: 1) { queue in
                let worker = queue.worker()
                let claim = try #require(try await worker.claim(limit: 1).first)
                async let attempt: Void = worker.attempt(claim)
                #expect(try await eventually(within: .seconds(30)) { old.received.count == 1 })
                // One that has failed before, where the answer is a success.
                try await queue.database.run(
                    """
                    UPDATE webhook_endpoint SET url = 'https://example.com/',
                        failing_since = CASE WHEN \(status) = 200 THEN now() END
                    """
                )
                gate.open()
                await attempt
                #expect(try await queue.endpoints() == [status == 200 ? "on failing" : "on"])
                #expect(try await queue.states() == [status == 200 ? "succeeded 1" : "pending 1"])
                let isDue = try await worker.claim(limit: 1).first?.failures == 0
                #expect(isDue == (status == 500), "the other URL is tried at once, as for the first time")
            }
        }
    }

    @Test("an endpoint that is disabled because it is gone keeps the events of a later release")
    func eventsOfLaterReleases() async throws {
        let gone = try WebhookReceiver { _ in .init(410) }
        defer { gone.stop() }
        try await DeliveryStory.run(urls: [gone.url], events: 1) { queue in
            try await queue.database.run("UPDATE webhook_endpoint SET events = '{limit.reached,of.later}'")
            let worker = queue.worker()
            await worker.attempt(try #require(try await worker.claim(limit: 1).first))
            #expect(try await queue.endpoints() == ["gone"])
            let events = try await queue.pool.query(.worker, "SELECT events::text FROM webhook_endpoint") {
                row throws(PostgresError) in try row.next(String.self)
            }
            #expect(events == ["{limit.reached,of.later}"])
        }
    }

    @Test("a 410 of an endpoint that was deleted does not disable the one that was made under its key")
    func madeAnew() async throws {
        let gate = AnswerGate()
        let gone = try WebhookReceiver { _ in
            gate.pass()
            return .init(410)
        }
        defer { gone.stop() }
        try await DeliveryStory.run(urls: [gone.url], events: 1) { queue in
            let worker = queue.worker()
            let claim = try #require(try await worker.claim(limit: 1).first)
            async let attempt: Void = worker.attempt(claim)
            #expect(try await eventually(within: .seconds(30)) { gone.received.count == 1 })
            try await queue.pool.transaction(.worker) { WebhookEndpointStore.delete(claim.endpoint, in: $0) }
            // Even at the same URL and in the same moment.
            try await queue.addEndpoint(claim.endpoint.key, gone.url, of: 0)
            gate.open()
            await attempt
            #expect(try await queue.endpoints() == ["on"])
            #expect(try await queue.states().isEmpty)
        }
    }

    @Test("a 410 of an attempt that was under way when a retry was asked for ends neither the retry nor the endpoint")
    func retried() async throws {
        let gate = AnswerGate()
        let receiver = try WebhookReceiver { _ in
            gate.pass()
            return .init(410)
        }
        defer { receiver.stop() }
        try await DeliveryStory.run(urls: [receiver.url], events: 1) { queue in
            let worker = queue.worker()
            let old = try #require(try await worker.claim(limit: 1).first)
            async let attempt: Void = worker.attempt(old)
            #expect(try await eventually(within: .seconds(30)) { receiver.received.count == 1 })
            let now = queue.clock.now
            _ = try await queue.pool.transaction(.worker) { transaction in
                try DeliveryLog.retry(old.id, of: old.endpoint.tenant, at: now, in: transaction)?.id
            }
            gate.open()
            await attempt
            #expect(try await queue.endpoints() == ["on"])
            #expect(try await queue.states() == ["pending 1"])
            let new = try #require(try await worker.claim(limit: 1).first, "it is due at once")
            await worker.attempt(new)
            #expect(try await queue.endpoints() == ["gone"], "what it says to the retry counts")
            #expect(try await queue.states() == ["failed 2"])
        }
    }

    @Test("an endpoint that was failing has a new start with another URL, and not with another description")
    func newStart() async throws {
        let receiver = try WebhookReceiver { _ in .init(500) }
        defer { receiver.stop() }
        try await HookStory.run { server in
            let client = server.operatorClient
            try await server.makeEndpoint("ops", receiver.url)
            try await server.tell([.limitReached])
            let isFailing = try await eventually(within: .seconds(30)) {
                try await client.get(Self.path).json["failing_since"]?.string != nil
            }
            #expect(isFailing)
            let described = try await client.patch(Self.path, #"{"description": "x"}"#).expecting(200).json
            #expect(described["failing_since"]?.string != nil)
            let moved = try await client.patch(Self.path, #"{"url": "https://example.com/"}"#).expecting(200).json
            #expect(moved["failing_since"] == .null)
        }
    }
}
