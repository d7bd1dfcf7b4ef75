import BillingCore
import Synchronization
import TestSupport
import Web

/// One event as its sender remembers it.
struct SentEvent: Hashable, Sendable {
    let tenant: String
    let source: String
    let id: String
    let tokens: Int

    var json: String { json(at: nil) }

    /// - Parameter time: nil leaves it to the service.
    func json(at time: Instant?) -> String {
        let member = time.map { #""time": "\#($0)", "# } ?? ""
        return """
            {"id": "\(id)", "source": "\(source)", "type": "llm.completion", "subject": "\(tenant)",
             \(member)"data": {"model": "m", "input_tokens": 1, "output_tokens": \(tokens)}}
            """
    }
}

/// What senders did and what they were told: the memory that the database is held against afterwards.
final class IngestJournal: Sendable {
    struct Entries: Sendable {
        var acknowledged: Set<SentEvent> = []
        var acknowledgements = 0
        var refusals = 0
        var lostConnections = 0
        var slowestRefusal = Duration.zero
        /// Answers that no sender should ever get.
        var violations: [String] = []
    }

    private let state = Mutex(Entries())

    var entries: Entries { state.withLock { $0 } }

    func note(_ change: (inout Entries) -> Void) {
        state.withLock { change(&$0) }
    }

    /// Waits until so many requests were acknowledged.
    func reaches(acknowledgements: Int) async throws {
        let isReached = try await eventually(within: .seconds(60)) {
            self.entries.acknowledgements >= acknowledgements || !self.entries.violations.isEmpty
        }
        guard isReached else { throw ChildProcess.Failure(description: "stuck: \(summary)") }
    }

    var summary: String {
        let entries = entries
        return """
            \(entries.acknowledged.count) events acknowledged, \(entries.refusals) answers 503 (slowest \
            \(entries.slowestRefusal)), \(entries.lostConnections) connections lost
            """
    }
}

/// Gateways that report usage at the same time and repeat what was not acknowledged.
struct IngestSenders: Sendable {
    static let tenants = ["alpha", "beta", "gamma"]
    static let pauseMilliseconds: UInt64 = 15
    /// How long a sender repeats one request before it gives up.
    static let patience = Duration.seconds(60)

    var senders = 8
    var batches = 40
    /// More than are gathered in one lane.
    var events = 12
    /// When the usage was, spread over the events; empty leaves it to the service.
    var times: [Instant] = []
    let seed: UInt64
    let client: TestClient
    let journal = IngestJournal()

    /// Every batch spreads over all tenants, so that one request takes several lanes.
    func batch(_ number: Int, of sender: Int) -> [SentEvent] {
        var random = SeededGenerator(seed: seed &+ UInt64(sender) << 32 &+ UInt64(number))
        return (0..<events).map { index in
            SentEvent(
                tenant: Self.tenants[(sender + index) % Self.tenants.count],
                source: "gw-\(sender)",
                id: "\(number)-\(index)",
                tokens: Int(random.next() % 900) + 1
            )
        }
    }

    func time(of event: SentEvent) -> Instant? {
        times.isEmpty ? nil : times[event.tokens % times.count]
    }

    /// Sends everything, and now and then something that was acknowledged already.
    func run() async {
        await withTaskGroup(of: Void.self) { group in
            for sender in 0..<senders {
                group.addTask {
                    var random = SeededGenerator(seed: seed ^ UInt64(sender))
                    for number in 0..<batches {
                        await send(batch(number, of: sender))
                        if random.next() % 5 == 0 {
                            await send(batch(Int(random.next() % UInt64(number + 1)), of: sender), isRepeated: true)
                        }
                    }
                }
            }
        }
    }

    /// Sends one batch until it is acknowledged, or nobody waits for it: a test that has failed is to end at once.
    private func send(_ batch: [SentEvent], isRepeated: Bool = false) async {
        let body = "[" + batch.map { $0.json(at: time(of: $0)) }.joined(separator: ",") + "]"
        let deadline = ContinuousClock.now + Self.patience
        while ContinuousClock.now < deadline {
            guard !Task.isCancelled else { return }
            let start = ContinuousClock.now
            do {
                let answer = try await client.post("/api/v1/events", body)
                let duration = ContinuousClock.now - start
                if judge(answer, of: batch, isRepeated: isRepeated, after: duration) { return }
            } catch {
                journal.note { $0.lostConnections += 1 }
            }
            try? await Task.sleep(for: .milliseconds(Self.pauseMilliseconds))
        }
        journal.note { $0.violations.append("not acknowledged in \(Self.patience): \(batch[0].source) \(batch[0].id)") }
    }

    /// Whether the sender is done with the batch.
    private func judge(
        _ answer: TestResponse,
        of batch: [SentEvent],
        isRepeated: Bool,
        after duration: Duration
    ) -> Bool {
        switch answer.status {
        case 200:
            let counts = ["accepted", "duplicates"].map { answer.json[$0]?.number.flatMap { Int($0) } ?? 0 }
            let isComplete = isRepeated ? counts == [0, batch.count] : counts[0] + counts[1] == batch.count
            journal.note { entries in
                entries.acknowledged.formUnion(batch)
                entries.acknowledgements += 1
                if !isComplete { entries.violations.append("\(answer)") }
            }
            return true
        case 503:
            let isProper =
                answer.header("Content-Type") == "application/problem+json" && answer.code != nil
                && answer.header("Retry-After").flatMap { Int($0) } != nil
            journal.note { entries in
                entries.refusals += 1
                entries.slowestRefusal = max(entries.slowestRefusal, duration)
                if !isProper { entries.violations.append("an improper refusal: \(answer)") }
            }
            return false
        default:
            journal.note { $0.violations.append("\(answer)") }
            return true
        }
    }
}
