/// A fee of a segment, or what is used of a feature or cell over all segments of a period: what lines of an invoice
/// change of it, and what invoices that stand have charged for it.
///
/// A change of plan can make a line of usage take back what an earlier segment was charged (`latest`, volumes). So what
/// is undone of earlier invoices, and what is discounted, is that of the item and not of the line.
struct InvoicedItem {
    /// The positions of its lines.
    let lines: [Int]
    /// Nil where nothing was charged for it.
    let before: InvoicedAmount?
}

extension InvoicedPeriod {
    /// The items of the period that an invoice has lines of, in their order.
    func items(of lines: [InvoiceLine]) throws(DecimalError) -> [InvoicedItem] {
        var positions: [InvoiceItemKey: [Int]] = [:]
        var order: [InvoiceItemKey] = []
        for (position, line) in lines.enumerated() where line.key.periodIndex == index {
            let key = line.key.ofItem
            if positions[key] == nil { order.append(key) }
            positions[key, default: []].append(position)
        }
        var charged: [InvoiceItemKey: InvoicedAmount] = [:]
        for (key, amount) in invoiced where positions[key.ofItem] != nil && !amount.isLeftToReissue {
            if charged[key.ofItem] == nil {
                charged[key.ofItem] = amount
            } else {
                try charged[key.ofItem]?.add(amount)
            }
        }
        return order.map { InvoicedItem(lines: positions[$0] ?? [], before: charged[$0]) }
    }
}

extension InvoiceItemKey {
    /// Usage is one item over all segments.
    fileprivate var ofItem: InvoiceItemKey {
        guard case .usage = item else { return self }
        return InvoiceItemKey(periodIndex: periodIndex, segment: nil, item: item)
    }
}

extension FixedDecimal {
    /// Spreads this amount over parts of both signs that add up to their sum, in proportion to them, in whole minor
    /// units: a part of the other sign takes its share back. Together they are the amount.
    /// - Parameter parts: whole minor units. Where they add up to nothing, or to less than the amount, the largest gets
    ///   all of it.
    func spread(over parts: [FixedDecimal], currency: Currency) throws(DecimalError) -> [FixedDecimal] {
        var (sum, alike, others) = (FixedDecimal.zero, FixedDecimal.zero, FixedDecimal.zero)
        for part in parts { sum = try sum.adding(part) }
        let ofSum = parts.map { $0.isNegative == sum.isNegative ? $0.magnitude : .zero }
        let against = parts.map { $0.isNegative == sum.isNegative ? .zero : $0.magnitude }
        for part in ofSum { alike = try alike.adding(part) }
        for part in against { others = try others.adding(part) }
        guard !isZero, magnitude <= sum.magnitude else {
            var shares = parts.map { _ in FixedDecimal.zero }
            let largest = parts.indices.max { parts[$0].magnitude < parts[$1].magnitude }
            if !isZero, let largest { shares[largest] = self }
            return shares
        }
        let whole = try magnitude.scaled(by: alike, over: sum.magnitude, currency: currency)
        let rest = min(try whole.subtracting(magnitude), others)
        let given = try LargestRemainder.split(try magnitude.adding(rest), over: ofSum, currency: currency)
        let taken = try LargestRemainder.split(rest, over: against, currency: currency)
        var shares: [FixedDecimal] = []
        for (given, taken) in zip(given, taken) {
            let share = try given.subtracting(taken)
            shares.append(isNegative ? share.negated : share)
        }
        return shares
    }
}
