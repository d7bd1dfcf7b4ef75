extension FixedDecimal {
    /// The value times the fraction `numerator / denominator`, rounded toward zero to 12 fractional digits.
    ///
    /// The product has 256 bits, so only the result is bounded. Nil when the denominator is zero or the result's
    /// magnitude is 10^26 or more.
    package func multiplied(byNumerator numerator: UInt128, denominator: UInt128) -> FixedDecimal? {
        let product = unscaled.magnitude.multipliedFullWidth(by: numerator)
        // With a high word below the divisor the quotient fits 128 bits.
        guard product.high < denominator else { return nil }
        let quotient = denominator.dividingFullWidth(product).quotient
        guard quotient < Self.unscaledLimit else { return nil }
        let magnitude = Int128(truncatingIfNeeded: quotient)
        return FixedDecimal(uncheckedUnscaled: isNegative ? 0 &- magnitude : magnitude)
    }
}
