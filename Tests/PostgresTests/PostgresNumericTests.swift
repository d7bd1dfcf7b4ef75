import Postgres
import TestSupport
import Testing

@Suite struct PostgresNumericTests {
    private static let bound: Int128 = (0..<38).reduce(1) { product, _ in product * 10 }

    /// Zero, the extremes, the neighbours of every power of ten, and random values of every length.
    private static func samples() -> [PostgresNumeric] {
        var generator = SeededGenerator(seed: 5)
        var values: [Int128] = [0, 1, -1, bound - 1, 1 - bound]
        var power: Int128 = 1
        for _ in 0..<38 {
            values += [power - 1, power, power + 1, -power, 1 - power, -power - 1].filter {
                $0.magnitude < bound.magnitude
            }
            for _ in 0..<40 {
                let value = Int128.random(in: 0...min(power * 10 - 1, bound - 1), using: &generator)
                values += [value, -value, value - value % 10_000]
            }
            power *= 10
            if power >= bound { break }
        }
        return values.map(PostgresNumeric.init)
    }

    /// The value in decimal, computed independently of the codec.
    private static func text(_ value: PostgresNumeric) -> String {
        let digits = String(value.unscaled.magnitude)
        let padded = String(repeating: "0", count: max(0, 13 - digits.count)) + digits
        let sign = value.unscaled < 0 ? "-" : ""
        return sign + padded.dropLast(12) + "." + padded.suffix(12)
    }

    @Test func everyValueIsExactBothWays() async throws {
        let values = Self.samples()
        try await TestServer.withPool { pool in
            let rows = try await pool.query(
                .worker,
                """
                SELECT sent, sent::text, spelled::numeric(38, 12), spelled::numeric, spelled::numeric * 1.0000
                FROM unnest(\(values), \(values.map(Self.text))) WITH ORDINALITY AS sample (sent, spelled, position)
                ORDER BY position
                """
            ) { row throws(PostgresError) in
                let returned = try row.next(PostgresNumeric.self)
                let text = try row.next(String.self)
                let decoded = [
                    returned, try row.next(PostgresNumeric.self), try row.next(PostgresNumeric.self),
                    try row.next(PostgresNumeric.self),
                ]
                return (text, decoded)
            }
            #expect(rows.count == values.count)
            for (value, row) in zip(values, rows) {
                #expect(row.0 == Self.text(value))
                #expect(row.1 == [value, value, value, value])
            }
        }
    }

    @Test func arraysWithNullsRoundTrip() async throws {
        let values = Self.samples().flatMap { [$0, nil] }
        try await TestServer.withPool { pool in
            let returned = try await pool.query(.worker, "SELECT \(values)") { row throws(PostgresError) in
                try row.next([PostgresNumeric?].self)
            }
            #expect(returned == [values])
        }
    }

    @Test(arguments: ["NaN", "Infinity", "-Infinity", "0.0000000000001", "1e30", "1e40", "1e1000"])
    func whatDoesNotFitIsADecodingError(_ text: String) async throws {
        try await TestServer.withPool { pool in
            let error = try await failure {
                _ = try await pool.query(.worker, "SELECT \(text)::numeric") { row throws(PostgresError) in
                    try row.next(PostgresNumeric.self)
                }
            }
            #expect(error.kind == .decoding)
        }
    }

    @Test func aColumnRefusesWhatItCannotHold() async throws {
        try await TestServer.withPool { pool in
            let error = try await failure {
                _ = try await pool.query(.worker, "SELECT \(PostgresNumeric(unscaled: Int128.max))::numeric(38, 12)") {
                    row throws(PostgresError) in try row.next(PostgresNumeric.self)
                }
            }
            #expect(error.sqlState == SQLState(rawValue: "22003"))
        }
    }
}
