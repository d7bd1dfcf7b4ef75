import Postgres
import TestSupport
import Testing

@testable import Usage

/// What tenants that share a lane keep each other waiting for.
@Suite(.timeLimit(.minutes(5))) struct IngestTurnsTests {
    private static func use(
        configure: (inout IngestLimits) -> Void,
        _ body: (TestServer, IngestFixture) async throws -> Void
    ) async throws {
        try await TestServer.run { server in
            try await IngestTests.arrange(server)
            _ = try await server.subscribe("beta", at: "2026-11-01T00:00:00Z")
            try await IngestFixture.use(server, configure: configure) { try await body(server, $0) }
            #expect(try await server.differences() == [])
        }
    }

    private func events(_ ids: ClosedRange<Int>, of tenant: String) -> [SentEvent] {
        ids.map { SentEvent("\(tenant)-\($0)", subject: tenant) }
    }

    @Test("beside others one tenant's events fill a quarter of the queue, and alone a half of it")
    func share() async throws {
        try await Self.use(configure: { $0.queuedEvents = 40 }) { server, ingest in
            async let first = ingest.send(events(1...6, of: "acme"))
            #expect(try await ingest.waits(for: 1))
            async let second = ingest.send(events(7...10, of: "acme"))
            #expect(try await ingest.waits(for: 2))
            async let other = ingest.send(events(1...12, of: "beta"))
            #expect(try await ingest.waits(for: 3), "a tenant of which nothing waits may have more than its quarter")
            async let third = ingest.send(events(11...11, of: "acme"))
            async let another = ingest.send(events(13...13, of: "beta"))
            async let mixed = ingest.send(events(11...18, of: "acme") + events(13...15, of: "beta"))
            #expect(try await ingest.waits(for: 4))
            async let unmatched = ingest.send(events(1...6, of: "nobody"))
            #expect(try await ingest.waits(for: 5), "what is reported of several or of nobody known has no bound")
            #expect(await ingest.send(SentEvent("19"), SentEvent("16", subject: "beta")) == "overloaded")
            try await ingest.flush()
            #expect(await [third, another] == ["overloaded", "overloaded"])
            #expect(await [first, second, other] == ["accepted 6", "accepted 4", "accepted 12"])
            #expect(await [mixed, unmatched] == ["accepted 11", "unmatched 6"])
        }
    }

    @Test("a tenant that is alone fills half of the queue and leaves the rest to others")
    func alone() async throws {
        try await Self.use(configure: { $0.queuedEvents = 40 }) { server, ingest in
            async let first = ingest.send(events(1...12, of: "acme"))
            #expect(try await ingest.waits(for: 1))
            async let second = ingest.send(events(13...20, of: "acme"))
            #expect(try await ingest.waits(for: 2))
            async let third = ingest.send(events(21...21, of: "acme"))
            async let other = ingest.send(events(1...20, of: "beta"))
            #expect(try await ingest.waits(for: 3))
            #expect(await third == "overloaded")
            try await ingest.flush()
            #expect(await [first, second, other] == ["accepted 12", "accepted 8", "accepted 20"])
        }
    }

    @Test("a tenant's events are in the next flush, however many of another wait, and those stay in their order")
    func turns() async throws {
        try await Self.use(configure: { $0.flushEvents = 4 }) { server, ingest in
            async let first = ingest.send(events(1...4, of: "acme"))
            #expect(try await ingest.waits(for: 1))
            async let second = ingest.send(events(5...8, of: "acme"))
            #expect(try await ingest.waits(for: 2))
            async let third = ingest.send(events(9...12, of: "acme"))
            #expect(try await ingest.waits(for: 3))
            async let other = ingest.send(events(1...1, of: "beta"))
            #expect(try await ingest.waits(for: 4))
            try await ingest.flush()
            #expect(await [first, second, third, other] == Array(repeating: "accepted 4", count: 3) + ["accepted 1"])
            let flushes = try await server.column(
                "SELECT min(event_id) FROM usage_event GROUP BY xmin ORDER BY xmin::text::bigint"
            )
            #expect(flushes == ["acme-1", "beta-1", "acme-5", "acme-10"])
        }
    }
}
