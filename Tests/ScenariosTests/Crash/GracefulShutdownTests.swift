import TestSupport
import Testing

/// SIGTERM under load: what was accepted is answered, what was acknowledged is stored, and the process ends well.
@Suite(.serialized, .timeLimit(.minutes(15)))
struct GracefulShutdownTests {
    /// What one sender saw until the service was gone.
    fileprivate struct Outcome: Sendable {
        var acknowledged: Set<SentEvent> = []
        var refused: Set<SentEvent> = []
        var unanswered: Set<SentEvent> = []
        var answers = 0
        var violations: [String] = []
    }

    @Test("SIGTERM under load: every request that was worked on is answered, nothing acknowledged is lost, exit code 0")
    func terminatesUnderLoad() async throws {
        let settings = ["TURNPIKE_LOG_LEVEL": "debug", "TURNPIKE_SHUTDOWN_SECONDS": "20"]
        try await ServedTurnpike.run(settings: { _ in settings }) { turnpike in
            try await CrashCatalogue.make(turnpike.client)
            let senders = IngestSenders(seed: CrashTests.seed, client: turnpike.client)
            async let outcomes = withTaskGroup(of: Outcome.self) { group in
                for sender in 0..<senders.senders {
                    group.addTask { await Self.sendUntilGone(senders, sender) }
                }
                return await group.reduce(into: [Outcome]()) { $0.append($1) }
            }
            try await senders.journal.reaches(acknowledgements: 100)
            let slow = try Self.halfARequest(port: turnpike.ports[0])
            await turnpike.terminate()
            try slow.send(Self.otherHalf)
            let last = slow.receive(until: "\"rejected\"")
            #expect(last.hasPrefix("HTTP/1.1 200"), "a request that had begun to arrive: \(last)")
            #expect(try await turnpike.exitCode(within: .seconds(25)) == 0)

            let log = await turnpike.output()
            let logged = log.split(separator: "\n").filter { $0.contains("\"operation\":\"ingestEvents\"") }.count
            let outcome = await outcomes.reduce(into: Outcome()) { $0.add($1) }
            #expect(outcome.violations == [])
            #expect(logged == outcome.answers + 1, "requests worked on, and answers received")

            let readyAfter = try await turnpike.startService()
            let stored = try await Self.stored(turnpike)
            #expect(outcome.acknowledged.map(\.name).filter { !stored.contains($0) } == [])
            #expect(outcome.unanswered.map(\.name).filter(stored.contains) == [])
            print("start to ready on a migrated database: \(readyAfter) (debug build)")
        }
    }

    private static func sendUntilGone(_ senders: IngestSenders, _ sender: Int) async -> Outcome {
        var outcome = Outcome()
        for number in 0... {
            let batch = senders.batch(number, of: sender)
            let body = "[" + batch.map(\.json).joined(separator: ",") + "]"
            do {
                let answer = try await senders.client.post("/api/v1/events", body)
                outcome.answers += 1
                senders.journal.note { $0.acknowledgements += 1 }
                switch answer.status {
                case 200: outcome.acknowledged.formUnion(batch)
                case 503: outcome.refused.formUnion(batch)
                default: outcome.violations.append("\(answer)")
                }
            } catch {
                outcome.unanswered.formUnion(batch)
                return outcome
            }
        }
        return outcome
    }

    private static let body = #"[{"id": "slow", "source": "slow", "type": "llm.completion", "subject": "alpha"}]"#
    private static let otherHalf = String(body.dropFirst(20))

    /// A request of which the head and a part of the body are there.
    private static func halfARequest(port: Int) throws -> RawConnection {
        let connection = try RawConnection(port: port, timeoutSeconds: 20)
        try connection.send(
            """
            POST /api/v1/events HTTP/1.1\r
            Host: localhost\r
            Authorization: Bearer \(ServedTurnpike.operatorKey)\r
            Content-Type: application/json\r
            Content-Length: \(body.utf8.count)\r
            Expect: 100-continue\r
            \r

            """
        )
        // The answer to the expectation says that the head has been read.
        let interim = connection.receive(until: "\r\n\r\n")
        guard interim.hasPrefix("HTTP/1.1 100") else { throw ChildProcess.Failure(description: interim) }
        try connection.send(String(body.prefix(20)))
        return connection
    }

    private static func stored(_ turnpike: ServedTurnpike) async throws -> Set<String> {
        struct Event: Decodable {
            let id: String
            let source: String
        }
        struct Events: Decodable {
            let data: [Event]
            let nextCursor: String?
        }
        var names: Set<String> = []
        for tenant in IngestSenders.tenants {
            var cursor = ""
            repeat {
                let path = "/api/v1/events?tenant=\(tenant)&limit=500\(cursor)"
                let page = try await turnpike.client.get(path).expecting(200).decoded(Events.self)
                for event in page.data { names.insert("\(tenant) \(event.source) \(event.id)") }
                cursor = page.nextCursor.map { "&cursor=\($0)" } ?? ""
            } while !cursor.isEmpty
        }
        return names
    }
}

extension SentEvent {
    fileprivate var name: String { "\(tenant) \(source) \(id)" }
}

extension GracefulShutdownTests.Outcome {
    fileprivate mutating func add(_ other: Self) {
        acknowledged.formUnion(other.acknowledged)
        refused.formUnion(other.refused)
        unanswered.formUnion(other.unanswered)
        answers += other.answers
        violations += other.violations
    }
}
