import BillingCore
import TestSupport
import Testing

@Suite struct ProrationTests {
    private func interval(_ start: Int64, _ end: Int64) -> Interval {
        Interval(start: Instant(seconds: start), end: Instant(seconds: end))
    }

    @Test func `the fraction is elapsed time in lowest terms`() {
        let proration = Proration(of: interval(0, 2_592_000), within: interval(864_000, .max))
        #expect(proration.numerator == 2 && proration.denominator == 3)
    }

    @Test func `all or nothing of a period is exact`() throws {
        let period = interval(100, 200)
        #expect(Proration(of: period, within: interval(0, 1_000)).isWhole)
        #expect(Proration(of: period, within: interval(200, 1_000)).isNothing)
        #expect(Proration(of: interval(200, 200), within: .allTime).isNothing)
        #expect(Proration.whole.isWhole)
        let fee = try FixedDecimal(parsing: "19.99")
        #expect(try Proration(of: period, within: .allTime).amount(of: fee) == ExactAmount(fee))
    }

    @Test func `a half cent of the exact fraction rounds up, anything less does not`() throws {
        // 0.01 x 1/2 is half a cent; one microsecond less of a long period is below it.
        let fee = try FixedDecimal(parsing: "0.01")
        let period = Interval(start: Instant(microseconds: 0), end: Instant(microseconds: 31_622_400_000_000))
        let half = Interval(start: .minimum, end: Instant(microseconds: 15_811_200_000_000))
        let less = Interval(start: .minimum, end: Instant(microseconds: 15_811_199_999_999))
        #expect(try Proration(of: period, within: half).amount(of: fee).rounded(toDigits: 2) == fee)
        #expect(try Proration(of: period, within: less).amount(of: fee).rounded(toDigits: 2) == .zero)
    }

    @Test func `the parts of a split period add up to the fee but for the digits cut off`() throws {
        var generator = SeededGenerator(seed: 80)
        let tolerance = try FixedDecimal(validating: 1).multiplied(by: FixedDecimal(validating: 1))
        for _ in 0..<3_000 {
            let fee = try FixedDecimal(validating: Int128(Int64.random(in: 0...(.max), using: &generator)))
            let end = Int64.random(in: 2...31_622_400, using: &generator)
            let cut = Int64.random(in: 0...end, using: &generator)
            let first = try Proration(of: interval(0, end), within: interval(0, cut)).amount(of: fee)
            let second = try Proration(of: interval(0, end), within: interval(cut, end)).amount(of: fee)
            let missing = try ExactAmount(fee).subtracting(first.adding(second))
            #expect(!missing.isNegative && missing <= tolerance)
        }
    }
}
