import Postgres
import TestSupport
import Testing

@testable import Usage

/// What others notice of a tenant whose ledger somebody holds for long.
@Suite(.timeLimit(.minutes(5))) struct HeldLedgerTests {
    /// - Parameter hasPeriods: whether the tenants have used anything in the month of their events.
    private static func use(
        configure: (inout IngestLimits) -> Void = { _ in },
        hasPeriods: Bool = true,
        _ body: @Sendable (TestServer, IngestFixture) async throws -> Void
    ) async throws {
        try await TestServer.run { server in
            try await IngestTests.arrange(server)
            try await server.subscribe("beta", at: "2026-11-01T00:00:00Z")
            try await IngestFixture.use(server, configure: configure) { ingest in
                try await ingest.flushing {
                    if hasPeriods {
                        let first = await ingest.send(SentEvent("first"), SentEvent("first", subject: "beta"))
                        #expect(first == "accepted 2")
                    }
                    try await body(server, ingest)
                }
            }
            #expect(try await server.differences() == [])
        }
    }

    private static func events(_ ids: ClosedRange<Int>, of tenant: String) -> [SentEvent] {
        ids.map { SentEvent("\(tenant)-\($0)", subject: tenant) }
    }

    /// Holds a tenant's ledger while events of its own and of others are sent, and lets go of it when the others, and
    /// what `body` sends beside them, were answered.
    /// - Parameter answered: how many of its own are waited for before that.
    /// - Returns: what was answered, in the order in which it was.
    private static func hold(
        _ server: TestServer,
        _ ingest: IngestFixture,
        sending events: [[SentEvent]],
        until answered: Int = 0,
        _ body: () async throws -> Void
    ) async throws -> [String] {
        try await withThrowingTaskGroup(of: String.self) { group in
            var answers: [String] = []
            try await server.holdingLedger(of: "acme") {
                for events in events { group.addTask { await ingest.send(events) } }
                try await body()
                while answers.count < answered, let answer = try await group.next() { answers.append(answer) }
            }
            return try await group.reduce(into: answers) { $0.append($1) }
        }
    }

    private static func stored(_ server: TestServer, of tenant: String) async throws -> String? {
        try await server.column("SELECT count(*)::text FROM usage_event WHERE event_id LIKE \(tenant + "-%")")[0]
    }

    @Test(
        "its events wait for it, those of others that came with them into a flush do not, nor do those that come later"
    )
    func othersPass() async throws {
        try await Self.use { server, ingest in
            let answers = try await Self.hold(server, ingest, sending: [Self.events(1...3, of: "acme")]) {
                #expect(await ingest.send(Self.events(1...3, of: "beta")) == "accepted 3")
                #expect(await ingest.send(Self.events(4...40, of: "beta")) == "accepted 37")
                let own = try await Self.stored(server, of: "acme")
                #expect(own == "0")
            }
            #expect(answers == ["accepted 3"])
        }
    }

    @Test("of a request of several tenants what is of others is stored before")
    func requestsAreDivided() async throws {
        try await Self.use { server, ingest in
            let mixed =
                Self.events(1...3, of: "acme") + Self.events(1...3, of: "beta") + [SentEvent("no", subject: "no")]
            let answers = try await Self.hold(server, ingest, sending: [mixed]) {
                let isStored = try await eventually { try await Self.stored(server, of: "beta") == "3" }
                #expect(isStored)
                let own = try await Self.stored(server, of: "acme")
                #expect(own == "0")
            }
            #expect(answers == ["accepted 6, unmatched 1"])
        }
    }

    @Test("what waits too long is refused, what was stored beside it counts once when it is sent again")
    func waitsEnd() async throws {
        try await Self.use(configure: { $0.ledgerWait = .milliseconds(300) }) { server, ingest in
            let mixed = Self.events(1...3, of: "acme") + Self.events(1...3, of: "beta")
            try await server.holdingLedger(of: "acme") {
                #expect(await ingest.refusal(of: mixed)?.contains("counted anew") == true)
                #expect(await ingest.send(mixed) == "overloaded")
            }
            #expect(await ingest.send(mixed) == "accepted 3, duplicates 3")
        }
    }

    @Test("as much of it waits as may of one tenant")
    func waitingIsBounded() async throws {
        try await Self.use(configure: { $0.queuedEvents = 40 }) { server, ingest in
            let own = [Self.events(1...8, of: "acme"), Self.events(9...16, of: "acme")]
            let answers = try await Self.hold(server, ingest, sending: own, until: 1) {
                #expect(await ingest.send(Self.events(1...20, of: "beta")) == "accepted 20")
            }
            #expect(answers == ["overloaded", "accepted 8"])
        }
    }

    @Test("what needs a billing period that has no row yet waits, too")
    func periodsWait() async throws {
        try await Self.use(hasPeriods: false) { server, ingest in
            // As many as would take every connection of ingest.
            let own = (1...12).map { Self.events($0...$0, of: "acme") }
            let answers = try await Self.hold(server, ingest, sending: own) {
                #expect(await ingest.send(Self.events(1...3, of: "beta")) == "accepted 3")
                let own = try await Self.stored(server, of: "acme")
                #expect(own == "0")
            }
            #expect(answers == Array(repeating: "accepted 1", count: 12))
        }
    }

    @Test("what else is locked is waited for as long as a statement may")
    func otherLocks() async throws {
        try await Self.use(configure: { $0.ledgerWait = .zero }) { server, ingest in
            try await withThrowingTaskGroup(of: String.self) { group in
                try await server.holding("UPDATE usage_counter SET quantity = quantity") {
                    group.addTask { await ingest.send(Self.events(1...3, of: "acme")) }
                    let isWaiting = try await eventually {
                        let waiting = try await server.column(
                            """
                            SELECT count(*)::text FROM pg_locks JOIN pg_stat_activity AS backend USING (pid)
                            WHERE NOT granted AND datname = current_database()
                                AND clock_timestamp() - waitstart > interval '0.3 s'
                            """
                        )
                        return waiting == ["1"]
                    }
                    #expect(isWaiting)
                }
                #expect(try await group.next() == "accepted 3")
            }
        }
    }
}
