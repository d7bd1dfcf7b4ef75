/// An amount in a currency. There is no implicit conversion: amounts of different currencies never meet.
package struct Money: Sendable, Hashable {
    package let amount: FixedDecimal
    package let currency: Currency

    package init(_ amount: FixedDecimal, _ currency: Currency) {
        self.amount = amount
        self.currency = currency
    }

    /// An exact amount rounded half away from zero to the currency's minor unit.
    /// Throws `.outOfRange` when the result's magnitude is 10^26 or more.
    package init(rounding exact: ExactAmount, _ currency: Currency) throws(DecimalError) {
        self.init(try exact.rounded(toDigits: currency.minorUnits), currency)
    }

    /// The exact amount with at least the currency's fractional digits: `12.50` USD, `13` JPY, `0.000002` USD.
    package var formatted: String { amount.text(minimumFractionalDigits: currency.minorUnits) }
}

extension Currency {
    /// An exact amount in this currency, as `Money.formatted` writes it.
    package func formatted(_ amount: FixedDecimal) -> String { Money(amount, self).formatted }
}
