/// An amount with what discounts take off it.
struct DiscountedAmount: Sendable, Hashable {
    static let zero = DiscountedAmount(amount: .zero, discount: .zero)

    private(set) var amount: FixedDecimal
    private(set) var discount: FixedDecimal

    /// What is left after the discount.
    var rest: FixedDecimal {
        get throws(DecimalError) { try amount.subtracting(discount) }
    }

    fileprivate mutating func add(_ other: DiscountedAmount) throws(DecimalError) {
        amount = try amount.adding(other.amount)
        discount = try discount.adding(other.discount)
    }

    /// As much of an amount of the other sign as undoes this, with the discount that goes back with it, in proportion.
    fileprivate func undone(by other: FixedDecimal, currency: Currency) throws(DecimalError) -> DiscountedAmount {
        guard amount.isNegative != other.isNegative, !amount.isZero, !other.isZero else { return .zero }
        let part = min(amount.magnitude, other.magnitude)
        let isOfOneSign = amount.isNegative == discount.isNegative
        let share =
            isOfOneSign
            ? try discount.magnitude.share(ofTaking: part, from: amount.magnitude, currency: currency) : .zero
        return other.isNegative
            ? DiscountedAmount(amount: part.negated, discount: share.negated)
            : DiscountedAmount(amount: part, discount: share)
    }
}

extension InvoicedAmount {
    fileprivate var discountedAmount: DiscountedAmount {
        get throws(DecimalError) { DiscountedAmount(amount: amount, discount: try amount.subtracting(discounted)) }
    }
}

extension InvoicedPeriod {
    /// Gives the lines that undo what earlier invoices charged the discount that it was charged with: that of the
    /// line's own item first, then that of the same fee or usage in other segments. A line of usage after a change of
    /// plan can be below zero and so take back what usage before it was charged.
    func undoDiscounts(of lines: inout [InvoiceLine], currency: Currency) throws(DecimalError) {
        var charged: [InvoiceItemKey.Item: DiscountedAmount] = [:]
        for (key, before) in invoiced where !before.isLeftToReissue {
            try charged[key.item, default: .zero].add(before.discountedAmount)
        }
        guard !charged.isEmpty else { return }
        for index in lines.indices {
            let line = lines[index]
            guard let before = invoiced[line.key] else { continue }
            let part = try before.discountedAmount.undone(by: line.amount, currency: currency)
            try lines[index].undo(part)
            try charged[line.key.item, default: .zero].add(part)
            let owed = try before.discounted.adding(line.amount.isNegative ? .zero : part.rest)
            lines[index].owedBefore = max(owed.negated, .zero)
        }
        for index in lines.indices where lines[index].amount.isNegative {
            let item = lines[index].key.item
            guard let whole = charged[item] else { continue }
            let left = try lines[index].amount.subtracting(lines[index].undone.amount)
            let part = try whole.undone(by: left, currency: currency)
            try lines[index].undo(part)
            try charged[item]?.add(part)
        }
    }
}

extension InvoiceLine {
    fileprivate mutating func undo(_ part: DiscountedAmount) throws(DecimalError) {
        try undone.add(part)
        discount = try discount.adding(part.discount)
    }

    /// What today's discounts are reckoned of: what undoes nothing, less what they have taken already.
    var discountable: FixedDecimal {
        get throws(DecimalError) { try amount.subtracting(discount).subtracting(undone.rest) }
    }
}
