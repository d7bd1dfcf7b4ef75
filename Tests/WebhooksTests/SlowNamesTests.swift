import Foundation
import Glibc
import Postgres
import Identity
import TestSupport
import Testing
import Web

@testable import Webhooks

/// Names that are not looked up in time are the trouble of those who chose them.
@Suite(.timeLimit(.minutes(15)))
struct SlowNamesTests {
    @Test("lookups that hang, of one tenant's names, do not hold up another tenant's deliveries")
    func hangingLookups() async throws {
        let receiver = try WebhookReceiver()
        defer { receiver.stop() }
        try await withTemporaryDirectory { directory in
            // The C library reads a file of aliases when it looks up a name without dots, and a pipe that nobody
            // writes to lets it wait for ever.
            let aliases = directory.appendingPathComponent("aliases").path
            #expect(mkfifo(aliases, 0o600) == 0)
            let settings = ["HOSTALIASES": aliases, "TURNPIKE_WEBHOOK_ALLOW": "127.0.0.1"]
            try await TurnpikeProcess.run(settings: settings) { turnpike in
                let client = turnpike.operatorClient
                for tenant in ["slow", "quick"] {
                    try await client.post(
                        "/api/v1/tenants",
                        #"{"key": "\#(tenant)", "name": "\#(tenant)", "currency": "USD"}"#
                    ).expecting(201)
                }
                // Eight attempts at a time, more than most machines have processors.
                for key in ["a", "b"] { try await Self.makeEndpoint(key, "https://hanging/", of: "slow", client) }
                for index in 0..<12 { try await Self.test(index % 2 == 0 ? "a" : "b", of: "slow", client) }
                let isHanging = try await eventually(within: .seconds(30)) {
                    try await Self.attempted("slow", client).count >= 8
                }
                #expect(isHanging)
                try await Self.makeEndpoint("a", receiver.url, of: "quick", client)
                for _ in 0..<20 { try await Self.test("a", of: "quick", client) }
                #expect(try await eventually(within: .seconds(30)) { receiver.received.count == 20 })
                let isTold = try await eventually {
                    try await Self.attempted("quick", client) == Array(repeating: "succeeded 1", count: 20)
                }
                #expect(isTold, "each in its first attempt")
                #expect(try await Self.attempted("slow", client).allSatisfy { $0.hasPrefix("pending") })
            }
        }
    }

    private static func makeEndpoint(
        _ key: String,
        _ url: String,
        of tenant: String,
        _ client: TestClient
    ) async throws {
        try await client.post(
            "/api/v1/webhook-endpoints",
            #"{"key": "\#(key)", "tenant": "\#(tenant)", "url": "\#(url)", "events": ["*"]}"#
        ).expecting(201)
    }

    private static func test(_ key: String, of tenant: String, _ client: TestClient) async throws {
        try await client.post("/api/v1/webhook-endpoints/\(key)/test?tenant=\(tenant)").expecting(202)
    }

    /// The state and number of attempts of a tenant's deliveries that were begun.
    private static func attempted(_ tenant: String, _ client: TestClient) async throws -> [String] {
        let answer = try await client.get("/api/v1/deliveries?tenant=\(tenant)&limit=100").expecting(200)
        return (answer.json["data"]?.elements ?? []).compactMap { delivery in
            guard let status = delivery["status"]?.string, let count = delivery["attempt_count"]?.number else {
                return nil
            }
            return count == "0" ? nil : "\(status) \(count)"
        }
    }

    @Test(
        "an attempt whose name was not looked up, or has no answer of the resolver, is no failure of the endpoint",
        arguments: [true, false]
    )
    func notLookedUp(isCrowded: Bool) async throws {
        try await DeliveryStory.run(urls: ["https://example.com/"], owners: [1], events: 0) { queue in
            let worker = queue.worker(lookups: isCrowded ? 0 : nil) { host throws(OutboundFault) in
                throw .resolverFailed(host)
            }
            try await queue.add(1, of: 1)
            try await worker.fanOut()
            let claim = try #require(try await worker.claim(limit: 1).first)
            await worker.attempt(claim)
            #expect(try await queue.states() == ["pending 1"])
            #expect(try await queue.endpoints() == ["on"])
            let errors = try await queue.pool.query(.worker, "SELECT error FROM webhook_attempt LIMIT 9") {
                row throws(PostgresError) in
                try row.next(String.self)
            }
            let reason = isCrowded ? "too many lookups are under way" : "the system's resolver has no answer"
            #expect(errors == ["'example.com' was not looked up: \(reason)"])
            #expect(queue.log.lines.contains { $0.contains("could not be tried") && $0.contains(reason) })
            #expect(try await worker.claim(limit: 1).isEmpty)
            queue.clock.advance(seconds: 60)
            let again = try #require(try await worker.claim(limit: 1).first)
            #expect((again.attempt, again.failures) == (2, 0))
        }
    }

    @Test("a name of which the resolver has no answer for about a day fails like one that has no address")
    func brokenName() async throws {
        try await DeliveryStory.run(urls: ["https://example.com/"], owners: [1], events: 0) { queue in
            let worker = queue.worker { host throws(OutboundFault) in throw .resolverFailed(host) }
            try await queue.add(1, of: 1)
            try await worker.fanOut()
            for (attempts, failures) in [(RetrySchedule.resolverAttempts - 1, 0), (RetrySchedule.resolverAttempts, 1)] {
                try await queue.database.run(
                    "UPDATE webhook_delivery SET attempt_count = \(attempts), next_attempt_at = created_at"
                )
                await worker.attempt(try #require(try await worker.claim(limit: 1).first))
                let counted = try await queue.pool.query(.worker, "SELECT failure_count FROM webhook_delivery") {
                    row throws(PostgresError) in try row.next(Int32.self)
                }
                #expect(counted == [Int32(failures)])
            }
            #expect(try await queue.endpoints() == ["on failing"])
        }
    }

    @Test("attempts that were put off are counted as such")
    func counted() async throws {
        let name = #"turnpike_webhook_attempts_total{kind="email",outcome="put_off"}"#
        try await TestServer.run { server in
            let before = try await server.counterValue(name)
            let result = AttemptResult(error: "no program", isLocal: true)
            DeliveryMetrics().attempted(.email, result, isPutOff: true, .zero)
            #expect(try await server.counterValue(name) > before)
        }
    }
}
