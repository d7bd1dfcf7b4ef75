package import Postgres

/// What tests of races wait for.
extension TestServer {
    /// Waits until somebody has such a lock on a table of this server's database.
    /// - Returns: whether that came to be.
    package func comesToHave(_ mode: String, on table: String) async throws -> Bool {
        try await withPool { pool in
            try await eventually {
                let locks = try await pool.query(
                    .interactive,
                    """
                    SELECT count(*) FROM pg_locks
                    WHERE relation = \(table)::regclass AND mode = \(mode) AND granted
                        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                    """
                ) { row throws(PostgresError) in try row.next(Int64.self) }
                return locks != [0]
            }
        }
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
