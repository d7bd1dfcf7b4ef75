import TestSupport
import Testing
import Web

/// A check that cannot fail proves nothing: these plant what the crash tests look for.
@Suite(.serialized, .timeLimit(.minutes(15)))
struct CrashControlTests {
    @Test("with synchronous_commit off, killing PostgreSQL loses acknowledged events, and the audit sees it")
    func asynchronousCommitsAreSeenToBeLost() async throws {
        // Room for all pages and the whole log: what is written out to make room would take the log with it.
        let careless = [
            "synchronous_commit": "off", "wal_buffers": "16MB", "shared_buffers": "128MB", "bgwriter_lru_maxpages": "0",
        ]
        try await ServedTurnpike.run(clusterSettings: careless) { turnpike in
            try await CrashCatalogue.make(turnpike.client)
            try await turnpike.stopLogWriter()
            let senders = IngestSenders(senders: 4, batches: 10, seed: CrashTests.seed, client: turnpike.client)
            await senders.run()
            #expect(senders.journal.entries.violations == [])
            try await turnpike.killDatabase()
            try await turnpike.startDatabase()
            try await Self.waitUntilItReads(turnpike)
            let lost = try await Self.findings(turnpike, senders).filter { $0.hasPrefix("lost: ") }
            #expect(!lost.isEmpty)
            let acknowledged = senders.journal.entries.acknowledged.count
            print("crash control: \(lost.count) of \(acknowledged) acknowledged events lost")
        }
    }

    @Test("a missing, a doubled and a miscounted event are each found")
    func plantedDamageIsFound() async throws {
        try await TestServer.run { server in
            try await CrashCatalogue.make(server.operatorClient)
            let senders = IngestSenders(senders: 4, batches: 5, seed: CrashTests.seed, client: server.operatorClient)
            await senders.run()
            let acknowledged = senders.journal.entries.acknowledged
            let audit = IngestAudit(
                databaseURL: server.database.url,
                client: server.operatorClient,
                clock: server.clock.clock
            )
            #expect(try await audit.findings(acknowledged) == [])

            try await server.database.run(Self.copyWithoutItsKey)
            let doubled = try await audit.findings(acknowledged)
            #expect(doubled.contains { $0.hasPrefix("stored 2 times: ") })
            #expect(doubled.contains { $0.hasPrefix("verification: ") })

            try await server.database.run("DELETE FROM usage_event WHERE source = 'gw-1' AND event_id = '2-3'")
            let missing = try await audit.findings(acknowledged)
            #expect(missing.filter { $0.hasPrefix("lost: ") }.count == 1)

            try await server.database.run("UPDATE limit_state SET used = used + 1")
            let miscounted = try await audit.findings(acknowledged)
            #expect(miscounted.contains { $0.hasPrefix("alpha: quota used ") })
        }
    }

    @Test("without its deduplication row a repeated event is counted twice, and the audit sees it")
    func lostDeduplicationIsFound() async throws {
        try await TestServer.run { server in
            try await CrashCatalogue.make(server.operatorClient)
            let senders = IngestSenders(senders: 1, batches: 2, seed: CrashTests.seed, client: server.operatorClient)
            await senders.run()
            try await server.database.run("DELETE FROM event_dedup")
            let repeated = senders.batch(0, of: 0).map(\.json).joined(separator: ",")
            try await server.operatorClient.post("/api/v1/events", "[\(repeated)]").expecting(200)
            let audit = IngestAudit(
                databaseURL: server.database.url,
                client: server.operatorClient,
                clock: server.clock.clock
            )
            let findings = try await audit.findings(senders.journal.entries.acknowledged)
            #expect(findings.filter { $0.hasPrefix("stored 2 times: ") }.count == senders.events)
            #expect(findings.contains { $0.hasPrefix("alpha: quota used ") })
        }
    }

    private static let copyWithoutItsKey = """
        WITH ledger AS (UPDATE tenant_ledger SET ledger_seq = ledger_seq + 1 RETURNING tenant_id, ledger_seq)
        INSERT INTO usage_event (
            tenant_id, ledger_seq, event_time, received_at, event_key, catalog_version, input_tokens, output_tokens,
            source, event_id, event_type, subject, model
        )
        SELECT event.tenant_id, ledger.ledger_seq, event.event_time, event.received_at, event.event_key,
            event.catalog_version, event.input_tokens, event.output_tokens, event.source, event.event_id,
            event.event_type, event.subject, event.model
        FROM usage_event AS event
        JOIN ledger ON ledger.tenant_id = event.tenant_id
        WHERE event.source = 'gw-0' AND event.event_id = '0-0'
        """

    private static func findings(_ turnpike: ServedTurnpike, _ senders: IngestSenders) async throws -> [String] {
        let audit = IngestAudit(databaseURL: turnpike.databaseURL, client: turnpike.client, clock: .system)
        return try await audit.findings(senders.journal.entries.acknowledged)
    }

    private static func waitUntilItReads(_ turnpike: ServedTurnpike) async throws {
        let reads = try await eventually(within: .seconds(30)) {
            try await turnpike.client.get("/api/v1/tenants/alpha/quotas/tokens").status == 200
        }
        #expect(reads)
    }
}
