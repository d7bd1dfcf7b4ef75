/// What is taken off the fees and the usage of an invoice.
package enum Discount: Sendable, Hashable {
    /// So much of each line, from 0 to 100.
    case percent(FixedDecimal)
    /// So much of the whole, spread over the lines in proportion; at most what they come to.
    case amount(FixedDecimal)
}

extension Discount {
    /// Takes the discount off lines, on top of what they have been given before: of what undoes nothing that earlier
    /// invoices charged, and no more than all invoices charge for the item. A line below zero lowers what the lines of
    /// the same fee or usage in other segments come to, and takes no more back than that: the discount is that of the
    /// sum.
    /// - Returns: what was taken off.
    func apply(to lines: inout [InvoiceLine], currency: Currency) throws(DecimalError) -> FixedDecimal {
        let indices = lines.indices.filter { lines[$0].isDiscountable }
        var amounts: [FixedDecimal] = []
        var most: [FixedDecimal] = []
        for index in indices {
            let amount = try lines[index].discountable
            amounts.append(amount)
            most.append(max(try amount.subtracting(lines[index].owedBefore), .zero))
        }
        let offsets = try Self.offsets(of: amounts, most, in: indices.map { lines[$0].key })
        let parts: [FixedDecimal]
        switch self {
        case .percent(let percent):
            var shares: [FixedDecimal] = []
            for (index, amount) in amounts.enumerated() {
                let base = amount.isNegative ? offsets[index].negated : amount
                let share = try base.multiplied(by: percent).multiplied(byNumerator: 1, denominator: 100)
                shares.append(min(try share.rounded(toDigits: currency.minorUnits), most[index]))
            }
            parts = shares
        case .amount(let amount):
            for index in most.indices where most[index] > .zero {
                most[index] = try most[index].subtracting(offsets[index])
            }
            var sum = FixedDecimal.zero
            for part in most { sum = try sum.adding(part) }
            let whole = try ExactAmount(min(amount, sum)).rounded(toDigits: currency.minorUnits)
            parts = try LargestRemainder.split(whole, over: most, currency: currency)
        }
        var total = FixedDecimal.zero
        for (index, part) in zip(indices, parts) {
            lines[index].discount = try lines[index].discount.adding(part)
            total = try total.adding(part)
        }
        return total
    }

    /// For each amount what of it goes against one of the other sign, of the same item in another segment; not below
    /// zero.
    private static func offsets(
        of amounts: [FixedDecimal],
        _ most: [FixedDecimal],
        in keys: [InvoiceItemKey]
    ) throws(DecimalError) -> [FixedDecimal] {
        var offsets = amounts.map { _ in FixedDecimal.zero }
        let below = amounts.indices.filter { amounts[$0].isNegative }
        guard !below.isEmpty else { return offsets }
        let above = Dictionary(grouping: amounts.indices.filter { most[$0] > .zero }) { keys[$0].inAllSegments }
        for index in below {
            for other in above[keys[index].inAllSegments] ?? [] {
                let left = try amounts[index].magnitude.subtracting(offsets[index])
                let part = min(left, try most[other].subtracting(offsets[other]))
                offsets[index] = try offsets[index].adding(part)
                offsets[other] = try offsets[other].adding(part)
            }
        }
        return offsets
    }
}

extension InvoiceItemKey {
    fileprivate var inAllSegments: InvoiceItemKey {
        InvoiceItemKey(periodIndex: periodIndex, segment: nil, item: item)
    }
}
