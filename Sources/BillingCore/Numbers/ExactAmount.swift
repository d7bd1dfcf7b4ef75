/// An amount of money before rounding: a decimal with 24 fractional digits on a signed 256-bit integer.
///
/// The product of two `FixedDecimal`s is exact and always fits, so a charge is rounded once, from its exact value, when
/// it becomes an invoice line. An unrounded amount is shown, but never rounded twice.
@usableFromInline
package struct ExactAmount: Sendable, Hashable {
    /// The value times 10^24.
    @usableFromInline let unscaled: Int256

    /// The number of fractional digits every value carries.
    package static let fractionalDigits = 24

    package static let zero = ExactAmount(unscaled: Int256(high: 0, low: 0))

    @inlinable
    init(unscaled: Int256) {
        self.unscaled = unscaled
    }

    /// The same value with 24 fractional digits.
    @inlinable
    package init(_ decimal: FixedDecimal) {
        self.init(unscaled: Int256(multiplying: decimal.unscaled, by: FixedDecimal.unscaledOne))
    }
}

extension ExactAmount: Comparable {
    @inlinable
    package static func < (left: ExactAmount, right: ExactAmount) -> Bool {
        Int256.isOrdered(left.unscaled, before: right.unscaled)
    }
}

extension ExactAmount {
    @inlinable package var isNegative: Bool { unscaled.isNegative }
    @inlinable package var isZero: Bool { unscaled.high == 0 && unscaled.low == 0 }

    /// The exact sum. Throws `.outOfRange` when it does not fit 256 bits (about 5.7 x 10^52).
    @inlinable
    package func adding(_ other: ExactAmount) throws(DecimalError) -> ExactAmount {
        let (sum, overflow) = unscaled.addingReportingOverflow(other.unscaled)
        guard !overflow else { throw .outOfRange }
        return ExactAmount(unscaled: sum)
    }

    /// The exact difference. Throws `.outOfRange` when it does not fit 256 bits.
    @inlinable
    package func subtracting(_ other: ExactAmount) throws(DecimalError) -> ExactAmount {
        let (difference, overflow) = unscaled.subtractingReportingOverflow(other.unscaled)
        guard !overflow else { throw .outOfRange }
        return ExactAmount(unscaled: difference)
    }

    /// The same value with the opposite sign. Throws `.outOfRange` only for the one value without a counterpart,
    /// -2^255.
    package func negated() throws(DecimalError) -> ExactAmount {
        try ExactAmount.zero.subtracting(self)
    }

    /// The value rounded half away from zero to so many fractional digits (0...12).
    ///
    /// This is the one rounding of an invoice line. Throws `.outOfRange` when the result's magnitude is 10^26 or more.
    package func rounded(toDigits digits: Int) throws(DecimalError) -> FixedDecimal {
        precondition((0...FixedDecimal.fractionalDigits).contains(digits), "digits must be 0...12")
        // Truncating to `digits` in two steps is exact; the first dropped digit alone decides half away from zero.
        let discarded = Self.fractionalDigits - digits
        let first = unscaled.magnitude.quotientAndRemainder(dividingBy: PowersOfTen.narrow(discarded - 12))
        let second = first.quotient.quotientAndRemainder(dividingBy: PowersOfTen.narrow(12))
        let roundsUp = second.remainder >= PowersOfTen.narrow(12) / 2
        let kept = second.quotient.addingReportingOverflow(roundsUp ? 1 : 0).sum
        let restored = kept.multipliedReportingOverflow(by: PowersOfTen.narrow(FixedDecimal.fractionalDigits - digits))
        guard !restored.overflow, restored.product.high == 0, restored.product.low < FixedDecimal.unscaledLimit else {
            throw .outOfRange
        }
        let magnitude = Int128(truncatingIfNeeded: restored.product.low)
        return FixedDecimal(uncheckedUnscaled: isNegative ? 0 &- magnitude : magnitude)
    }

    /// The value times the fraction `numerator / denominator`, rounded toward zero to 24 fractional digits.
    ///
    /// Cutting digits off never moves a value across or onto half of a coarser unit, so `rounded(toDigits:)` of the
    /// result is the exact fraction rounded once. The denominator must be positive, the numerator not negative.
    /// Throws `.outOfRange` when the result does not fit, which needs a fraction above one.
    package func multiplied(byNumerator numerator: Int64, denominator: Int64) throws(DecimalError) -> ExactAmount {
        precondition(numerator >= 0 && denominator > 0, "the fraction must not be negative")
        let divisor = denominator.magnitude
        // a = q d + r, so a n / d = q n + r n / d: no intermediate is wider than the result.
        let division = unscaled.magnitude.quotientAndRemainder(dividingBy: divisor)
        let whole = division.quotient.multipliedReportingOverflow(by: numerator.magnitude)
        let part = UInt128(division.remainder) &* UInt128(numerator.magnitude) / UInt128(divisor)
        let sum = whole.product.addingReportingOverflow(UInt64(truncatingIfNeeded: part))
        guard !whole.overflow, !sum.overflow, let result = Int256(isNegative: isNegative, magnitude: sum.sum) else {
            throw .outOfRange
        }
        return ExactAmount(unscaled: result)
    }
}

extension ExactAmount: CustomStringConvertible {
    /// The shortest exact text, with up to 24 fractional digits.
    @usableFromInline package var description: String { text(of: unscaled.magnitude, minimumFractionalDigits: 0) }

    /// For display only: 12 fractional digits, rounded half away from zero.
    package var fixedDescription: String {
        let unit = PowersOfTen.narrow(12)
        let division = unscaled.magnitude.quotientAndRemainder(dividingBy: unit)
        let rounded = division.quotient.addingReportingOverflow(division.remainder >= unit / 2 ? 1 : 0).sum
        let restored = rounded.multipliedReportingOverflow(by: unit).product
        return text(of: restored, minimumFractionalDigits: FixedDecimal.fractionalDigits)
    }

    private func text(of magnitude: UInt256, minimumFractionalDigits: Int) -> String {
        DecimalWriter.text { writer in
            let lower = magnitude.quotientAndRemainder(dividingBy: PowersOfTen.narrow(12))
            let upper = lower.quotient.quotientAndRemainder(dividingBy: PowersOfTen.narrow(12))
            writer.putFraction(lower.remainder)
            writer.putFraction(upper.remainder, minimumDigits: minimumFractionalDigits)
            writer.putPoint()
            var group = upper.quotient.quotientAndRemainder(dividingBy: PowersOfTen.narrow(18))
            while !group.quotient.isZero {
                writer.putInnerInteger(group.remainder)
                group = group.quotient.quotientAndRemainder(dividingBy: PowersOfTen.narrow(18))
            }
            writer.putLeadingInteger(group.remainder, isNegative: isNegative && !magnitude.isZero)
        }
    }
}
