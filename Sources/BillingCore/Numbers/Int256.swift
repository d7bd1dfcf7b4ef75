/// A signed 256-bit integer in two's complement, as far as `ExactAmount` needs one.
@usableFromInline
struct Int256: Sendable, Hashable {
    @usableFromInline let high: Int128
    @usableFromInline let low: UInt128

    @inlinable
    init(high: Int128, low: UInt128) {
        self.high = high
        self.low = low
    }

    /// The exact product of two 128-bit integers.
    @inlinable
    init(multiplying left: Int128, by right: Int128) {
        let product = left.multipliedFullWidth(by: right)
        self.init(high: product.high, low: product.low)
    }

    @inlinable var isNegative: Bool { high < 0 }

    @inlinable
    func addingReportingOverflow(_ other: Int256) -> (sum: Int256, overflow: Bool) {
        let (low, carry) = low.addingReportingOverflow(other.low)
        let (partial, first) = high.addingReportingOverflow(other.high)
        let (high, second) = partial.addingReportingOverflow(carry ? 1 : 0)
        return (Int256(high: high, low: low), first != second)
    }

    @inlinable
    func subtractingReportingOverflow(_ other: Int256) -> (difference: Int256, overflow: Bool) {
        let (low, borrow) = low.subtractingReportingOverflow(other.low)
        let (partial, first) = high.subtractingReportingOverflow(other.high)
        let (high, second) = partial.subtractingReportingOverflow(borrow ? 1 : 0)
        return (Int256(high: high, low: low), first != second)
    }

    @inlinable
    static func isOrdered(_ left: Int256, before right: Int256) -> Bool {
        left.high == right.high ? left.low < right.low : left.high < right.high
    }

    /// The absolute value, which always fits 256 unsigned bits.
    var magnitude: UInt256 {
        let bits = UInt256(high: UInt128(truncatingIfNeeded: high), low: low)
        return isNegative ? bits.twosComplement : bits
    }

    /// Nil when the signed value does not fit.
    init?(isNegative: Bool, magnitude: UInt256) {
        let bits = isNegative ? magnitude.twosComplement : magnitude
        let high = Int128(truncatingIfNeeded: bits.high)
        guard (high < 0) == isNegative || magnitude.isZero else { return nil }
        self.init(high: high, low: bits.low)
    }
}

/// An unsigned 256-bit integer: the magnitude on which division works.
struct UInt256: Sendable, Hashable {
    let high: UInt128
    let low: UInt128

    var isZero: Bool { high == 0 && low == 0 }

    var twosComplement: UInt256 {
        UInt256(high: ~high &+ (low == 0 ? 1 : 0), low: ~low &+ 1)
    }

    /// Quotient rounded toward zero, and the remainder. The divisor must not be zero.
    func quotientAndRemainder(dividingBy divisor: UInt64) -> (quotient: UInt256, remainder: UInt64) {
        var remainder: UInt64 = 0
        func divide(_ word: UInt64) -> UInt128 {
            let step = divisor.dividingFullWidth((remainder, word))
            remainder = step.remainder
            return UInt128(step.quotient)
        }
        let words = (
            divide(UInt64(truncatingIfNeeded: high >> 64)), divide(UInt64(truncatingIfNeeded: high)),
            divide(UInt64(truncatingIfNeeded: low >> 64)), divide(UInt64(truncatingIfNeeded: low))
        )
        return (UInt256(high: words.0 << 64 | words.1, low: words.2 << 64 | words.3), remainder)
    }

    func multipliedReportingOverflow(by factor: UInt64) -> (product: UInt256, overflow: Bool) {
        let lower = low.multipliedFullWidth(by: UInt128(factor))
        let (upper, first) = high.multipliedReportingOverflow(by: UInt128(factor))
        let (sum, second) = upper.addingReportingOverflow(lower.high)
        return (UInt256(high: sum, low: lower.low), first || second)
    }

    func addingReportingOverflow(_ other: UInt64) -> (sum: UInt256, overflow: Bool) {
        let (lower, carry) = low.addingReportingOverflow(UInt128(other))
        let (upper, overflow) = high.addingReportingOverflow(carry ? 1 : 0)
        return (UInt256(high: upper, low: lower), overflow)
    }
}
