import Postgres
import Testing

@Suite struct PostgresMigratorTests {
    private static let first = Migration(name: "0001_first", sql: "CREATE TABLE a (id int); CREATE TABLE b (id int);")
    private static let second = Migration(
        name: "0002_second",
        sql: "DO $$ BEGIN EXECUTE 'CREATE TABLE c (id int)'; END $$; INSERT INTO a VALUES (1)"
    )
    private static let third = Migration(name: "0003_third", sql: "CREATE TABLE d (id int)")

    private func migrator(_ url: String, _ migrations: [Migration]) -> PostgresMigrator {
        PostgresMigrator(PostgresConfiguration(url: url), migrations: migrations)
    }

    private func complaint(_ work: () async throws -> Void) async throws -> String {
        do {
            try await work()
        } catch let failure as MigrationFailure {
            return failure.description
        }
        throw NothingThrown()
    }

    @Test func pendingMigrationsAreAppliedOnceInOrder() async throws {
        try await TestServer.withDatabase { url in
            let before = try await migrator(url, [Self.first]).status()
            #expect(before.map(\.state) == [.pending])
            let one = try await migrator(url, [Self.second, Self.first]).migrate()
            #expect(one == ["0001_first", "0002_second"])
            let two = try await migrator(url, [Self.first, Self.second, Self.third]).migrate()
            #expect(two == ["0003_third"])
            let three = try await migrator(url, [Self.first, Self.second, Self.third]).migrate()
            #expect(three.isEmpty)
            let states = try await migrator(url, [Self.first, Self.second, Self.third]).status().map(\.state)
            #expect(states.count == 3)
            #expect(states.allSatisfy { if case .applied = $0 { true } else { false } })
        }
    }

    /// So that what it has locked is free again when its host disappears.
    @Test func itsSessionEndsWhenNobodySpeaksForIt() async throws {
        try await TestServer.withDatabase { url in
            let sql = """
                CREATE TABLE setting AS
                SELECT current_setting(name) AS value
                FROM unnest(
                    ARRAY['idle_in_transaction_session_timeout', 'idle_session_timeout', 'tcp_user_timeout']
                ) AS name;
                GRANT SELECT ON setting TO PUBLIC
                """
            try await migrator(url, [Migration(name: "0001_settings", sql: sql)]).migrate()
            let pool = PostgresPool(PostgresConfiguration(url: url))
            let values = try await pool.query(.worker, "SELECT value FROM setting") { row throws(PostgresError) in
                try row.next(String.self)
            }
            #expect(values == ["30s", "1min", "10000"])
            await pool.close()
        }
    }

    @Test func anEditedMigrationIsRefused() async throws {
        try await TestServer.withDatabase { url in
            try await migrator(url, [Self.first]).migrate()
            let edited = Migration(name: Self.first.name, sql: Self.first.sql + " ")
            let text = try await complaint { try await migrator(url, [edited, Self.second]).migrate() }
            #expect(text.contains("0001_first was edited"))
            let states = try await migrator(url, [edited, Self.second]).status().map(\.state)
            #expect(states.last == .pending)
            if case .edited = states.first {} else { Issue.record("the status must say that it was edited") }
        }
    }

    @Test func aMissingMigrationIsRefused() async throws {
        try await TestServer.withDatabase { url in
            try await migrator(url, [Self.first, Self.second]).migrate()
            let text = try await complaint { try await migrator(url, [Self.first, Self.third]).migrate() }
            #expect(text.contains("0002_second is applied to the database but missing here"))
        }
    }

    @Test func aNewerMigrationIsToleratedOnlyWhereAskedAndOnlyAfterTheLast() async throws {
        try await TestServer.withDatabase { url in
            try await migrator(url, [Self.first, Self.second, Self.third]).migrate()
            let applied = try await migrator(url, [Self.first, Self.second]).migrate(toleratingNewer: true)
            #expect(applied.isEmpty)
            let strict = try await complaint { try await migrator(url, [Self.first, Self.second]).migrate() }
            #expect(strict.contains("0003_third is applied to the database but missing here"))
            let gap = try await complaint {
                try await migrator(url, [Self.first, Self.third]).migrate(toleratingNewer: true)
            }
            #expect(gap.contains("0002_second is applied to the database but missing here"))
            let edited = Migration(name: Self.second.name, sql: Self.second.sql + " ")
            let edit = try await complaint {
                try await migrator(url, [Self.first, edited]).migrate(toleratingNewer: true)
            }
            #expect(edit.contains("0002_second was edited"))
            let late = Migration(name: "0002_zeta", sql: "SELECT 1")
            let order = try await complaint {
                try await migrator(url, [Self.first, Self.second, late]).migrate(toleratingNewer: true)
            }
            #expect(order.contains("0002_zeta is new but sorts before 0003_third"))
        }
    }

    @Test func aMigrationOutOfOrderIsRefused() async throws {
        try await TestServer.withDatabase { url in
            try await migrator(url, [Self.first, Self.third]).migrate()
            let text = try await complaint { try await migrator(url, [Self.first, Self.second, Self.third]).migrate() }
            #expect(text.contains("0002_second is new but sorts before 0003_third"))
        }
    }

    @Test func twoMigrationsOfOneNameAreRefused() async throws {
        try await TestServer.withDatabase { url in
            let text = try await complaint { try await migrator(url, [Self.first, Self.first]).migrate() }
            #expect(text.contains("two migrations are named 0001_first"))
        }
    }

    @Test func aFailingMigrationLeavesNothingOfItselfAndKeepsTheOnesBefore() async throws {
        try await TestServer.withDatabase { url in
            let failing = Migration(name: "0002_bad", sql: "CREATE TABLE half (id int); SELECT 1/0;")
            let text = try await complaint { try await migrator(url, [Self.first, failing]).migrate() }
            #expect(text.contains("0002_bad failed and was rolled back") && text.contains("division by zero"))
            let states = try await migrator(url, [Self.first, failing]).status().map(\.state)
            #expect(states.last == .pending)
            let repaired = Migration(name: "0002_bad", sql: "CREATE TABLE half (id int)")
            let applied = try await migrator(url, [Self.first, repaired]).migrate()
            #expect(applied == ["0002_bad"])
        }
    }

    @Test func aMigrationThatEndsItsTransactionIsRefused() async throws {
        try await TestServer.withDatabase { url in
            let ending = Migration(name: "0001_commit", sql: "CREATE TABLE a (id int); COMMIT;")
            let text = try await complaint { try await migrator(url, [ending]).migrate() }
            #expect(text.contains("0001_commit ends its own transaction"))
        }
    }

    @Test func aMigrationThatOthersKeepWaitingLetsWhoIsBehindItGetOn() async throws {
        try await TestServer.withDatabase { url in
            try await migrator(url, [Self.first]).migrate()
            let pool = PostgresPool(PostgresConfiguration(url: url).asOwner())
            let reader = Task {
                try await pool.transaction(.worker) { transaction in
                    try transaction.execute("SELECT FROM a")
                    // Until it is cancelled.
                    while true { try transaction.execute("SELECT pg_sleep(0.05)") }
                }
            }
            let waits: SQL = """
                SELECT mode FROM pg_locks WHERE relation = 'a'::regclass
                    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                    AND granted = (mode = 'AccessShareLock') ORDER BY mode
                """
            func expectLocks(_ modes: [String]) async throws {
                try await eventually("\(modes)") {
                    try await pool.query(.interactive, waits) { row throws(PostgresError) in
                        try row.next(String.self)
                    } == modes
                }
            }
            try await expectLocks(["AccessShareLock"])
            let adding = Migration(name: "0002_adding", sql: "ALTER TABLE a ADD COLUMN more int")
            var patient = migrator(url, [Self.first, adding])
            patient.lockTimeoutMilliseconds = 300
            patient.lockPauseMilliseconds = 2_000
            async let applied = patient.migrate()
            // It waits, gives up so that others get on, and waits again.
            for waiting in [["AccessExclusiveLock"], [], ["AccessExclusiveLock"]] {
                try await expectLocks(waiting + ["AccessShareLock"])
            }
            reader.cancel()
            _ = try? await reader.value
            #expect(try await applied == ["0002_adding"])
            await pool.close()
        }
    }

    @Test func aCancelledMigratorRollsBackWhatItIsAtAndKeepsTheOnesBefore() async throws {
        try await TestServer.withDatabase { url in
            let slow = Migration(name: "0002_slow", sql: "CREATE TABLE half (id int); SELECT pg_sleep(120);")
            let migrations = [Self.first, slow]
            let pool = PostgresPool(PostgresConfiguration(url: url).asOwner())
            let migrating = Task { try await migrator(url, migrations).migrate() }
            let sleepers: SQL = """
                SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event = 'PgSleep'
                """
            try await eventually("the migration runs") {
                try await pool.query(.worker, sleepers) { row throws(PostgresError) in try row.next(Int64.self) } == [1]
            }
            migrating.cancel()
            if case .success = await migrating.result { Issue.record("it went on to its end") }
            let states = try await migrator(url, migrations).status().map(\.state)
            #expect(states.last == .pending)
            if case .applied = states.first {} else { Issue.record("the one before must stay") }
            await pool.close()
        }
    }

    @Test func twoMigratorsAtOnceApplyEachMigrationOnce() async throws {
        try await TestServer.withDatabase { url in
            let migrations = (1...20).map { Migration(name: "\(1_000 + $0)_t", sql: "CREATE TABLE t\($0) (id int)") }
            let applied = try await withThrowingTaskGroup { group in
                for _ in 0..<4 {
                    group.addTask { try await migrator(url, migrations).migrate() }
                }
                return try await group.reduce(into: []) { $0 += $1 }
            }
            #expect(applied == migrations.map(\.name))
        }
    }
}
