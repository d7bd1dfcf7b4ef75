import Postgres
import TestSupport
import Testing

@Suite struct CodecTests {
    /// Sends the values as parameters and as one array, and returns them as they come back.
    private func roundTrip<T: PostgresEncodable & PostgresDecodable & Equatable>(_ values: [T]) async throws {
        try await TestServer.withPool { pool in
            let optional: [T?] = values.flatMap { [$0, nil] }
            let arrays = try await pool.transaction(.worker) { transaction in
                var single: [T] = []
                for start in stride(from: 0, to: values.count, by: 100) {
                    let chunk = values[start..<min(start + 100, values.count)]
                    single += try transaction.pipeline(chunk.map { "SELECT \($0)" }).flatMap {
                        try $0.map { row throws(PostgresError) in try row.next(T.self) }
                    }
                }
                let array = try transaction.first("SELECT \(values)") { row throws(PostgresError) in
                    try row.next([T].self)
                }
                let nullable = try transaction.first("SELECT \(optional), \(T?.none), \([T]())") {
                    row throws(PostgresError) in
                    (try row.next([T?].self), try row.nextOptional(T.self), try row.next([T].self))
                }
                let rows = try transaction.query("SELECT * FROM unnest(\(values))") { row throws(PostgresError) in
                    try row.next(T.self)
                }
                #expect(single == values)
                #expect(array == values)
                #expect(rows == values)
                return nullable
            }
            #expect(arrays?.0 == optional)
            #expect(arrays?.1 == nil && arrays?.2 == [])
        }
    }

    @Test func integersAndBooleansRoundTrip() async throws {
        var generator = SeededGenerator(seed: 1)
        try await roundTrip([true, false])
        try await roundTrip(
            [.min, -1, 0, 1, .max] + (0..<500).map { _ in Int16.random(in: .min ... .max, using: &generator) }
        )
        try await roundTrip(
            [.min, -1, 0, 1, .max] + (0..<500).map { _ in Int32.random(in: .min ... .max, using: &generator) }
        )
        try await roundTrip(
            [.min, -1, 0, 1, .max] + (0..<500).map { _ in Int64.random(in: .min ... .max, using: &generator) }
        )
        try await roundTrip([Int.min, 0, .max])
    }

    @Test func floatingPointNumbersRoundTripBitByBit() async throws {
        var generator = SeededGenerator(seed: 2)
        let random = (0..<500).map { _ in Double(bitPattern: generator.next()) }.filter { !$0.isNaN }
        try await roundTrip(
            [0, -0.0, .infinity, -.infinity, .leastNonzeroMagnitude, .greatestFiniteMagnitude] + random
        )
    }

    @Test func textAndBytesRoundTrip() async throws {
        var generator = SeededGenerator(seed: 3)
        let scalars: [Character] = ["a", "ä", "€", "🙂", "\u{301}", "'", "\"", "\\", "{", "}", ",", "\n", "\u{1}"]
        let texts = (0..<300).map { _ in
            String(
                (0..<Int.random(in: 0...40, using: &generator)).map { _ in
                    scalars[Int.random(in: 0..<scalars.count, using: &generator)]
                }
            )
        }
        try await roundTrip(["", "NULL", String(repeating: "x", count: 100_000)] + texts)
        let blobs = (0..<300).map { _ in
            PostgresBytes(
                bytes: (0..<Int.random(in: 0...40, using: &generator)).map { _ in
                    UInt8.random(in: 0...255, using: &generator)
                }
            )
        }
        try await roundTrip([PostgresBytes(bytes: [])] + blobs)
    }

    @Test func identifiersAndInstantsRoundTrip() async throws {
        var generator = SeededGenerator(seed: 4)
        try await roundTrip(
            [PostgresUUID(high: 0, low: 0), PostgresUUID(high: .max, low: .max)]
                + (0..<300).map { _ in PostgresUUID(high: generator.next(), low: generator.next()) }
        )
        let least: Int64 = -210_866_803_200_000_000
        let greatest: Int64 = 9_223_372_036_854_775_806
        try await roundTrip(
            [least, -1, 0, 1, 946_684_800_000_000, greatest].map(PostgresTimestamp.init)
                + (0..<300).map { _ in
                    PostgresTimestamp(microseconds: Int64.random(in: least...greatest, using: &generator))
                }
        )
    }

    @Test func instantsMeanWhatTheServerSays() async throws {
        try await TestServer.withPool { pool in
            let rows = try await pool.query(
                .worker,
                """
                SELECT '1970-01-01T00:00:00.000001Z'::timestamptz, \(PostgresTimestamp(microseconds: 0))::text,
                    \(PostgresUUID(high: 0x0123_4567_89AB_CDEF, low: 0x0011_2233_4455_6677))::text
                """
            ) { row throws(PostgresError) in
                (
                    try row.next(PostgresTimestamp.self).microseconds, try row.next(String.self),
                    try row.next(String.self)
                )
            }
            #expect(rows.first?.0 == 1)
            #expect(rows.first?.1 == "1970-01-01 00:00:00+00")
            #expect(rows.first?.2 == "01234567-89ab-cdef-0011-223344556677")
        }
    }

    @Test func instantsOutsideTheServersRangeAreRefused() async throws {
        try await TestServer.withPool { pool in
            for outside in [Int64.min, Int64.min + 1, -210_866_803_200_000_001] {
                let error = try await failure {
                    _ = try await pool.query(.worker, "SELECT \(PostgresTimestamp(microseconds: outside))") {
                        row throws(PostgresError) in try row.next(PostgresTimestamp.self)
                    }
                }
                #expect(error.sqlState == SQLState(rawValue: "22008"))
            }
            for infinite: SQL in ["SELECT 'infinity'::timestamptz", "SELECT '-infinity'::timestamptz"] {
                let error = try await failure {
                    _ = try await pool.query(.worker, infinite) { row throws(PostgresError) in
                        try row.next(PostgresTimestamp.self)
                    }
                }
                #expect(error.kind == .decoding)
            }
        }
    }

    @Test func jsonRoundTripsAsTheServerNormalisesIt() async throws {
        try await roundTrip(["null", "{}", "[1, 2.50]", "{\"a\": \"ä\"}", "\"\""].map(PostgresJSON.init))
        try await TestServer.withPool { pool in
            let texts = try await pool.query(
                .worker,
                "SELECT '{\"b\":1}'::json, \(PostgresJSON(text: "{\"b\":1}")) -> 'b'"
            ) {
                row throws(PostgresError) in
                [try row.next(PostgresJSON.self).text, try row.next(PostgresJSON.self).text]
            }
            #expect(texts == [["{\"b\":1}", "1"]])
        }
    }

    @Test func enumsAndNamesReadAsText() async throws {
        try await TestServer.withPool(setup: "CREATE TYPE mood AS ENUM ('sad', 'glad')") { pool in
            let words = try await pool.query(.worker, "SELECT 'glad'::mood, 'n'::name, 'v'::varchar, 'c'::char(2)") {
                row throws(PostgresError) in
                [
                    try row.next(String.self), try row.next(String.self), try row.next(String.self),
                    try row.next(String.self),
                ]
            }
            #expect(words == [["glad", "n", "v", "c "]])
        }
    }

    @Test func narrowIntegersReadAsWideOnes() async throws {
        try await TestServer.withPool { pool in
            let numbers = try await pool.query(.worker, "SELECT (-2)::int2, (-2)::int4, (-2)::int2") {
                row throws(PostgresError) in
                [try row.next(Int64.self), try row.next(Int64.self), Int64(try row.next(Int32.self))]
            }
            #expect(numbers == [[-2, -2, -2]])
        }
    }

    @Test func aFieldOfAnotherKindIsADecodingErrorThatNamesTheColumn() async throws {
        try await TestServer.withPool { pool in
            let wrongType = try await failure {
                _ = try await pool.query(.worker, "SELECT 'x' AS label") { row throws(PostgresError) in
                    try row.next(Int64.self)
                }
            }
            #expect(wrongType.kind == .decoding && wrongType.message.contains("label"))
            #expect(wrongType.statement == "SELECT 'x' AS label")
            let null = try await failure {
                _ = try await pool.query(.worker, "SELECT NULL::bigint") { row throws(PostgresError) in
                    try row.next(Int64.self)
                }
            }
            #expect(null.kind == .decoding && null.message.contains("NULL"))
            let narrow = try await failure {
                _ = try await pool.query(.worker, "SELECT 1::bigint") { row throws(PostgresError) in
                    try row.next(Int32.self)
                }
            }
            #expect(narrow.kind == .decoding)
            let missing = try await failure {
                _ = try await pool.query(.worker, "SELECT 1::bigint") { row throws(PostgresError) in
                    (try row.next(Int64.self), try row.next(Int64.self))
                }
            }
            #expect(missing.kind == .decoding)
            let nullElement = try await failure {
                _ = try await pool.query(.worker, "SELECT ARRAY[1, NULL]::bigint[]") { row throws(PostgresError) in
                    try row.next([Int64].self)
                }
            }
            #expect(nullElement.kind == .decoding)
            let twoDimensions = try await failure {
                _ = try await pool.query(.worker, "SELECT ARRAY[[1], [2]]::bigint[]") { row throws(PostgresError) in
                    try row.next([Int64].self)
                }
            }
            #expect(twoDimensions.kind == .decoding)
        }
    }

    @Test func aConvertibleTypeIsStoredAsItsRepresentation() async throws {
        try await roundTrip([Even(value: 0), Even(value: -8), Even(value: 1 << 40)])
        try await TestServer.withPool { pool in
            let error = try await failure {
                _ = try await pool.query(.worker, "SELECT 3::bigint") { row throws(PostgresError) in
                    try row.next(Even.self)
                }
            }
            #expect(error.kind == .decoding)
        }
    }
}

private struct Even: PostgresConvertible, Equatable {
    let value: Int64

    init(value: Int64) {
        self.value = value
    }

    init?(postgres: Int64) {
        guard postgres.isMultiple(of: 2) else { return nil }
        value = postgres
    }

    var postgres: Int64 { value }
}
