/// The part of a period for which a fee is due, as an exact fraction of elapsed time.
///
/// It counts elapsed time, not days on a calendar: a period with a change to daylight saving time is an hour shorter.
/// Where all bounds are whole seconds the fraction is one of seconds; finer bounds are counted exactly as well.
package struct Proration: Sendable, Hashable {
    /// Between 0 and the denominator; the fraction is in lowest terms.
    package let numerator: Int64
    /// Positive.
    package let denominator: Int64

    /// The part of a period that lies within a span of activity. An empty period has the fraction 0.
    package init(of period: Interval, within active: Interval) {
        let whole = period.microseconds
        let part = period.intersection(active)?.microseconds ?? 0
        let divisor = whole == 0 ? 1 : Self.greatestCommonDivisor(whole, part)
        numerator = part / divisor
        denominator = whole == 0 ? 1 : whole / divisor
    }

    /// The whole period.
    package static let whole = Proration(of: .allTime, within: .allTime)

    package var isWhole: Bool { numerator == denominator }
    package var isNothing: Bool { numerator == 0 }

    /// A fee's part, rounded toward zero to 24 fractional digits.
    ///
    /// Rounding the result half away from zero to a currency's minor unit gives the exact fraction rounded once: see
    /// `ExactAmount.multiplied(byNumerator:denominator:)`.
    package func amount(of fee: FixedDecimal) throws(DecimalError) -> ExactAmount {
        try ExactAmount(fee).multiplied(byNumerator: numerator, denominator: denominator)
    }

    private static func greatestCommonDivisor(_ left: Int64, _ right: Int64) -> Int64 {
        var (left, right) = (left, right)
        while right != 0 { (left, right) = (right, left % right) }
        return left
    }
}
