import BillingCore
import TestSupport
import Testing

@Suite struct ExactAmountTests {
    private func decimal(_ text: String) throws -> FixedDecimal { try FixedDecimal(parsing: text) }

    /// The unscaled integer of an amount, from its printed form.
    private func unscaled(_ amount: ExactAmount) -> NaiveInteger {
        let parts = amount.description.split(separator: ".")
        let fraction = parts.count > 1 ? String(parts[1]) : ""
        return NaiveInteger(parts[0] + fraction + String(repeating: "0", count: 24 - fraction.count))
    }

    @Test func `products agree with schoolbook multiplication`() throws {
        var generator = SeededGenerator(seed: 10)
        for _ in 0..<3_000 {
            let left = generator.unscaledDecimal()
            let right = generator.unscaledDecimal()
            let product = try FixedDecimal(validating: left).multiplied(by: FixedDecimal(validating: right))
            #expect(unscaled(product) == NaiveInteger(left) * NaiveInteger(right), "\(left) x \(right)")
        }
    }

    @Test func `the largest factors multiply without overflow`() throws {
        let largest = try FixedDecimal(validating: Int128(FixedDecimal.unscaledLimit) - 1)
        let nines = NaiveInteger(String(repeating: "9", count: 38))
        #expect(unscaled(largest.multiplied(by: largest)) == nines * nines)
        #expect(unscaled(largest.negated.multiplied(by: largest)) == (nines * nines).negated)
        #expect(throws: DecimalError.outOfRange) {
            try largest.multiplied(by: largest).rounded(toDigits: 0)
        }
    }

    @Test func `sums and differences agree with schoolbook arithmetic`() throws {
        var generator = SeededGenerator(seed: 11)
        for _ in 0..<3_000 {
            let factors = (0..<4).map { _ in generator.unscaledDecimal() }
            let values = try factors.map { try FixedDecimal(validating: $0) }
            let left = values[0].multiplied(by: values[1])
            let right = values[2].multiplied(by: values[3])
            let expectedLeft = NaiveInteger(factors[0]) * NaiveInteger(factors[1])
            let expectedRight = NaiveInteger(factors[2]) * NaiveInteger(factors[3])
            #expect(try unscaled(left.adding(right)) == expectedLeft + expectedRight)
            #expect(try unscaled(left.subtracting(right)) == expectedLeft + expectedRight.negated)
            #expect(try unscaled(left.negated()) == expectedLeft.negated)
            #expect((left < right) == (expectedLeft + expectedRight.negated).isNegative)
        }
    }

    @Test func `sums beyond 256 bits are out of range`() throws {
        let largest = try FixedDecimal(validating: Int128(FixedDecimal.unscaledLimit) - 1)
        var total = largest.multiplied(by: largest)
        for _ in 0..<4 { total = try total.adding(largest.multiplied(by: largest)) }
        #expect(throws: DecimalError.outOfRange) { try total.adding(largest.multiplied(by: largest)) }
        #expect(throws: DecimalError.outOfRange) {
            try total.negated().subtracting(largest.multiplied(by: largest))
        }
    }

    @Test func `rounding agrees with schoolbook arithmetic at every number of digits`() throws {
        var generator = SeededGenerator(seed: 12)
        for index in 0..<3_000 {
            let left = generator.unscaledDecimal() / 10_000_000_000_000
            let right = generator.unscaledDecimal() / 10_000_000_000_000
            let amount = try FixedDecimal(validating: left).multiplied(by: FixedDecimal(validating: right))
            let digits = index % 13
            let expected = (NaiveInteger(left) * NaiveInteger(right)).roundedOff(digits: 24 - digits)
            let scale = NaiveInteger("1" + String(repeating: "0", count: 12 - digits))
            #expect(try NaiveInteger(amount.rounded(toDigits: digits).unscaled) == expected * scale)
        }
    }

    @Test(arguments: [
        ("0.005", 2, "0.01"), ("-0.005", 2, "-0.01"), ("0.004999999999", 2, "0"), ("0.5", 0, "1"), ("-0.5", 0, "-1"),
        ("0.499999999999", 0, "0"), ("1.005", 2, "1.01"), ("2.675", 2, "2.68"), ("-0.004", 2, "0"),
        ("10.0005", 3, "10.001"),
        ("99999999999999999999999999.999999999999", 12, "99999999999999999999999999.999999999999"),
    ])
    func `half rounds away from zero`(value: String, digits: Int, expected: String) throws {
        #expect(try ExactAmount(decimal(value)).rounded(toDigits: digits).description == expected)
    }

    @Test func `rounding up to ten to the 26 is out of range`() throws {
        let value = try ExactAmount(decimal("99999999999999999999999999.5"))
        #expect(throws: DecimalError.outOfRange) { try value.rounded(toDigits: 0) }
    }

    @Test func `fractions agree with schoolbook division toward zero`() throws {
        var generator = SeededGenerator(seed: 13)
        for _ in 0..<2_000 {
            let factors = (generator.unscaledDecimal(), generator.unscaledDecimal())
            let denominator =
                Int64.random(in: 1...(.max), using: &generator) >> Int64.random(in: 0...62, using: &generator)
            guard denominator > 0 else { continue }
            let numerator = Int64.random(in: 0...denominator, using: &generator)
            let amount = try FixedDecimal(validating: factors.0).multiplied(by: FixedDecimal(validating: factors.1))
            let result = try amount.multiplied(byNumerator: numerator, denominator: denominator)
            let product = NaiveInteger(factors.0) * NaiveInteger(factors.1) * NaiveInteger(Int128(numerator))
            #expect(unscaled(result) == product.divided(by: NaiveInteger(Int128(denominator))))
        }
    }

    @Test func `rounding a fraction is rounding its exact value once`() throws {
        var generator = SeededGenerator(seed: 14)
        for _ in 0..<2_000 {
            let denominator = Int64.random(in: 1...2_000, using: &generator)
            let numerator = Int64.random(in: 0...denominator, using: &generator)
            let cents = Int64.random(in: -100_000...100_000, using: &generator)
            let fee = try FixedDecimal(validating: Int128(cents) * 10_000_000_000)
            let rounded = try ExactAmount(fee).multiplied(byNumerator: numerator, denominator: denominator)
                .rounded(toDigits: 2)
            // round(c n / d) half away from zero is floor((2 |c| n + d) / 2 d), signed.
            let magnitude = (2 * cents.magnitude * UInt64(numerator) + UInt64(denominator)) / (2 * UInt64(denominator))
            #expect(rounded.magnitude.unscaled == Int128(magnitude) * 10_000_000_000)
            #expect(rounded.isNegative == (cents < 0 && magnitude > 0))
        }
    }

    @Test func `a fraction above one is exact or out of range`() throws {
        #expect(try ExactAmount(.one).multiplied(byNumerator: 7, denominator: 2).description == "3.5")
        let largest = try FixedDecimal(validating: Int128(FixedDecimal.unscaledLimit) - 1)
        #expect(throws: DecimalError.outOfRange) {
            try largest.multiplied(by: largest).multiplied(byNumerator: 6, denominator: 1)
        }
        #expect(throws: DecimalError.outOfRange) {
            try largest.multiplied(by: largest).multiplied(byNumerator: .max, denominator: 1)
        }
    }

    @Test func `text is exact, fixed text has twelve digits for display`() throws {
        let product = try decimal("0.000000000001").multiplied(by: decimal("-0.000000000001"))
        #expect(product.description == "-0.000000000000000000000001")
        #expect(product.fixedDescription == "0.000000000000")
        #expect(try decimal("1500").multiplied(by: decimal("0.000002")).description == "0.003")
        #expect(try decimal("1500").multiplied(by: decimal("0.000002")).fixedDescription == "0.003000000000")
        #expect(try decimal("0.1").multiplied(by: decimal("0.000000000005")).fixedDescription == "0.000000000001")
        #expect(ExactAmount.zero.description == "0" && ExactAmount.zero.isZero && !ExactAmount.zero.isNegative)
    }
}
