/// One tax that is due on what is sold.
package struct TaxRate: Sendable, Hashable {
    package let key: String
    package let name: String
    /// With at most four fractional digits, not below zero.
    package let percent: FixedDecimal

    package init(key: String, name: String, percent: FixedDecimal) {
        self.key = key
        self.name = name
        self.percent = percent
    }
}

/// How a tenant's invoices are taxed.
package struct TaxTreatment: Sendable, Hashable {
    package let rates: [TaxRate]
    /// Whether prices contain the tax already.
    package let isInclusive: Bool
    /// Whether the customer owes the tax itself: there is none on the invoice, and a note says so.
    package let isReverseCharge: Bool

    package init(rates: [TaxRate] = [], isInclusive: Bool = false, isReverseCharge: Bool = false) {
        self.rates = rates
        self.isInclusive = isInclusive
        self.isReverseCharge = isReverseCharge
    }

    package static let none = TaxTreatment()

    /// The rates that are on the invoice.
    package var dueRates: [TaxRate] { isReverseCharge ? [] : rates }
}

/// A tax of one line.
package struct LineTax: Sendable, Hashable {
    package let rateKey: String
    package let amount: FixedDecimal

    package init(rateKey: String, amount: FixedDecimal) {
        self.rateKey = rateKey
        self.amount = amount
    }
}

extension TaxTreatment {
    /// The taxes of an amount, each rounded half away from zero to the minor unit. With inclusive prices each is
    /// `amount x rate / (100 + all rates)`, the part of the amount that it makes up.
    package func taxes(on amount: FixedDecimal, currency: Currency) throws(DecimalError) -> [LineTax] {
        guard !dueRates.isEmpty else { return [] }
        var divisor = Self.hundred
        if isInclusive {
            for rate in rates { divisor += Self.scaled(rate.percent) }
        }
        var taxes: [LineTax] = []
        for rate in dueRates {
            let exact = try amount.multiplied(by: rate.percent)
                .multiplied(byNumerator: Self.scale, denominator: divisor)
            let rounded = try exact.rounded(toDigits: currency.minorUnits)
            taxes.append(LineTax(rateKey: rate.key, amount: rounded))
        }
        return taxes
    }

    /// Percentages have four digits, so this is 10^4.
    private static let scale: Int64 = 10_000
    private static let hundred: Int64 = 100 * scale

    private static func scaled(_ percent: FixedDecimal) -> Int64 {
        Int64(clamping: percent.unscaled / (FixedDecimal.unscaledOne / Int128(scale)))
    }
}
