import Postgres
import Synchronization
import TestSupport
import Testing
import Web

/// Admitted means held, under fire: a reservation that was answered is there and holds once, also after PostgreSQL was
/// killed.
@Suite(.serialized, .timeLimit(.minutes(15)))
struct AdmissionCrashTests {
    private static let callers = 8
    private static let calls = 150
    private static let faults = 3
    private static let patience = Duration.seconds(120)

    private final class Journal: Sendable {
        /// The reservation of each call.
        let answered = Mutex<[String: String]>([:])
        let refused = Mutex(0)
    }

    private struct NotAdmitted: Error {
        let id: String
    }

    @Test("PostgreSQL is killed three times while calls are admitted: what was answered is held, and held once")
    func survivesTheDatabase() async throws {
        try await ServedTurnpike.run { turnpike in
            try await turnpike.client.post("/api/v1/tenants", #"{"key":"acme","name":"Acme","currency":"USD"}"#)
                .expecting(201)
            let budget = """
                {"key":"calls","scope":{"tenant":"acme"},"measure":"requests","amount":"1000000","window":"lifetime",\
                "mode":"hard"}
                """
            try await turnpike.client.post("/api/v1/budgets", budget).expecting(201)

            let journal = Journal()
            let total = Self.callers * Self.calls
            async let calling: Void = Self.callAll(turnpike.client, journal)
            for point in CrashTests.faultPoints(Self.faults, of: total) {
                let isReached = try await eventually { journal.answered.withLock { $0.count } >= point }
                #expect(isReached)
                try await turnpike.killDatabase()
                try await turnpike.startDatabase()
            }
            try await calling

            let known = journal.answered.withLock { $0 }
            let stored = try await PostgresDatabase.pairs(
                "SELECT admission_id, reservation_id::text FROM reservation WHERE status = 'held'",
                at: turnpike.databaseURL
            )
            #expect(known.count == total)
            #expect(stored.count == total)
            let reservations = Dictionary(stored) { _, _ in "twice" }
            #expect(reservations == known, "each call has the reservation that was answered, and there is no other")
            let held = try await PostgresDatabase.pairs(
                "SELECT key, trim_scale(held)::text FROM limit_state JOIN budget USING (limit_id)",
                at: turnpike.databaseURL
            )
            #expect(held.map(\.0) == ["calls"] && held.map(\.1) == ["\(total)"])
            #expect(journal.refused.withLock { $0 } > 0)
        }
    }

    private static func callAll(_ client: TestClient, _ journal: Journal) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for caller in 0..<callers {
                group.addTask {
                    for call in 0..<calls {
                        let id = "\(caller)-\(call)"
                        let (reservation, refusals) = try await admit(client, id)
                        journal.answered.withLock { $0[id] = reservation }
                        journal.refused.withLock { $0 += refusals }
                    }
                }
            }
            try await group.waitForAll()
        }
    }

    /// Asks until there is an answer.
    private static func admit(_ client: TestClient, _ id: String) async throws -> (reservation: String, refusals: Int) {
        let call = #"{"subject":"acme","type":"job.done","source":"gw","id":"\#(id)","data":{"seconds":1}}"#
        let deadline = ContinuousClock.now + patience
        var refusals = 0
        while ContinuousClock.now < deadline {
            let answer = try await client.post("/api/v1/admissions", call)
            if answer.status == 200 {
                #expect(answer.json["allowed"] == .bool(true), "\(answer)")
                return (try #require(answer.json["reservation"]?["id"]?.string, "\(answer)"), refusals)
            }
            #expect(answer.status == 503 && answer.header("Retry-After") != nil, "\(answer)")
            refusals += 1
            try await Task.sleep(for: .milliseconds(IngestSenders.pauseMilliseconds))
        }
        throw NotAdmitted(id: id)
    }
}
