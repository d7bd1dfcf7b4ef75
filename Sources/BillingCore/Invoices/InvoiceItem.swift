/// What an invoice line charges for.
package enum InvoiceItem: Sendable, Hashable {
    case fee(Fee)
    case usage(PricedUsage)
    /// What is missing to the minimum commitment of a period.
    case commitment
    /// A change of the included credit that a period was given before: less than zero where it is given more.
    case includedCredit
}

/// Names an item over all invoices of a subscription, so that what was invoiced for it adds up.
package struct InvoiceItemKey: Sendable, Hashable {
    package enum Item: Sendable, Hashable {
        case fee(String)
        /// A feature, and the cell of its matrix price; the cell is empty for any other price.
        case usage(FeatureID, cell: String)
        case commitment
        case includedCredit
    }

    /// The anchored period that the item belongs to.
    package let periodIndex: Int
    /// The segment of the subscription; nil for what belongs to the period as a whole.
    package let segment: Int?
    package let item: Item

    package init(periodIndex: Int, segment: Int?, item: Item) {
        self.periodIndex = periodIndex
        self.segment = segment
        self.item = item
    }
}

extension InvoiceItem {
    package var key: InvoiceItemKey.Item {
        switch self {
        case .fee(let fee): .fee(fee.key)
        case .usage(let usage): .usage(usage.feature, cell: usage.cell)
        case .commitment: .commitment
        case .includedCredit: .includedCredit
        }
    }
}

/// What earlier invoices that are not void charged for an item.
package struct InvoicedAmount: Sendable, Hashable {
    /// The sum of the rounded lines.
    package var amount: FixedDecimal
    /// The same after discounts.
    package var discounted: FixedDecimal
    /// The included credit that its lines were given.
    package var includedCredit: FixedDecimal
    /// The item as it was charged last, for a line that takes it back whole.
    package var item: InvoiceItem

    package init(
        amount: FixedDecimal,
        discounted: FixedDecimal,
        includedCredit: FixedDecimal = .zero,
        item: InvoiceItem
    ) {
        self.amount = amount
        self.discounted = discounted
        self.includedCredit = includedCredit
        self.item = item
    }
}

extension InvoicedAmount {
    /// The discount that goes back with a part of the amount that is taken back: in proportion, in whole minor units.
    /// Both are below zero.
    func discount(goingBackWith part: FixedDecimal, currency: Currency) throws(DecimalError) -> FixedDecimal {
        let discount = try amount.subtracting(discounted)
        guard part.isNegative, discount > .zero, discount <= amount else { return .zero }
        let taken = min(part.magnitude, amount)
        let shares = try LargestRemainder.split(
            discount,
            over: [taken, amount.subtracting(taken)],
            currency: currency
        )
        return shares[0].negated
    }
}

extension [InvoiceItemKey: InvoicedAmount] {
    /// Counts a line of an invoice that stands.
    package mutating func add(_ line: InvoiceLine) throws(DecimalError) {
        var sum = self[line.key] ?? InvoicedAmount(amount: .zero, discounted: .zero, item: line.item)
        sum.amount = try sum.amount.adding(line.amount)
        sum.discounted = try sum.discounted.adding(line.amount).subtracting(line.discount)
        sum.includedCredit = try sum.includedCredit.adding(line.includedCredit)
        sum.item = line.item
        self[line.key] = sum
    }
}
