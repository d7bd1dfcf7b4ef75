/// A line of an invoice. Its exact amount is rounded here, once, and nowhere else.
package struct InvoiceLine: Sendable, Hashable {
    /// What a line is, by its name in the API.
    package enum Kind: String, Sendable, Hashable, CaseIterable {
        case fee, usage, commitment
        /// A change of what an earlier invoice charged.
        case adjustment
    }

    package let kind: Kind
    package let item: InvoiceItem
    package let key: InvoiceItemKey
    /// The time the line covers.
    package let period: Interval
    /// The exact amount of the item, whatever was invoiced for it before; never rounded again.
    package let amountUnrounded: ExactAmount
    /// What earlier invoices charged for the item.
    package let previouslyInvoiced: FixedDecimal
    /// The exact amount rounded half away from zero to the currency's minor unit, less what was invoiced before.
    package let amount: FixedDecimal
    /// How the exact amount comes about by tier; empty for a fee and for no usage.
    package let tiers: [TierCharge]

    /// What discounts take off: the line's part of what they take off its item over all segments.
    package internal(set) var discount: FixedDecimal = .zero
    package internal(set) var includedCredit: FixedDecimal = .zero
    /// Below zero where the line gives more of it back than it is given.
    package private(set) var promotionalCredit: FixedDecimal = .zero
    /// `promotionalCredit` by the credit it comes from, or goes back to.
    package private(set) var promotionalCredits: [UUIDv7: FixedDecimal] = [:]
    /// What credit notes gave back before of what the line takes back, below zero: it does not go back again. Above
    /// zero where that pays for something else. By credit note.
    package private(set) var creditedBefore: [UUIDv7: FixedDecimal] = [:]
    /// One for each rate, in the order of the rates; then rates of what is taken back that are none of today's.
    package internal(set) var taxes: [LineTax] = []

    init(
        item: InvoiceItem,
        key: InvoiceItemKey,
        period: Interval,
        exact: ExactAmount,
        previouslyInvoiced: FixedDecimal,
        isAdjustment: Bool,
        currency: Currency
    ) throws(DecimalError) {
        self.item = item
        self.key = key
        self.period = period
        kind = isAdjustment ? .adjustment : item.lineKind
        amountUnrounded = exact
        self.previouslyInvoiced = previouslyInvoiced
        amount = try exact.rounded(toDigits: currency.minorUnits).subtracting(previouslyInvoiced)
        if case .usage(let usage) = item, !exact.isZero || !usage.isUnused {
            tiers = try usage.breakdown(of: exact)
        } else {
            tiers = []
        }
    }

    /// What is left after discounts and included credit: what promotional credit may pay for.
    var chargeable: FixedDecimal {
        get throws(DecimalError) { try amount.subtracting(discount).subtracting(includedCredit) }
    }

    /// What is left after discounts and credits, and after what credit notes gave back: what is taxed.
    package var net: FixedDecimal {
        get throws(DecimalError) {
            var net = try chargeable.subtracting(promotionalCredit)
            for amount in creditedBefore.values { net = try net.subtracting(amount) }
            return net
        }
    }

    package var tax: FixedDecimal {
        get throws(DecimalError) {
            var sum = FixedDecimal.zero
            for tax in taxes { sum = try sum.adding(tax.amount) }
            return sum
        }
    }

    /// An adjustment of nothing says nothing.
    var isEmpty: Bool { kind == .adjustment && amount.isZero }

    /// Whether a minimum commitment counts it.
    var isUsage: Bool { if case .usage = item { true } else { false } }

    /// Whether discounts apply: commitment and credits are reckoned after them.
    var isDiscountable: Bool {
        switch item {
        case .fee, .usage: true
        case .commitment, .includedCredit: false
        }
    }

    /// Whether the included credit of its period pays for it: everything but what is paid in advance.
    var isCoveredByIncludedCredit: Bool { item.isCoveredByIncludedCredit }
}

extension InvoiceLine {
    mutating func give(_ parts: CreditParts) throws(DecimalError) {
        for amount in parts.grants.values { promotionalCredit = try promotionalCredit.adding(amount) }
        try promotionalCredits.add(parts.grants)
        try creditedBefore.add(parts.notes)
    }

    mutating func giveBack(_ parts: CreditParts) throws(DecimalError) {
        for amount in parts.grants.values { promotionalCredit = try promotionalCredit.subtracting(amount) }
        try promotionalCredits.add(parts.grants.mapValues(\.negated))
        try creditedBefore.add(parts.notes.mapValues(\.negated))
    }
}

extension InvoiceItem {
    fileprivate var lineKind: InvoiceLine.Kind {
        switch self {
        case .fee: .fee
        case .usage: .usage
        case .commitment: .commitment
        case .includedCredit: .adjustment
        }
    }

    var isCoveredByIncludedCredit: Bool {
        switch self {
        case .fee(let fee): fee.charged == .inArrears
        case .usage, .commitment: true
        case .includedCredit: false
        }
    }
}
