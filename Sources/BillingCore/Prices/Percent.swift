/// A percentage of at most 10 fractional digits, so that a hundredth of it is exact.
package struct Percent: Sendable, Hashable {
    /// In hundredths: 20 for a fifth.
    package let value: FixedDecimal
    /// The same as a fraction: 0.2 for 20 percent.
    package let fraction: FixedDecimal

    /// Nil when the percentage has more than 10 fractional digits.
    package init?(_ value: FixedDecimal) {
        let (hundredth, remainder) = value.unscaled.quotientAndRemainder(dividingBy: 100)
        guard remainder == 0 else { return nil }
        self.value = value
        fraction = FixedDecimal(uncheckedUnscaled: hundredth)
    }

    package static let zero = Percent(value: .zero, fraction: .zero)
    package static let hundred = Percent(value: FixedDecimal(100), fraction: .one)

    private init(value: FixedDecimal, fraction: FixedDecimal) {
        self.value = value
        self.fraction = fraction
    }
}
