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
        /// By its key; one that is charged at another time is another fee.
        case fee(String, Fee.Timing)
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
        case .fee(let fee): .fee(fee.key, fee.charged)
        case .usage(let usage): .usage(usage.feature, cell: usage.cell)
        case .commitment: .commitment
        case .includedCredit: .includedCredit
        }
    }
}
