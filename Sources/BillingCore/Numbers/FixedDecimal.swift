/// A decimal number with 12 fractional digits: every amount of money, price and quantity.
///
/// The value is `unscaled / 10^12`, and `|value| < 10^26` always holds, so that it fits PostgreSQL's `numeric(38,12)`.
/// Arithmetic is exact and checked: nothing wraps, nothing traps, and no floating point is involved.
@usableFromInline
package struct FixedDecimal: Sendable, Hashable {
    /// The value times 10^12.
    @usableFromInline package let unscaled: Int128

    /// The number of fractional digits every value carries.
    package static let fractionalDigits = 12

    /// 10^12, the unscaled form of one.
    @inlinable package static var unscaledOne: Int128 { 1_000_000_000_000 }

    /// 10^38: the magnitude of `unscaled` stays below it.
    @inlinable package static var unscaledLimit: UInt128 { 100_000_000_000_000_000_000_000_000_000_000_000_000 }

    @inlinable package static var zero: FixedDecimal { FixedDecimal(uncheckedUnscaled: 0) }
    /// The least above zero: 10^-12.
    package static let smallest = FixedDecimal(uncheckedUnscaled: 1)
    /// 10^26 - 10^-12.
    package static let greatest = FixedDecimal(uncheckedUnscaled: Int128(truncatingIfNeeded: unscaledLimit - 1))
    package static let one = FixedDecimal(uncheckedUnscaled: unscaledOne)

    /// Takes a value times 10^12. Throws `.outOfRange` when the value's magnitude is 10^26 or more.
    @inlinable
    package init(validating unscaled: Int128) throws(DecimalError) {
        guard unscaled.magnitude < Self.unscaledLimit else { throw .outOfRange }
        self.unscaled = unscaled
    }

    /// A whole number. Every `Int64` is in range.
    @inlinable
    package init(_ integer: Int64) {
        unscaled = Int128(integer) &* Self.unscaledOne
    }

    /// For callers that have already proved `|unscaled| < 10^38`.
    @inlinable
    init(uncheckedUnscaled unscaled: Int128) {
        self.unscaled = unscaled
    }
}

/// Why a number could not be read or computed. The description is meant for the sender of the number.
@usableFromInline
package enum DecimalError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The text is not a number of the JSON grammar (RFC 8259, section 6).
    case malformed
    /// The result's magnitude is 10^26 or more (for `ExactAmount`: does not fit 256 bits).
    case outOfRange

    @usableFromInline
    package var description: String {
        switch self {
        case .malformed: "must be a decimal number such as 12.50"
        case .outOfRange: "must be below 10^26 in magnitude"
        }
    }
}

extension FixedDecimal: Comparable {
    @inlinable
    package static func < (left: FixedDecimal, right: FixedDecimal) -> Bool {
        left.unscaled < right.unscaled
    }
}

extension FixedDecimal {
    @inlinable package var isNegative: Bool { unscaled < 0 }
    @inlinable package var isZero: Bool { unscaled == 0 }
    @inlinable package var negated: FixedDecimal { FixedDecimal(uncheckedUnscaled: 0 &- unscaled) }
    @inlinable package var magnitude: FixedDecimal { isNegative ? negated : self }

    /// The exact sum. Throws `.outOfRange` when its magnitude is 10^26 or more.
    @inlinable
    package func adding(_ other: FixedDecimal) throws(DecimalError) -> FixedDecimal {
        let (sum, overflow) = unscaled.addingReportingOverflow(other.unscaled)
        guard !overflow else { throw .outOfRange }
        return try FixedDecimal(validating: sum)
    }

    /// The exact difference. Throws `.outOfRange` when its magnitude is 10^26 or more.
    @inlinable
    package func subtracting(_ other: FixedDecimal) throws(DecimalError) -> FixedDecimal {
        let (difference, overflow) = unscaled.subtractingReportingOverflow(other.unscaled)
        guard !overflow else { throw .outOfRange }
        return try FixedDecimal(validating: difference)
    }

    /// The exact product, with 24 fractional digits. It cannot overflow: 10^38 x 10^38 < 2^255.
    @inlinable
    package func multiplied(by other: FixedDecimal) -> ExactAmount {
        ExactAmount(unscaled: Int256(multiplying: unscaled, by: other.unscaled))
    }
}
