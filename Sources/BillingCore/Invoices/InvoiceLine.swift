/// A line of an invoice: one fee, or one feature's usage. Its exact amount is rounded here, once, and nowhere else.
package struct InvoiceLine: Sendable, Hashable {
    /// What the line charges for.
    package enum Item: Sendable, Hashable {
        case fee(Fee)
        case usage(PricedUsage)
    }

    package let item: Item
    /// The time the line covers: the part of a billing period in which the subscription was active.
    package let period: Interval
    /// The exact amount, for display and explanation; never rounded again.
    package let amountUnrounded: ExactAmount
    /// The exact amount rounded half away from zero to the currency's minor unit.
    package let amount: FixedDecimal
    /// How the amount comes about by tier; empty for a fee and for no usage.
    package let tiers: [TierCharge]

    /// A fee for the part of a billing period in which the subscription is active; nil when there is no such part.
    package init?(fee: Fee, of period: Interval, active: Interval, currency: Currency) throws(DecimalError) {
        guard let covered = period.intersection(active) else { return nil }
        item = .fee(fee)
        self.period = covered
        amountUnrounded = try Proration(of: period, within: active).amount(of: fee.amount)
        amount = try amountUnrounded.rounded(toDigits: currency.minorUnits)
        tiers = []
    }

    /// A feature's usage in a billing period; nil when the subscription was not active in it.
    package init?(usage: PricedUsage, of period: Interval, active: Interval, currency: Currency) throws(DecimalError) {
        guard let covered = period.intersection(active) else { return nil }
        item = .usage(usage)
        self.period = covered
        amountUnrounded = try usage.price.charge(for: usage.total)
        amount = try amountUnrounded.rounded(toDigits: currency.minorUnits)
        tiers = try usage.price.breakdown(quantity: usage.total.quantity)
    }
}

/// A feature's usage in a billing period, with the price of the plan version.
package struct PricedUsage: Sendable, Hashable {
    package let feature: FeatureID
    package let price: Price
    package let total: UsageTotal

    package init(feature: FeatureID, price: Price, total: UsageTotal) {
        self.feature = feature
        self.price = price
        self.total = total
    }
}
