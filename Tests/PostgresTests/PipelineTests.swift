import Postgres
import Testing

@Suite(.timeLimit(.minutes(15))) struct PipelineTests {
    /// More than every buffer between the two sides holds, in both directions at once.
    @Test func manyMegabytesBothWaysDoNotDeadlock() async throws {
        try await TestServer.withPool { pool in
            let megabyte = String(repeating: "0123456789abcdef", count: 1 << 16)
            let lengths = try await pool.transaction(.ingest) { transaction in
                let results = try transaction.pipeline(
                    (0..<24).map { "SELECT \(megabyte), repeat(\("x"), \(Int32(1 << 20 + $0)))" }
                )
                return try results.flatMap { result throws(PostgresError) in
                    try result.map { row throws(PostgresError) in
                        [try row.next(String.self).utf8.count, try row.next(String.self).utf8.count]
                    }
                }
            }
            #expect(lengths.count == 24)
            #expect(lengths.allSatisfy { $0[0] == 1 << 20 })
        }
    }

    @Test func largeArraysTravelInOneStatement() async throws {
        try await TestServer.withPool { pool in
            let numbers = (0..<1_000_000).map { Int64($0) }
            let sums = try await pool.query(.ingest, "SELECT sum(n)::bigint, count(*) FROM unnest(\(numbers)) AS u (n)")
            {
                row throws(PostgresError) in [try row.next(Int64.self), try row.next(Int64.self)]
            }
            #expect(sums == [[499_999_500_000, 1_000_000]])
        }
    }

    @Test func aFailureInTheMiddleSkipsTheRestAndTheConnectionGoesOn() async throws {
        let setup = "CREATE TABLE entry (id bigint PRIMARY KEY)"
        try await TestServer.withPool(setup: setup, configure: { $0.ingest.connections = 1 }) { pool in
            for round in 0..<20 {
                let error = try await failure {
                    try await pool.transaction(.ingest) { transaction in
                        let blob = String(repeating: "y", count: 1 << 18)
                        var statements: [SQL] = (0..<20).map {
                            "INSERT INTO entry VALUES (\(Int64($0))) RETURNING \(blob)"
                        }
                        statements[round] = "SELECT \(Int64(round)) / 0"
                        try transaction.pipeline(statements)
                    }
                }
                #expect(error.sqlState == SQLState(rawValue: "22012"))
                let rows = try await pool.query(.ingest, "SELECT count(*) FROM entry") { row throws(PostgresError) in
                    try row.next(Int64.self)
                }
                #expect(rows == [0])
            }
        }
    }

    @Test func tooManyParametersAreRefusedBeforeAnythingIsSent() async throws {
        try await TestServer.withPool { pool in
            let values = SQL.joined((0..<65_536).map { "\(Int64($0))" }, separator: ", ")
            let error = try await failure { try await pool.execute(.ingest, "SELECT 1 WHERE 1 IN (\(values))") }
            #expect(error.kind == .server)
            let affected = try await pool.execute(.ingest, "SELECT 1")
            #expect(affected == 1)
        }
    }

    @Test func copyIsRefusedAndTheConnectionReplaced() async throws {
        try await TestServer.withPool(configure: { $0 = $0.asOwner() }) { pool in
            _ = try await failure { try await pool.execute(.ingest, "COPY (SELECT 1) TO STDOUT") }
            let affected = try await pool.execute(.ingest, "SELECT 1")
            #expect(affected == 1)
        }
    }
}
