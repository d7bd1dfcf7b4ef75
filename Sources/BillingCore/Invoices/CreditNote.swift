/// What may still be taken back of a line of a final invoice.
package struct CreditableLine: Sendable, Hashable {
    package let number: Int
    /// What is left of the line, its taxes included. Nothing can be taken back of what is not above zero.
    package let left: FixedDecimal
    /// What of `left` is tax, by rate.
    package let taxes: [LineTax]

    package init(number: Int, left: FixedDecimal, taxes: [LineTax]) {
        self.number = number
        self.left = left
        self.taxes = taxes
    }
}

extension [CreditableLine] {
    /// The same lines with no more than an amount left of all of them together, and no more than so much tax of each
    /// rate: in proportion to what is left of each, by largest remainder.
    /// - Parameter most: tax included, in whole minor units; nothing where it is below zero.
    package func limited(
        to most: FixedDecimal,
        taxes: [String: FixedDecimal],
        currency: Currency
    ) throws(DecimalError) -> [CreditableLine] {
        let weights = map { Swift.max($0.left, .zero) }
        var sum = FixedDecimal.zero
        for weight in weights { sum = try sum.adding(weight) }
        let whole = Swift.max(most, .zero)
        guard sum > whole else { return self }
        var taxLeft = taxes
        var limited: [CreditableLine] = []
        for (line, share) in zip(self, try LargestRemainder.split(whole, over: weights, currency: currency)) {
            var parts: [LineTax] = []
            for tax in line.taxes {
                let part = try tax.amount.share(ofTaking: share, from: line.left, currency: currency)
                let amount = Swift.min(part, Swift.max(taxLeft[tax.rateKey] ?? .zero, .zero))
                taxLeft[tax.rateKey] = try (taxLeft[tax.rateKey] ?? .zero).subtracting(amount)
                parts.append(LineTax(rateKey: tax.rateKey, amount: amount))
            }
            limited.append(CreditableLine(number: line.number, left: share, taxes: parts))
        }
        return limited
    }
}

/// A part of a line that is taken back.
package struct CreditedLine: Sendable, Hashable {
    package let number: Int
    /// Its taxes included.
    package let amount: FixedDecimal
    /// What of `amount` is tax, by rate.
    package let taxes: [LineTax]
    /// The sum of `taxes`; never more than `amount`.
    package let tax: FixedDecimal
}

/// Why a credit note can't be what is asked for.
package enum CreditNoteRefusal: Error, Sendable, Hashable {
    case unknownLine(Int)
    case exceedsLine(Int, left: FixedDecimal)
    case exceedsInvoice(left: FixedDecimal)
    case outOfRange
}

/// A part of a final invoice taken back, line by line.
///
/// Amounts include tax. The tax in a part is in proportion to what is left of the line, `tax left x part / left`,
/// rounded half away from zero to the minor unit, and divided among the rates by largest remainder: credit notes that
/// take back a whole line give back exactly its taxes, whatever parts they take it in.
package struct CreditNote: Sendable, Hashable {
    /// In the order of the invoice; none of nothing.
    package let lines: [CreditedLine]
    package let amount: FixedDecimal
    package let tax: FixedDecimal

    /// Takes back parts of lines.
    ///
    /// - Parameters:
    ///   - parts: what to take back of lines, above zero and in whole minor units, each line once.
    ///   - lines: what is left of every line of the invoice.
    ///   - left: what is left of the invoice as a whole. It may be less than the lines come to, where some of them are
    ///     below zero.
    package init(
        parts: [(line: Int, amount: FixedDecimal)],
        of lines: [CreditableLine],
        left: FixedDecimal,
        currency: Currency
    ) throws(CreditNoteRefusal) {
        let asked = Dictionary(parts.map { ($0.line, $0.amount) }) { first, _ in first }
        let known = Set(lines.map(\.number))
        if let unknown = parts.first(where: { !known.contains($0.line) }) { throw .unknownLine(unknown.line) }
        do {
            var credited: [CreditedLine] = []
            var (amount, tax) = (FixedDecimal.zero, FixedDecimal.zero)
            for line in lines {
                guard let part = asked[line.number], part > .zero else { continue }
                guard part <= line.left else {
                    throw CreditNoteRefusal.exceedsLine(line.number, left: max(line.left, .zero))
                }
                let taken = try line.taking(part, currency: currency)
                credited.append(taken)
                amount = try amount.adding(taken.amount)
                tax = try tax.adding(taken.tax)
            }
            guard amount <= left else { throw CreditNoteRefusal.exceedsInvoice(left: max(left, .zero)) }
            (self.lines, self.amount, self.tax) = (credited, amount, tax)
        } catch let refusal as CreditNoteRefusal {
            throw refusal
        } catch {
            throw .outOfRange
        }
    }

    /// Takes back an amount, above zero and in whole minor units, spread over the lines in proportion to what is left
    /// of each, by largest remainder.
    package init(
        amount: FixedDecimal,
        of lines: [CreditableLine],
        left: FixedDecimal,
        currency: Currency
    ) throws(CreditNoteRefusal) {
        let parts: [(line: Int, amount: FixedDecimal)]
        do {
            let weights = lines.map { max($0.left, .zero) }
            var sum = FixedDecimal.zero
            for weight in weights { sum = try sum.adding(weight) }
            let most = max(min(sum, left), .zero)
            guard amount <= most else { throw CreditNoteRefusal.exceedsInvoice(left: most) }
            let shares = try LargestRemainder.split(amount, over: weights, currency: currency)
            parts = zip(lines, shares).map { ($0.number, $1) }
        } catch let refusal as CreditNoteRefusal {
            throw refusal
        } catch {
            throw .outOfRange
        }
        try self.init(parts: parts, of: lines, left: left, currency: currency)
    }
}

extension CreditableLine {
    fileprivate func taking(_ part: FixedDecimal, currency: Currency) throws(DecimalError) -> CreditedLine {
        var taxLeft = FixedDecimal.zero
        for tax in taxes { taxLeft = try taxLeft.adding(tax.amount) }
        let tax = try taxLeft.share(ofTaking: part, from: left, currency: currency)
        let shares = try LargestRemainder.split(tax, over: taxes.map(\.amount), currency: currency)
        return CreditedLine(
            number: number,
            amount: part,
            taxes: zip(taxes, shares).map { LineTax(rateKey: $0.rateKey, amount: $1) },
            tax: tax
        )
    }
}
