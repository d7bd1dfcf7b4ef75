/// What is taken off the fees and the usage of an invoice.
package enum Discount: Sendable, Hashable {
    /// So much of each line, from 0 to 100.
    case percent(FixedDecimal)
    /// So much of the whole, spread over the lines in proportion; at most what they come to.
    case amount(FixedDecimal)
}

extension Discount {
    /// Takes the discount off lines, on top of what they have been given before. Lines below zero take back what was
    /// charged, with the discount it had then; nothing is taken off them, nor more off others than all invoices charge
    /// for the item.
    /// - Returns: what was taken off.
    func apply(to lines: inout [InvoiceLine], currency: Currency) throws(DecimalError) -> FixedDecimal {
        let indices = lines.indices.filter { lines[$0].isDiscountable && !lines[$0].amount.isNegative }
        var left: [FixedDecimal] = []
        var most: [FixedDecimal] = []
        for index in indices {
            left.append(try lines[index].amount.subtracting(lines[index].discount))
            most.append(max(try left[left.count - 1].subtracting(lines[index].owedBefore), .zero))
        }
        let parts: [FixedDecimal]
        switch self {
        case .percent(let percent):
            var shares: [FixedDecimal] = []
            for (amount, most) in zip(left, most) {
                let share = try amount.multiplied(by: percent).multiplied(byNumerator: 1, denominator: 100)
                shares.append(min(try share.rounded(toDigits: currency.minorUnits), most))
            }
            parts = shares
        case .amount(let amount):
            var sum = FixedDecimal.zero
            for part in most { sum = try sum.adding(part) }
            let whole = try ExactAmount(min(amount, max(sum, .zero))).rounded(toDigits: currency.minorUnits)
            parts = try LargestRemainder.split(whole, over: most, currency: currency)
        }
        var total = FixedDecimal.zero
        for (index, part) in zip(indices, parts) {
            lines[index].discount = try lines[index].discount.adding(part)
            total = try total.adding(part)
        }
        return total
    }
}
