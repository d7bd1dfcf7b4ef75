import Logging
import Postgres
import ServiceLifecycle
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(15))) struct PoolTests {
    private static func narrow(_ configuration: inout PostgresConfiguration) {
        configuration.interactive = PostgresLaneLimits(connections: 1, waiting: 2, waitTimeoutMilliseconds: 5_000)
    }

    /// Holds the only connection while `body` runs.
    private func whileBusy(_ pool: PostgresPool, _ body: () async throws -> Void) async throws {
        let released = Atomic(false)
        let holder = Task {
            try await pool.transaction(.interactive) { _ in
                while !released.load(ordering: .acquiring) {}
            }
        }
        try await eventually("the connection is taken") { pool.statistics(of: .interactive).inUse == 1 }
        do {
            try await body()
        } catch {
            released.store(true, ordering: .releasing)
            throw error
        }
        released.store(true, ordering: .releasing)
        try await holder.value
    }

    @Test func aWaitThatIsTooLongAndAQueueThatIsFullAreRefused() async throws {
        try await TestServer.withPool(configure: Self.narrow) { pool in
            try await whileBusy(pool) {
                let waiters = (0..<2).map { _ in Task { try await pool.execute(.interactive, "SELECT 1") } }
                try await eventually("both wait") { pool.statistics(of: .interactive).waiting == 2 }
                let refused = try await failure { try await pool.execute(.interactive, "SELECT 1") }
                #expect(refused.kind == .poolExhausted && refused.isUnavailable && !refused.isRetryable)
                for waiter in waiters {
                    let error = try await failure { _ = try await waiter.value }
                    #expect(error.kind == .poolExhausted)
                }
                // Another lane has connections of its own.
                try await pool.execute(.ingest, "SELECT 1")
            }
            let affected = try await pool.execute(.interactive, "SELECT 1")
            #expect(affected == 1)
            let statistics = pool.statistics(of: .interactive)
            #expect(statistics.timeouts == 2 && statistics.refusals == 1 && statistics.waits == 2)
            #expect(statistics.waitNanoseconds >= 10_000_000_000 && statistics.leases == 2)
            #expect(statistics.limit == 1 && statistics.idle == 1 && statistics.inUse == 0 && statistics.waiting == 0)
        }
    }

    @Test func aWaitingTaskThatIsCancelledLeavesTheQueue() async throws {
        try await TestServer.withPool(configure: { $0.interactive.connections = 1 }) { pool in
            try await whileBusy(pool) {
                let waiter = Task { try await pool.execute(.interactive, "SELECT 1") }
                try await eventually("it waits") { pool.statistics(of: .interactive).waiting == 1 }
                waiter.cancel()
                let error = try await failure { _ = try await waiter.value }
                #expect(error.kind == .cancelled)
                #expect(pool.statistics(of: .interactive).waiting == 0)
            }
            let affected = try await pool.execute(.interactive, "SELECT 1")
            #expect(affected == 1)
        }
    }

    @Test func manyCallersShareFewConnections() async throws {
        try await TestServer.withPool(
            setup: "CREATE TABLE counter (id bigint PRIMARY KEY, value bigint); INSERT INTO counter VALUES (1, 0)",
            configure: {
                $0.ingest = PostgresLaneLimits(connections: 3, waiting: 1_000, waitTimeoutMilliseconds: 120_000)
            }
        ) { pool in
            try await withThrowingTaskGroup { group in
                for _ in 0..<300 {
                    group.addTask {
                        try await pool.transaction(.ingest) { transaction in
                            _ = try transaction.execute("UPDATE counter SET value = value + 1 WHERE id = \(Int64(1))")
                        }
                    }
                }
                try await group.waitForAll()
            }
            let values = try await pool.query(.ingest, "SELECT value FROM counter") { row throws(PostgresError) in
                try row.next(Int64.self)
            }
            #expect(values == [300])
            #expect(pool.statistics(of: .ingest).idle <= 3)
        }
    }

    @Test func onlyTheIngestLanePlansForKeyLookups() async throws {
        try await TestServer.withPool { pool in
            func settings(_ lane: PostgresLane) async throws -> [String] {
                try await pool.query(
                    lane,
                    """
                    SELECT current_setting('plan_cache_mode'), current_setting('enable_seqscan'), current_setting('jit')
                    """
                ) { row throws(PostgresError) in
                    [try row.next(String.self), try row.next(String.self), try row.next(String.self)]
                }.first ?? []
            }
            let ingest = try await settings(.ingest)
            let interactive = try await settings(.interactive)
            #expect(ingest == ["force_generic_plan", "off", "off"])
            #expect(interactive == ["auto", "on", "off"])
        }
    }

    @Test func aPlanForAFewRowsIsNotKeptWhileTheTableGrows() async throws {
        let setup = """
            CREATE TABLE entry (id bigint PRIMARY KEY) WITH (autovacuum_enabled = false);
            INSERT INTO entry VALUES (1);
            ANALYZE entry;
            """
        try await TestServer.withPool(setup: setup) { configuration in
            configuration.serviceRole = nil
        } _: { pool in
            try await pool.withConnection(.ingest) { connection in
                func run(_ statement: SQL) async throws {
                    _ = try await connection.transaction { transaction in try transaction.execute(statement) }
                }
                func readsTheTableWhole() async throws -> Bool {
                    try await connection.transaction { transaction in
                        try transaction.query("EXPLAIN EXECUTE lookup(NULL)") { row throws(PostgresError) in
                            try row.next(String.self)
                        }
                    }.contains { $0.contains("Join Filter") }
                }
                try await run(
                    """
                    PREPARE lookup AS
                    SELECT entry.id FROM unnest($1::bigint[]) AS wanted (id) JOIN entry ON entry.id = wanted.id
                    """
                )
                #expect(try await readsTheTableWhole())
                try await run("INSERT INTO entry SELECT generate_series(2, 50000)")
                try await eventually(within: .seconds(20), "it is planned again") { try await !readsTheTableWhole() }
            }
        }
    }

    @Test func closingLetsARunningTransactionFinishAndRefusesTheRest() async throws {
        try await TestServer.withPool(setup: "CREATE TABLE entry (id bigint)") { pool in
            let reached = Atomic(false)
            let released = Atomic(false)
            let running = Task {
                try await pool.transaction(.ingest) { transaction in
                    _ = try transaction.execute("INSERT INTO entry VALUES (1)")
                    reached.store(true, ordering: .releasing)
                    while !released.load(ordering: .acquiring) {}
                }
            }
            try await eventually("it runs") { reached.load(ordering: .acquiring) }
            let closing = Task { await pool.close() }
            try await eventually("new work is refused") {
                do {
                    try await pool.execute(.ingest, "SELECT 1")
                    return false
                } catch let error as PostgresError {
                    return error.kind == .connection
                }
            }
            released.store(true, ordering: .releasing)
            try await running.value
            await closing.value
        }
    }

    @Test func aServerThatIsAwayIsToldAtOnce() async throws {
        var configuration = PostgresConfiguration(url: "postgresql://nobody@127.0.0.1:1/none")
        configuration.interactive.connections = 2
        let pool = PostgresPool(configuration)
        for _ in 0..<20 {
            let error = try await failure { try await pool.execute(.interactive, "SELECT 1") }
            #expect(error.kind == .connection && error.isUnavailable && !error.outcomeUnknown)
        }
        await pool.close()
    }

    @Test func serializationFailuresAreRetriedOnlyWhenAskedFor() async throws {
        try await TestServer.withPool { pool in
            let attempts = Atomic(0)
            let fail: SQL = """
                DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '40001'; END $$
                """
            let once = try await failure {
                try await pool.transaction(.interactive) { transaction in
                    attempts.add(1, ordering: .relaxed)
                    _ = try transaction.execute(fail)
                }
            }
            #expect(once.sqlState == .serializationFailure && attempts.exchange(0, ordering: .relaxed) == 1)
            let answer = try await pool.transaction(.interactive, retries: .idempotent(attempts: 3)) { transaction in
                if attempts.add(1, ordering: .relaxed).newValue < 3 {
                    _ = try transaction.execute(fail)
                }
                return "done"
            }
            #expect(answer == "done" && attempts.exchange(0, ordering: .relaxed) == 3)
            let thrice = try await failure {
                try await pool.transaction(.interactive, retries: .idempotent(attempts: 3)) { transaction in
                    attempts.add(1, ordering: .relaxed)
                    _ = try transaction.execute(fail)
                }
            }
            #expect(thrice.sqlState == .serializationFailure && attempts.load(ordering: .relaxed) == 3)
        }
    }

    @Test func thePoolIsAServiceThatClosesOnGracefulShutdown() async throws {
        try await TestServer.withDatabase { url in
            let pool = PostgresPool(PostgresConfiguration(url: url))
            let service: any Service = pool
            let group = ServiceGroup(services: [service], logger: Logger(label: "test"))
            try await withThrowingTaskGroup { tasks in
                tasks.addTask { try await group.run() }
                try await eventually("every lane is warm") {
                    PostgresLane.allCases.allSatisfy { pool.statistics(of: $0).idle == 1 }
                }
                await group.triggerGracefulShutdown()
                try await tasks.waitForAll()
            }
            let error = try await failure { try await pool.execute(.interactive, "SELECT 1") }
            #expect(error.kind == .connection)
        }
    }
}
