import BillingCore

/// One step by which a price arrives at its amount, told in words: a tier, a package, a share, a minimum.
struct PriceStep: Sendable, Hashable {
    let basis: TierCharge.Basis
    /// Whether the tier is the price's only one.
    let isOnly: Bool
    /// Where the tier below it ends; nil for the first, and where that is not known.
    let above: FixedDecimal?
    /// Inclusive; nil where it is open.
    let upTo: FixedDecimal?
    let quantity: FixedDecimal
    let unitAmount: FixedDecimal
    let flatAmount: FixedDecimal
    /// Exact, with as many digits as it has.
    let amount: String

    /// What the step charges for, as a row of an invoice says it.
    var label: String {
        switch basis {
        case .flat: "Flat amount"
        case .packages: "Packages begun"
        case .percent: "\(percent) % of the value"
        case .events: "Fixed amount per event"
        case .cost: "Provider cost with markup"
        case .minimum: "To the minimum of the period"
        case .maximum: "Above the maximum of the period"
        case .tier: range
        }
    }

    /// The arithmetic: `1,000 x 0.02 + 5 = 25`.
    var arithmetic: String {
        let amount = InvoiceText.grouped(amount)
        guard hasUnitAmount || basis == .tier else { return amount }
        var factors: [String] = []
        if hasUnitAmount {
            factors.append("\(Self.text(quantity)) x \(Self.text(unitAmount))")
        }
        if !flatAmount.isZero { factors.append(Self.text(flatAmount)) }
        return "\(factors.joined(separator: " + ")) = \(amount)"
    }

    /// Whether it charges by quantity at all, and not a flat amount alone.
    var hasUnitAmount: Bool {
        switch basis {
        case .flat, .minimum, .maximum: false
        case .tier: !unitAmount.isZero || flatAmount.isZero
        case .packages, .percent, .events, .cost: true
        }
    }

    private var range: String {
        switch (above, upTo) {
        case (nil, nil): isOnly ? "Each unit" : "Last tier"
        case (nil, let upTo?): "Up to \(Self.text(upTo))"
        case (let above?, nil): "Above \(Self.text(above))"
        case (let above?, let upTo?): "Above \(Self.text(above)), up to \(Self.text(upTo))"
        }
    }

    /// A share of up to 10 fractional digits is exact as a percentage.
    private var percent: String {
        let percent = try? unitAmount.multiplied(by: FixedDecimal(100)).rounded(toDigits: FixedDecimal.fractionalDigits)
        return percent.map(Self.text) ?? Self.text(unitAmount)
    }

    private static func text(_ number: FixedDecimal) -> String {
        InvoiceText.grouped(number.description)
    }
}
