/// What is taken off the fees and the usage of an invoice.
package enum Discount: Sendable, Hashable {
    /// So much of each fee and usage, from 0 to 100.
    case percent(FixedDecimal)
    /// So much of the whole, spread over fees and usage in proportion; at most what they come to.
    case amount(FixedDecimal)
}

extension Discount {
    /// Takes the discount off items, on top of what they have been given before.
    /// - Returns: what was taken off.
    func apply(to items: inout [DiscountedItem], currency: Currency) throws(DecimalError) -> FixedDecimal {
        var most: [FixedDecimal] = []
        for item in items { most.append(try item.most) }
        let parts: [FixedDecimal]
        switch self {
        case .percent(let percent):
            var shares: [FixedDecimal] = []
            for (item, most) in zip(items, most) {
                let share = try item.left.multiplied(by: percent).multiplied(byNumerator: 1, denominator: 100)
                shares.append(min(try share.rounded(toDigits: currency.minorUnits), most))
            }
            parts = shares
        case .amount(let amount):
            var sum = FixedDecimal.zero
            for part in most { sum = try sum.adding(part) }
            let whole = try ExactAmount(min(amount, sum)).rounded(toDigits: currency.minorUnits)
            parts = try LargestRemainder.split(whole, over: most, currency: currency)
        }
        var total = FixedDecimal.zero
        for (index, part) in zip(items.indices, parts) {
            try items[index].take(part)
            total = try total.adding(part)
        }
        return total
    }
}

/// A fee or usage as discounts see it.
///
/// What undoes what earlier invoices charged takes the discount of then with it, in proportion, and has none of
/// today's; what goes beyond that and is above zero has today's, but no more than all invoices charge for it.
struct DiscountedItem {
    private let lines: [Int]
    /// What is taken off it by what undoes earlier invoices; below zero where that is taken back.
    private let earlier: FixedDecimal
    /// What today's discounts may still be reckoned of; not below zero.
    private(set) var left: FixedDecimal
    /// What invoices that stand gave back of it beyond what they charged, because the one that charged it is void.
    private let owed: FixedDecimal
    private var taken = FixedDecimal.zero

    init(_ item: InvoicedItem, of lines: [InvoiceLine], currency: Currency) throws(DecimalError) {
        self.lines = item.lines
        var change = FixedDecimal.zero
        for line in item.lines { change = try change.adding(lines[line].amount) }
        guard let before = item.before else {
            (earlier, left, owed) = (.zero, max(change, .zero), .zero)
            return
        }
        let discount = try before.amount.subtracting(before.discounted)
        var undone = FixedDecimal.zero
        if change.isNegative != before.amount.isNegative { undone = min(change.magnitude, before.amount.magnitude) }
        let isOfOneSign = discount.isNegative == before.amount.isNegative
        let share =
            isOfOneSign
            ? try discount.magnitude.share(ofTaking: undone, from: before.amount.magnitude, currency: currency) : .zero
        earlier = change.isNegative ? share.negated : share
        left = change.isNegative ? .zero : try change.subtracting(undone)
        let restored = change.isNegative ? .zero : try undone.subtracting(share)
        owed = max(try before.discounted.adding(restored).negated, .zero)
    }

    /// The most that a discount may take off.
    var most: FixedDecimal {
        get throws(DecimalError) { max(try left.subtracting(owed), .zero) }
    }

    fileprivate mutating func take(_ amount: FixedDecimal) throws(DecimalError) {
        left = try left.subtracting(amount)
        taken = try taken.adding(amount)
    }

    /// Gives each of its lines a part in proportion.
    func spread(over lines: inout [InvoiceLine], currency: Currency) throws(DecimalError) {
        let amounts = self.lines.map { lines[$0].amount }
        let discount = try earlier.adding(taken)
        for (line, part) in zip(self.lines, try discount.spread(over: amounts, currency: currency)) {
            lines[line].discount = part
        }
    }
}
