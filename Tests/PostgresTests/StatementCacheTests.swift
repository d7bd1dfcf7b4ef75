import Postgres
import Testing

@Suite struct StatementCacheTests {
    private static func few(_ configuration: inout PostgresConfiguration) {
        configuration.interactive.connections = 1
        configuration.preparedStatementLimit = 3
    }

    private func prepared(_ pool: PostgresPool) async throws -> [String] {
        try await pool.query(
            .interactive,
            "SELECT statement FROM pg_prepared_statements WHERE name LIKE 's%' ORDER BY prepare_time, name"
        ) { row throws(PostgresError) in try row.next(String.self) }
    }

    @Test func theStatementUnusedForLongestIsDropped() async throws {
        try await TestServer.withPool(configure: Self.few) { pool in
            try await pool.execute(.interactive, "SELECT 1")
            try await pool.execute(.interactive, "SELECT 2")
            try await pool.execute(.interactive, "SELECT 1")
            let statements = try await prepared(pool)
            #expect(Set(statements.prefix(2)) == ["SELECT 1", "SELECT 2"] && statements.count == 3)
            try await pool.execute(.interactive, "SELECT 3")
            let later = try await prepared(pool)
            #expect(later.count == 3 && later.contains("SELECT 1") && !later.contains("SELECT 2"))
        }
    }

    @Test func oneTransactionMayUseMoreStatementsThanAreKept() async throws {
        try await TestServer.withPool(configure: Self.few) { pool in
            let numbers = try await pool.transaction(.interactive) { transaction in
                let fragments: [SQL] = ["SELECT 1::bigint", "SELECT 2::bigint", "SELECT 3::bigint", "SELECT 4::bigint"]
                let results = try transaction.pipeline(fragments + fragments + fragments.reversed())
                return try results.flatMap { result throws(PostgresError) in
                    try result.map { row throws(PostgresError) in try row.next(Int64.self) }
                }
            }
            #expect(numbers == [1, 2, 3, 4, 1, 2, 3, 4, 4, 3, 2, 1])
            let count = try await prepared(pool).count
            #expect(count == 3)
        }
    }

    @Test func aStatementSkippedBecauseAnotherFailedIsPreparedNextTime() async throws {
        try await TestServer.withPool(configure: Self.few) { pool in
            for _ in 0..<3 {
                _ = try await failure {
                    try await pool.transaction(.interactive) { transaction in
                        _ = try transaction.pipeline(["SELECT 1/0", "SELECT 'later'", "SELECT 'much later'"])
                    }
                }
            }
            try await pool.execute(.interactive, "SELECT 'later'")
            let statements = try await prepared(pool)
            #expect(statements.contains("SELECT 'later'") && !statements.contains("SELECT 'much later'"))
        }
    }

    @Test func aDeallocationThatFailedIsMadeUpFor() async throws {
        try await TestServer.withPool(configure: Self.few) { pool in
            for number in 0..<12 {
                // The failure comes before the deallocation that the next statement makes necessary.
                let texts: [SQL] = ["SELECT 1", "SELECT 2", "SELECT 3", "SELECT 4", "SELECT 5"]
                _ = try await failure {
                    try await pool.transaction(.interactive) { transaction in
                        _ = try transaction.pipeline(["SELECT 1/0", texts[number % 5], texts[(number + 1) % 5]])
                    }
                }
                try await pool.execute(.interactive, texts[number % 5])
            }
            let count = try await prepared(pool).count
            #expect(count <= 4)
        }
    }

    @Test func theSameTextWithOtherTypesIsAnotherStatement() async throws {
        try await TestServer.withPool(configure: Self.few) { pool in
            let text = try await pool.query(.interactive, "SELECT \("1")") { row throws(PostgresError) in
                try row.next(String.self)
            }
            let number = try await pool.query(.interactive, "SELECT \(Int64(1))") { row throws(PostgresError) in
                try row.next(Int64.self)
            }
            #expect(text == ["1"] && number == [1])
        }
    }

    @Test func aPlanThatWentStaleIsMadeAnewOnTheSecondTry() async throws {
        let setup = "CREATE TABLE entry (id bigint)"
        try await TestServer.withPool(
            setup: setup,
            configure: {
                Self.few(&$0); $0 = $0.asOwner()
            }
        ) { pool in
            let star: SQL = "SELECT * FROM entry"
            try await pool.execute(.interactive, star)
            try await pool.execute(.worker, "ALTER TABLE entry ADD COLUMN note text")
            let error = try await failure { try await pool.execute(.interactive, star) }
            #expect(error.isRetryable)
            let affected = try await pool.execute(.interactive, star)
            #expect(affected == 0)
            try await pool.execute(.worker, "ALTER TABLE entry ADD COLUMN more text")
            try await pool.execute(.interactive, retries: .idempotent(attempts: 2), star)
        }
    }
}
