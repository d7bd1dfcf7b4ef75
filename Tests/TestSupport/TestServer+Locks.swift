@testable package import Postgres

extension PostgresPool {
    /// Locks a table against everybody until the task is cancelled.
    package func holdTable(_ table: String, lane: PostgresLane = .worker) async throws {
        try await hold(SQL(trusted: "LOCK TABLE \(table) IN ACCESS EXCLUSIVE MODE"), lane: lane)
    }

    /// Keeps what a statement locks until the task is cancelled.
    /// - Parameter locked: is called when it has it.
    package func hold(
        _ statement: SQL,
        lane: PostgresLane = .worker,
        locked: @Sendable @escaping () -> Void = {}
    ) async throws {
        try await transaction(lane) { transaction in
            try transaction.execute(statement)
            locked()
            // Longer than one statement may take, and than a loaded machine takes for what is done meanwhile.
            for _ in 1...3_000 { try transaction.execute("SELECT pg_sleep(0.1)") }
        }
    }

    /// Somebody keeps what a statement locks until the body has its answers.
    package func whileHeld(
        _ statement: SQL,
        lane: PostgresLane = .worker,
        _ body: () async throws -> Void
    ) async throws {
        let (locked, lock) = AsyncStream.makeStream(of: Void.self)
        try await withThrowingTaskGroup(of: Void.self) { group in
            // Ends by being cancelled.
            group.addTask { [self] in
                defer { lock.finish() }
                do {
                    try await hold(statement, lane: lane) { lock.yield() }
                } catch  where Task.isCancelled {}
            }
            if await locked.contains(where: { true }) {
                try await body()
                group.cancelAll()
            }
            // Throws why nothing was locked.
            try await group.waitForAll()
        }
    }

    /// How many locks on a table of its database somebody has, or waits for.
    /// - Parameters:
    ///   - mode: of which kind; nil for all.
    ///   - lane: where it is asked, for who counts what another lane does.
    package func locks(
        _ mode: String? = nil,
        on table: String,
        granted: Bool = true,
        lane: PostgresLane = .interactive
    ) async throws -> Int64 {
        let counts = try await query(
            lane,
            """
            SELECT count(*) FROM pg_locks
            WHERE relation = \(table)::regclass AND granted = \(granted)
                AND (\(mode)::text IS NULL OR mode = \(mode)::text)
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            """
        ) { row throws(PostgresError) in try row.next(Int64.self) }
        return counts.first ?? 0
    }
}

/// What tests of races wait for.
extension TestServer {
    /// Somebody locks a table until the body has its answers.
    package func whileLocked(_ table: String, _ body: () async throws -> Void) async throws {
        try await whileLocked(by: SQL(trusted: "LOCK TABLE \(table) IN ACCESS EXCLUSIVE MODE"), body)
    }

    /// Somebody locks what a statement does until the body has its answers.
    package func whileLocked(by statement: SQL, _ body: () async throws -> Void) async throws {
        try await withPool { pool in try await pool.whileHeld(statement, body) }
    }

    /// Work that inserts into a table waits to be committed until the body has its answers, however long that takes:
    /// for locks usage waits briefly, and is counted anew.
    /// - Parameter check: is told whether the work has come to wait, before the body runs.
    package func whileCommitWaits(
        afterInsertsInto table: String,
        of work: @escaping @Sendable () async throws -> Void,
        check: (Bool) -> Void,
        _ body: () async throws -> Void
    ) async throws {
        try await letCommitsWait(afterInsertsInto: table)
        var working: Task<Void, any Error>?
        defer { working?.cancel() }
        try await whileLocked("slow_commit") {
            working = Task { try await work() }
            check(try await comesToWait(on: "slow_commit"))
            try await body()
        }
        try await working?.value
    }

    /// From now on a transaction that has inserted into a table is not committed while `slow_commit` is locked, however
    /// long it waits for locks otherwise.
    package func letCommitsWait(afterInsertsInto table: String) async throws {
        try await database.run(
            """
            CREATE TABLE slow_commit ();
            GRANT ALL ON slow_commit TO PUBLIC;
            CREATE FUNCTION wait_to_commit() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 AS $$
            BEGIN PERFORM FROM slow_commit; RETURN NULL; END
            $$;
            CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON \(table) DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION wait_to_commit()
            """
        )
    }

    /// Waits until somebody has such a lock on a table of this server's database.
    /// - Returns: whether that came to be.
    package func comesToHave(_ mode: String, on table: String) async throws -> Bool {
        try await withPool { pool in try await eventually { try await pool.locks(mode, on: table) != 0 } }
    }

    /// Waits until somebody waits for such a lock on a table of this server's database; nil for any.
    /// - Returns: whether that came to be.
    package func comesToWait(for mode: String? = nil, on table: String) async throws -> Bool {
        try await withPool { pool in
            try await eventually { try await pool.locks(mode, on: table, granted: false) != 0 }
        }
    }

    /// Waits until somebody waits for another's transaction to end, as for a row that it has locked, in this server's
    /// database.
    /// - Returns: whether that came to be.
    package func somebodyWaitsForAnother() async throws -> Bool {
        let waits: SQL = """
            SELECT ''
            FROM pg_locks
            JOIN pg_stat_activity USING (pid)
            WHERE datname = current_database() AND locktype = 'transactionid' AND NOT granted
            """
        return try await eventually { try await !column(waits).isEmpty }
    }

    /// A statement that ends when somebody waits for a lock in this server's database, or after a while.
    package static let untilSomebodyWaits: SQL = """
        DO $$ BEGIN
            FOR look IN 1..3000 LOOP
                EXIT WHEN EXISTS (
                    SELECT FROM pg_locks AS waiting
                    JOIN pg_locks AS held USING (pid)
                    WHERE NOT waiting.granted
                        AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                );
                PERFORM pg_sleep(0.01);
            END LOOP;
        END $$
        """
}
