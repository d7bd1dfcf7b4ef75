import BillingCore
import Synchronization
import TestSupport
import Web

/// Clients that reserve, settle, release and forget at random, on whatever replica answers. Each keeps account of what
/// must have been counted in the end.
final class ReservingClients: Sendable {
    /// What was acknowledged.
    struct Account: Sendable {
        /// Seconds of acknowledged events.
        var used: Int64 = 0
        /// What settling events used beyond their holds, and late ones in full.
        var overshoot: Int64 = 0
        var admitted = 0
        var refused = 0
        /// Answers that were none: a killed replica, or a limit that could not be asked in time.
        var failures = 0
        var violations: [String] = []
    }

    /// What becomes of a call that was admitted.
    enum Ending: CaseIterable {
        case exact, less, more, parts, halves, released, forgotten, late

        /// Those that use no more than was held.
        static let withinHold: [Ending] = [.exact, .less, .halves, .released, .forgotten]
    }

    let clients: Int
    let calls: Int
    private let endings: [Ending]
    private let replicas: ServedReplicas
    private let seed: UInt64
    private let kept = Mutex(Account())

    init(clients: Int, calls: Int, seed: UInt64, endings: [Ending], on replicas: ServedReplicas) {
        self.clients = clients
        self.calls = calls
        self.seed = seed
        self.endings = endings
        self.replicas = replicas
    }

    var account: Account { kept.withLock { $0 } }

    func run() async {
        await withTaskGroup(of: Void.self) { group in
            for client in 0..<clients {
                group.addTask { [self] in await run(client) }
            }
        }
    }

    private func run(_ client: Int) async {
        var random = SeededGenerator(seed: seed &+ UInt64(client))
        for call in 0..<calls {
            let seconds = Int64.random(in: 1...9, using: &random)
            let ending = endings.randomElement(using: &random) ?? .exact
            let id = "\(client)-\(call)"
            let lives = ending == .forgotten || ending == .late ? 1 : 600
            guard let reservation = await admit(id, seconds, lives, &random) else { continue }
            await end(reservation, id, seconds, ending, &random)
        }
    }

    /// - Returns: the reservation; nil when the call was refused.
    private func admit(_ id: String, _ seconds: Int64, _ lives: Int, _ random: inout SeededGenerator) async -> String? {
        let answer = await insist(&random) { client in
            try await client.post(
                "/api/v1/admissions",
                """
                {"subject":"acme","type":"job.done","source":"gw","id":"\(id)","ttl_seconds":\(lives),\
                "data":{"seconds":\(seconds)}}
                """
            )
        }
        guard let answer else { return nil }
        guard answer.json["allowed"] == .bool(true) else {
            note { $0.refused += 1 }
            return nil
        }
        note { $0.admitted += 1 }
        return answer.json["reservation"]?["id"]?.string
    }

    private func end(
        _ reservation: String,
        _ id: String,
        _ held: Int64,
        _ ending: Ending,
        _ random: inout SeededGenerator
    ) async {
        switch ending {
        case .exact:
            await report(id, held, of: reservation, &random)
        case .less:
            await report(id, max(1, held - 2), of: reservation, &random)
        case .more:
            if await report(id, held + 3, of: reservation, &random) { note { $0.overshoot += 3 } }
        case .parts:
            let first = max(1, held / 2)
            guard await report("\(id)-a", first, of: reservation, partial: true, &random) else { return }
            if await report("\(id)-b", held, of: reservation, &random) { note { $0.overshoot += first } }
        case .halves:
            let first = max(1, held / 2)
            guard await report("\(id)-a", first, of: reservation, partial: true, &random) else { return }
            await report("\(id)-b", held - first, of: reservation, &random)
        case .released:
            let path = "/api/v1/admissions/\(reservation)/release"
            _ = await insist(&random) { try await $0.post(path) }
        case .forgotten:
            break
        case .late:
            await waitForExpiry(of: reservation, &random)
            if await report(id, held, of: reservation, &random) { note { $0.overshoot += held } }
        }
    }

    private func waitForExpiry(of reservation: String, _ random: inout SeededGenerator) async {
        for _ in 0..<600 {
            let answer = await insist(&random) { try await $0.get("/api/v1/admissions/\(reservation)") }
            if answer?.json["status"]?.string == "expired" { return }
            try? await Task.sleep(for: .milliseconds(50))
        }
        note { $0.violations.append("\(reservation) never expired") }
    }

    @discardableResult
    private func report(
        _ id: String,
        _ seconds: Int64,
        of reservation: String,
        partial: Bool = false,
        _ random: inout SeededGenerator
    ) async -> Bool {
        let answer = await insist(&random) { client in
            try await client.post(
                "/api/v1/events",
                """
                {"specversion":"1.0","id":"\(id)","source":"gw","type":"job.done","subject":"acme",\
                "reservationid":"\(reservation)","reservationpartial":\(partial),"data":{"seconds":\(seconds)}}
                """
            )
        }
        guard answer != nil else { return false }
        note { $0.used += seconds }
        return true
    }

    /// Asks until somebody answers with 200: what it asks may be asked again.
    private func insist(
        _ random: inout SeededGenerator,
        _ ask: (TestClient) async throws -> TestResponse
    ) async -> TestResponse? {
        for _ in 0..<400 {
            let replica = Int.random(in: replicas.ports.indices, using: &random)
            if let answer = try? await ask(replicas.client(replica)) {
                if answer.status == 200 { return answer }
                guard answer.status == 503 || answer.status == 500 else {
                    note { $0.violations.append("\(answer)") }
                    return nil
                }
                if answer.status == 500 { note { $0.violations.append("\(answer)") } }
            }
            note { $0.failures += 1 }
            try? await Task.sleep(for: .milliseconds(50))
        }
        note { $0.violations.append("nobody answered") }
        return nil
    }

    private func note(_ change: (inout Account) -> Void) {
        kept.withLock { change(&$0) }
    }
}
