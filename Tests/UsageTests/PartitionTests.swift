import BillingCore
import Postgres
import TestSupport
import Testing

@testable import Usage

@Suite struct PartitionTests {
    private static let ensure: SQL = "SELECT ensure_usage_event_partition('2031-05-01'::date)"

    private static func made(_ row: inout PostgresRow) throws(PostgresError) -> Bool { try row.next() }

    /// The second waits for the first, and then must see what it made.
    @Test func whoComesSecondFindsThePartition() async throws {
        let database = try await TestDatabase.create()
        let pool = PostgresPool(PostgresConfiguration(url: database.url), logger: .silent)
        let (begun, beginning) = AsyncStream<Void>.makeStream()
        async let first = pool.transaction(.worker) { transaction in
            let made = try transaction.query(Self.ensure, Self.made)
            beginning.yield()
            for _ in 0..<100_000 {
                let waiting = try transaction.first(
                    """
                    SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
                    WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()
                    """
                ) { row throws(PostgresError) in try row.next(Int64.self) }
                if waiting == 1 { break }
            }
            return made
        }
        _ = await begun.first { _ in true }
        let second = try await pool.query(.interactive, Self.ensure, Self.made)
        #expect(try await first == [true])
        #expect(second == [false])
        await pool.close()
        try await database.drop()
    }

    /// Sessions that ask for the same month at once, and then store an event of it at once.
    @Test func whoeverAsksForAPartitionCanStoreInIt() async throws {
        let database = try await TestDatabase.create()
        try await database.run(
            """
            INSERT INTO tenant (tenant_id, key, name, currency, timezone, metadata, status, created_at, updated_at,
                revision)
            VALUES (1, 'acme', 'Acme', 'USD', 'UTC', '{}', 'active', now(), now(), 1)
            """
        )
        let sessions = 8
        var configuration = PostgresConfiguration(url: database.url)
        configuration.worker.connections = sessions
        let pool = PostgresPool(configuration, logger: .silent)
        for month in 0..<120 {
            let day = CivilDate(year: 2031 + Int64(month / 12), month: Int64(month % 12 + 1), day: 1)
            let time = Instant(microseconds: day.daysSince1970 * 86_400_000_000)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for session in 0..<sessions {
                    group.addTask {
                        try await PartitionRegistry().ensure(months: [time], pool: pool)
                        _ = try await pool.transaction(.worker) { transaction in
                            try transaction.execute(
                                """
                                INSERT INTO usage_event (tenant_id, ledger_seq, event_time, received_at, event_key,
                                    catalog_version, source, event_id, event_type, subject)
                                VALUES (1, \(Int64(month * sessions + session)), \(time), \(time), gen_random_uuid(), 1,
                                    's', 'e', 'e', 'acme')
                                """
                            )
                        }
                    }
                }
                try await group.waitForAll()
            }
        }
        await pool.close()
        try await database.drop()
    }

    @Test func monthsFollowEachOther() throws {
        let december = CivilMonth(of: try Instant(parsing: "2026-12-31T23:59:59.999999Z"))
        #expect(december.start == (try Instant(parsing: "2026-12-01T00:00:00Z")))
        #expect(december.next.start == (try Instant(parsing: "2027-01-01T00:00:00Z")))
        let old = CivilMonth(of: try Instant(parsing: "1969-12-31T23:59:59Z"))
        #expect(old.start == (try Instant(parsing: "1969-12-01T00:00:00Z")))
    }
}
