import BillingCore

extension InvoiceFacts.Unpriced {
    /// So many stand on an invoice one by one.
    static let mostListed = 1_000

    /// What usage without an amount is of; the period only where a cost is lacking.
    struct Place: Hashable {
        let feature: String
        let cell: String
        let period: Interval?
    }

    var place: Place { Place(feature: feature, cell: cell, period: uncosted?.period) }

    /// The feature's, whatever the cell.
    fileprivate var placeOfFeature: Place { Place(feature: feature, cell: "", period: uncosted?.period) }

    fileprivate func added(to sum: Self) throws(DecimalError) -> Self {
        var whole = Self(feature: feature, cell: "", quantity: try sum.quantity.adding(quantity), unit: unit)
        if let uncosted, let before = sum.uncosted {
            whole.uncosted = Uncosted(events: before.events + uncosted.events, period: uncosted.period)
        }
        whole.sumOf = (sum.sumOf ?? 1) + 1
        return whole
    }
}

extension [InvoiceFacts.Unpriced] {
    /// As many as an invoice lists, and the rest added up, by feature and what they lack: nothing is left out, and an
    /// invoice of very many cells can still be read.
    /// - Throws: `DecimalError.outOfRange` when a sum leaves the range of a quantity.
    func shortened() throws(DecimalError) -> [InvoiceFacts.Unpriced] {
        let most = InvoiceFacts.Unpriced.mostListed
        guard count > most else { return self }
        var sums: [InvoiceFacts.Unpriced.Place: InvoiceFacts.Unpriced] = [:]
        var order: [InvoiceFacts.Unpriced.Place] = []
        for use in self[most...] {
            if let sum = sums[use.placeOfFeature] {
                sums[use.placeOfFeature] = try use.added(to: sum)
            } else {
                sums[use.placeOfFeature] = use
                order.append(use.placeOfFeature)
            }
        }
        return Array(prefix(most)) + order.compactMap { sums[$0] }
    }
}
