import BillingCore
import TestSupport
import Testing

@Suite struct InstantTests {
    @Test(arguments: [
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000Z"),
        ("2026-11-23T08:31:00.123Z", "2026-11-23T08:31:00.123000Z"),
        ("2026-11-23t08:31:00.123456z", "2026-11-23T08:31:00.123456Z"),
        ("2026-11-23 08:31:00.1234569Z", "2026-11-23T08:31:00.123456Z"),
        ("2026-11-23T08:31:00+01:00", "2026-11-23T07:31:00.000000Z"),
        ("2026-12-31T23:31:00.5-05:30", "2027-01-01T05:01:00.500000Z"),
        ("2026-11-23T08:31:00-00:00", "2026-11-23T08:31:00.000000Z"),
        ("2026-11-23T08:31:00+23:59", "2026-11-22T08:32:00.000000Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000000Z"),
        ("2016-12-31T23:59:60.25Z", "2017-01-01T00:00:00.250000Z"),
        ("2017-01-01T00:59:60+01:00", "2017-01-01T00:00:00.000000Z"),
        ("2024-02-29T12:00:00Z", "2024-02-29T12:00:00.000000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z"),
        ("9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999999Z"),
        ("1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z"),
        ("1600-02-29T00:00:00." + String(repeating: "9", count: 400) + "Z", "1600-02-29T00:00:00.999999Z"),
    ])
    func `RFC 3339 is read with any offset`(text: String, expected: String) throws {
        #expect(try Instant(parsing: text).description == expected)
    }

    @Test(arguments: [
        "", "2026-11-23", "2026-11-23T08:31Z", "2026-11-23T08:31:00", "2026-11-23T08:31:00.Z", "2026-11-23T08:31:00.1",
        "2026-11-23T08:31:00+0100", "2026-11-23T08:31:00+01", "2026-11-23T08:31:00Zx", "2026-11-23T08:31:00 Z",
        "20261123T083100Z00000", "2026/11/23T08:31:00Z", "2026-11-23X08:31:00Z", "+2026-11-23T08:31:00Z",
        "2026-1-023T08:31:00Z", "-001-11-23T08:31:00Z", "2026-11-23T08:31:00,5Z", "1795422660",
        "2026-11-23T08:31:00+01:00Z",
        "２０２６-11-23T08:31:00Z",
    ])
    func `any other form is malformed`(text: String) {
        #expect(throws: InstantError.malformed) { try Instant(parsing: text) }
    }

    @Test(
        arguments: [
            ("2026-00-23T08:31:00Z", .invalidDate), ("2026-13-23T08:31:00Z", .invalidDate),
            ("2026-11-31T08:31:00Z", .invalidDate), ("2026-02-29T08:31:00Z", .invalidDate),
            ("1900-02-29T08:31:00Z", .invalidDate), ("2026-11-00T08:31:00Z", .invalidDate),
            ("2026-11-23T24:00:00Z", .invalidTime), ("2026-11-23T08:60:00Z", .invalidTime),
            ("2026-11-23T08:31:61Z", .invalidTime), ("2026-11-23T08:31:60Z", .invalidTime),
            ("2016-12-31T23:59:60+01:00", .invalidTime), ("2026-11-23T08:31:00+24:00", .invalidOffset),
            ("2026-11-23T08:31:00-00:60", .invalidOffset), ("0000-06-01T00:00:00Z", .outOfRange),
            ("0001-01-01T00:00:00+00:01", .outOfRange), ("9999-12-31T23:59:59-00:01", .outOfRange),
            ("9999-12-31T23:59:60Z", .outOfRange), ("0000-12-31T23:59:59-01:00", .outOfRange),
        ] as [(String, InstantError)]
    )
    func `an impossible instant says what is wrong`(text: String, error: InstantError) {
        #expect(throws: error) { try Instant(parsing: text) }
    }

    @Test func `printing and parsing give every instant back`() throws {
        var generator = SeededGenerator(seed: 30)
        let range = Instant.minimum.microseconds...Instant.maximum.microseconds
        for _ in 0..<5_000 {
            let instant = Instant(microseconds: Int64.random(in: range, using: &generator))
            #expect(try Instant(parsing: instant.description) == instant)
        }
        #expect(try Instant(parsing: Instant.minimum.description) == .minimum)
        #expect(try Instant(parsing: Instant.maximum.description) == .maximum)
    }

    @Test func `random bytes never trap`() {
        var generator = SeededGenerator(seed: 31)
        let template = Array("2016-12-31T23:59:60.123456+01:30".utf8)
        var refused = 0
        for _ in 0..<20_000 {
            var bytes = Array(template.prefix(Int.random(in: 0...template.count, using: &generator)))
            for _ in 0..<Int.random(in: 0...3, using: &generator) where !bytes.isEmpty {
                bytes[Int.random(in: bytes.indices, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
            }
            if bytes.withUnsafeBytes({ try? Instant(parsing: $0) }) == nil { refused += 1 }
        }
        #expect(refused > 0)
    }

    @Test func `arithmetic stops at the ends of time`() {
        #expect(Instant.maximum.adding(microseconds: 1) == .maximum)
        #expect(Instant.maximum.adding(microseconds: .max) == .maximum)
        #expect(Instant.minimum.adding(seconds: .min) == .minimum)
        #expect(Instant(seconds: .max) == .maximum && Instant(microseconds: .min) == .minimum)
        #expect(Instant(seconds: 1).adding(seconds: -2).microseconds == -1_000_000)
        #expect(Instant(seconds: 2).microseconds(since: Instant(seconds: 5)) == -3_000_000)
    }

    @Test func `an interval holds its start and not its end`() {
        let interval = Interval(start: Instant(seconds: 1), end: Instant(seconds: 3))
        #expect(interval.contains(Instant(seconds: 1)) && !interval.contains(Instant(seconds: 3)))
        #expect(interval.microseconds == 2_000_000)
        let other = Interval(start: Instant(seconds: 2), end: Instant(seconds: 9))
        #expect(interval.intersection(other) == Interval(start: Instant(seconds: 2), end: Instant(seconds: 3)))
        #expect(interval.intersection(Interval(start: Instant(seconds: 3), end: Instant(seconds: 9))) == nil)
    }
}
