import BillingCore
import TestSupport
import Testing

@Suite struct FixedDecimalTests {
    @Test(arguments: [
        ("0", "0"), ("-0", "0"), ("-0.0e5", "0"), ("1", "1"), ("-3", "-3"), ("12.50", "12.5"), ("1e3", "1000"),
        ("1E+3", "1000"), ("1.5e-3", "0.0015"), ("25e-1", "2.5"), ("123456789012345678", "123456789012345678"),
        ("1234567890123456789", "1234567890123456789"), ("-999999999999999999", "-999999999999999999"),
        ("0.00022500000000000002", "0.000225"), ("0.0000000000005", "0.000000000001"),
        ("-0.0000000000005", "-0.000000000001"), ("0.00000000000049999999", "0"), ("0.9999999999995", "1"),
        ("0.9999999999994999", "0.999999999999"), ("99999999999999999999999999", "99999999999999999999999999"),
        ("99999999999999999999999999.999999999999", "99999999999999999999999999.999999999999"),
        ("0e999999999999999999999999", "0"), ("1e-400", "0"), ("5e-13", "0.000000000001"), ("4e-13", "0"),
        ("1e25", "10000000000000000000000000"), ("0.000000000000000000001e21", "1"), ("100e-14", "0.000000000001"),
    ])
    func `a JSON number is read exactly, rounded half away from zero`(text: String, expected: String) throws {
        #expect(try FixedDecimal(parsing: text).description == expected)
    }

    @Test(arguments: [
        "", "-", "+1", ".", ".5", "1.", "01", "-01", "00", "1e", "1e+", "1.e3", "1.5e-", "0x10", "1,5", " 1", "1 ",
        "1_0",
        "NaN", "Infinity", "--1", "1-", "1e1.5", "１", "12a", "1.2.3", "e5", "000000000000000001",
    ])
    func `any other text is malformed`(text: String) {
        #expect(throws: DecimalError.malformed) { try FixedDecimal(parsing: text) }
    }

    @Test(arguments: [
        "1e26", "-1e26", "1e400", "1e999999999999999999999999999999", "100000000000000000000000000",
        "99999999999999999999999999.9999999999995", "-99999999999999999999999999.9999999999995",
        "170141183460469231731687303715884105728", String(repeating: "9", count: 400),
    ])
    func `a magnitude of ten to the 26 or more is out of range`(text: String) {
        #expect(throws: DecimalError.outOfRange) { try FixedDecimal(parsing: text) }
    }

    @Test func `hundreds of digits are read exactly`() throws {
        let zeros = String(repeating: "0", count: 398)
        #expect(try FixedDecimal(parsing: "0." + zeros + "1e399") == .one)
        #expect(try FixedDecimal(parsing: "1" + zeros + "e-398") == .one)
        #expect(try FixedDecimal(parsing: "0." + String(repeating: "3", count: 400)).description == "0.333333333333")
        #expect(try FixedDecimal(parsing: "0.0000000000004" + String(repeating: "9", count: 400)) == .zero)
    }

    @Test func `printing and parsing give every value back`() throws {
        var generator = SeededGenerator(seed: 1)
        for _ in 0..<5_000 {
            let value = try FixedDecimal(validating: generator.unscaledDecimal())
            #expect(try FixedDecimal(parsing: value.description) == value)
            #expect(try FixedDecimal(parsing: value.fixedDescription) == value)
        }
    }

    @Test func `any cut of the digits by a point and an exponent reads as the same value`() throws {
        var generator = SeededGenerator(seed: 2)
        for _ in 0..<5_000 {
            let unscaled = generator.unscaledDecimal()
            let digits = String(unscaled.magnitude)
            let cut = Int.random(in: 1...digits.count, using: &generator)
            let fraction = digits.dropFirst(cut)
            let text =
                (unscaled < 0 ? "-" : "") + digits.prefix(cut) + (fraction.isEmpty ? "" : "." + fraction)
                + "e\(digits.count - cut - 12)"
            #expect(try FixedDecimal(parsing: text).unscaled == unscaled, "\(text)")
        }
    }

    @Test func `rounding of long fractions agrees with schoolbook arithmetic`() throws {
        var generator = SeededGenerator(seed: 3)
        for _ in 0..<2_000 {
            let extra = Int.random(in: 0...30, using: &generator)
            let kept = Int.random(in: 1...20, using: &generator)
            var digits = String(Int.random(in: 1...9, using: &generator))
            for _ in 1..<kept + 12 + extra { digits += String(Int.random(in: 0...9, using: &generator)) }
            let text = "-" + digits.prefix(kept) + "." + digits.dropFirst(kept)
            let expected = NaiveInteger("-" + digits).roundedOff(digits: extra)
            #expect(try NaiveInteger(FixedDecimal(parsing: text).unscaled) == expected, "\(text)")
        }
    }

    @Test func `random bytes never trap`() {
        var generator = SeededGenerator(seed: 4)
        let alphabet = Array("0123456789+-.eE ".utf8)
        var accepted = 0
        for _ in 0..<20_000 {
            let bytes = (0..<Int.random(in: 0...24, using: &generator)).map { _ in
                alphabet[Int.random(in: alphabet.indices, using: &generator)]
            }
            let value = bytes.withUnsafeBytes { try? FixedDecimal(parsing: $0) }
            if let value {
                accepted += 1
                #expect(value.magnitude.unscaled.magnitude < FixedDecimal.unscaledLimit)
            }
        }
        #expect(accepted > 0)
    }

    @Test func `fixed text has all twelve digits`() throws {
        #expect(FixedDecimal(20).fixedDescription == "20.000000000000")
        #expect(FixedDecimal.zero.fixedDescription == "0.000000000000")
        #expect(try FixedDecimal(parsing: "-0.5").fixedDescription == "-0.500000000000")
    }

    @Test func `every Int64 is in range`() {
        #expect(FixedDecimal(.max).description == String(Int64.max))
        #expect(FixedDecimal(.min).description == String(Int64.min))
    }

    @Test func `sums and differences are exact, and checked at the bound`() throws {
        let largest = try FixedDecimal(validating: Int128(FixedDecimal.unscaledLimit) - 1)
        let smallest = try FixedDecimal(validating: 1)
        #expect(throws: DecimalError.outOfRange) { try largest.adding(smallest) }
        #expect(throws: DecimalError.outOfRange) { try largest.adding(largest) }
        #expect(throws: DecimalError.outOfRange) { try largest.negated.subtracting(largest) }
        #expect(throws: DecimalError.outOfRange) { try FixedDecimal(validating: .min) }
        #expect(try largest.subtracting(largest) == .zero)
        #expect(try largest.adding(smallest.negated).adding(smallest) == largest)
        #expect(largest.negated < largest && largest.negated.magnitude == largest && largest.negated.isNegative)
    }
}
