import Postgres
import Testing

@Suite struct SQLTests {
    @Test func interpolationBinds() {
        let hostile = "'; DROP TABLE tenant; --"
        let statement: SQL = "SELECT * FROM tenant WHERE key = \(hostile) AND id = \(Int64(1))"
        #expect(statement.text == "SELECT * FROM tenant WHERE key = $1 AND id = $2")
    }

    @Test func fragmentsAreRenumberedHoweverDeepTheyNest() {
        let inner: SQL = "b = \(Int64(2)) OR c = \("three")"
        let middle: SQL = "(\(inner)) AND d = \(Int64(4))"
        let outer: SQL = "SELECT a FROM t WHERE a = \(Int64(1)) AND \(middle) AND e = \(Int64(5)) AND \(inner)"
        #expect(
            outer.text
                == "SELECT a FROM t WHERE a = $1 AND (b = $2 OR c = $3) AND d = $4 AND e = $5 AND b = $6 OR c = $7"
        )
    }

    /// The first one is taken over as it stands, the others are not.
    @Test func whatFollowsTheFirstFragmentIsNumberedAndPlacedBehindIt() async throws {
        let first: SQL = "SELECT \(Int64(1)) AS a"
        let deeper: SQL = "WITH one AS (\(first)) SELECT a + \(Int64(2))0 AS b FROM one"
        let statement: SQL = "WITH two AS (\(deeper)) SELECT b + \(Int64(300)), \(first) FROM two"
        #expect(
            statement.text == "WITH two AS (WITH one AS (SELECT $1 AS a) SELECT a + $2 0 AS b FROM one) "
                + "SELECT b + $3, SELECT $4 AS a FROM two"
        )
        #expect(("SELECT\("\(Int64(1))::bigint" as SQL)" as SQL).text == "SELECT $1::bigint")
        let sum: SQL = "WITH one AS (\(first)) SELECT a + \(Int64(20)) + \(Int64(300)) FROM one"
        try await TestServer.withPool { pool in
            let sums = try await pool.query(.worker, sum) { row throws(PostgresError) in try row.next(Int64.self) }
            #expect(sums == [321])
        }
    }

    @Test func joinedFragmentsKeepTheirParameters() {
        let conditions: [SQL] = ["a = \(Int64(1))", "TRUE", "b = ANY(\([Int64(2)]))"]
        #expect(SQL.joined(conditions, separator: " AND ").text == "a = $1 AND TRUE AND b = ANY($2)")
        #expect(SQL.joined([], separator: ", ").text == "")
        #expect(SQL.joined(["\(Int64(1))", "\(Int64(2))"], separator: " + \(Int64(9)) + ").text == "$1 + $2 + $3")
    }

    @Test func aPlaceholderNeverMergesWithItsNeighbours() {
        #expect(("LIMIT \(Int64(1))0" as SQL).text == "LIMIT $1 0")
        #expect(("SELECT\(Int64(1))\(Int64(2))::text" as SQL).text == "SELECT $1 $2::text")
        let digit: SQL = "0"
        #expect(("\(Int64(1))\(digit)" as SQL).text == "$1 0")
    }

    @Test func nestedFragmentsBindTheirOwnValues() async throws {
        let one: SQL = "\(Int64(1)) + \(Int64?.none)"
        let sum: SQL = "SELECT \("first"), coalesce(\(one), \(Int64(7))), \([Int64(3), 4]), \("last")"
        try await TestServer.withPool { pool in
            let rows = try await pool.query(.worker, sum) { row throws(PostgresError) in
                let first = try row.next(String.self)
                let number = try row.next(Int64.self)
                let array = try row.next([Int64].self)
                return "\(first) \(number) \(array) \(try row.next(String.self))"
            }
            #expect(rows == ["first 7 [3, 4] last"])
        }
    }

    @Test func aStatementMayBeUsedAgainAndExtended() async throws {
        let base: SQL = "SELECT \("same")"
        let extended: SQL = "\(base), \(Int64(2))"
        try await TestServer.withPool { pool in
            for statement in [base, extended, base] {
                let words = try await pool.query(.worker, statement) { row throws(PostgresError) in
                    try row.next(String.self)
                }
                #expect(words == ["same"])
            }
        }
    }
}
