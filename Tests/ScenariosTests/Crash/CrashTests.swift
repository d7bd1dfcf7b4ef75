import Postgres
import TestSupport
import Testing
import Web

/// Stored means stored, and counted once, under fire: an acknowledged event is stored and counts once, whatever dies.
@Suite(.serialized, .timeLimit(.minutes(15)))
struct CrashTests {
    static let seed: UInt64 = 20_261_123
    /// Beyond this an answer during an outage is a hang. The machine of a test may be busy.
    static let refusalBound = Duration.seconds(10)

    @Test("PostgreSQL is killed three times under load: nothing acknowledged is lost, nothing counts twice")
    func survivesTheDatabase() async throws {
        try await ServedTurnpike.run { turnpike in
            let senders = try await Self.underFire(turnpike, faults: 3) { journal in
                let refusedBefore = journal.entries.refusals
                try await turnpike.killDatabase()
                try await Self.expectOutage(turnpike, journal, refusedBefore: refusedBefore)
                try await turnpike.startDatabase()
            }
            #expect(senders.journal.entries.slowestRefusal < Self.refusalBound)
        }
    }

    @Test("the disk is full three times under load: nothing acknowledged is lost, nothing counts twice")
    func survivesAFullDisk() async throws {
        try await ServedTurnpike.run { turnpike in
            try await turnpike.fill("event_dedup", with: "-9, gen_random_uuid(), 0, now()")
            let senders = try await Self.underFire(turnpike, faults: 3) { journal in
                let refusedBefore = journal.entries.refusals
                try await turnpike.whileDiskIsFull(for: "event_dedup") {
                    let isTold = try await eventually { journal.entries.refusals >= refusedBefore + 8 }
                    #expect(isTold, "\(journal.summary)")
                    #expect(try await turnpike.client.get("/api/v1/tenants/alpha/quotas").status == 200)
                    #expect(try await turnpike.client.get("/healthz").status == 200)
                }
            }
            #expect(senders.journal.entries.slowestRefusal < Self.refusalBound)
            #expect(senders.journal.entries.lostConnections == 0)
        }
    }

    @Test("the service is killed three times under load: nothing acknowledged is lost, nothing counts twice")
    func survivesTheService() async throws {
        try await ServedTurnpike.run { turnpike in
            let senders = try await Self.underFire(turnpike, faults: 3) { _ in
                try await turnpike.crashService()
            }
            #expect(senders.journal.entries.lostConnections > 0)
        }
    }

    @Test("connections of the ingest lane are cut under load: nothing acknowledged is lost, nothing counts twice")
    func survivesCutConnections() async throws {
        try await ServedTurnpike.run { turnpike in
            _ = try await Self.underFire(turnpike, faults: 12) { _ in
                let hasCut = try await eventually { try await turnpike.cutIngestConnections() > 0 }
                #expect(hasCut)
            }
        }
    }

    /// After how many of all answers each fault strikes: seeded, and each in a part of its own.
    static func faultPoints(_ faults: Int, of total: Int) -> [Int] {
        var random = SeededGenerator(seed: seed)
        let span = total / (faults + 1)
        return (0..<faults).map { span * $0 + Int(random.next() % UInt64(span)) + 1 }
    }

    /// Eight senders report while the fault strikes at seeded points; then everything is accounted for.
    private static func underFire(
        _ turnpike: ServedTurnpike,
        faults: Int,
        _ strike: (IngestJournal) async throws -> Void
    ) async throws -> IngestSenders {
        try await CrashCatalogue.make(turnpike.client)
        let senders = IngestSenders(seed: seed, client: turnpike.client)
        let total = senders.senders * senders.batches
        async let reporting: Void = senders.run()
        for point in faultPoints(faults, of: total) {
            try await senders.journal.reaches(acknowledgements: point)
            try await strike(senders.journal)
        }
        await reporting

        let entries = senders.journal.entries
        #expect(entries.violations == [])
        #expect(entries.acknowledged.count == total * senders.events)
        let audit = IngestAudit(databaseURL: turnpike.databaseURL, client: turnpike.client, clock: .system)
        let findings = try await audit.findings(entries.acknowledged)
        #expect(findings == [])
        print("crash: \(faults) faults, \(senders.journal.summary), \(findings.count) findings")
        return senders
    }

    /// While PostgreSQL is away senders and readers are told so, and the process itself is alive.
    private static func expectOutage(
        _ turnpike: ServedTurnpike,
        _ journal: IngestJournal,
        refusedBefore: Int
    ) async throws {
        let isTold = try await eventually(within: .seconds(30)) { journal.entries.refusals >= refusedBefore + 8 }
        #expect(isTold, "\(journal.summary)")
        // That it was ready is said for a second.
        let isNotReady = try await eventually { try await turnpike.client.get("/readyz").status == 503 }
        #expect(isNotReady)
        for path in ["/api/v1/tenants/alpha/quotas", "/api/v1/tenants/alpha/upcoming-invoice", "/readyz"] {
            let answer = try await turnpike.client.get(path)
            #expect(answer.status == 503, "\(path): \(answer)")
            #expect(answer.header("Retry-After") != nil, "\(path): \(answer)")
            #expect(answer.header("Content-Type") == "application/problem+json", "\(path): \(answer)")
        }
        #expect(try await turnpike.client.get("/healthz").status == 200)
    }
}
