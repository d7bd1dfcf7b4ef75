import BillingCore

/// A line's amount in sentences, in the order in which it comes about.
struct LineInWords: Sendable {
    let sentences: [String]

    /// - Throws: `DecimalError.outOfRange` when a line's parts leave the range of an amount.
    init(_ line: StoredInvoiceLine, steps: [PriceStep], currency: Currency) throws(DecimalError) {
        var sentences: [String] = []
        if let quantity = line.quantity { sentences.append(Self.usage(quantity, of: line)) }
        sentences += steps.map { "\($0.label): \($0.arithmetic)" }
        if steps.count > 1 {
            let sum = steps.map { InvoiceText.grouped($0.amount) }.joined(separator: " + ")
            sentences.append("Together: \(sum) = \(InvoiceText.grouped(line.amountExact))")
        }
        let money = { (amount: FixedDecimal) in
            "\(InvoiceText.grouped(Money(amount, currency).formatted)) \(currency.code)"
        }
        let rounded = try line.amount.adding(line.previouslyInvoiced)
        sentences.append("\(InvoiceText.grouped(line.amountExact)) rounds to \(money(rounded))")
        if !line.previouslyInvoiced.isZero {
            let text =
                "Earlier invoices charged \(money(line.previouslyInvoiced)), so that \(money(line.amount)) is left"
            sentences.append(text)
        }
        for (name, amount) in [
            ("Discounts", line.discount), ("Included credit", line.includedCredit),
            ("Promotional credit", line.promotionalCredit),
        ] where !amount.isZero {
            sentences.append("\(name): \(money(amount.negated))")
        }
        self.sentences = sentences.map { $0 + "." }
    }

    private static func usage(_ quantity: FixedDecimal, of line: StoredInvoiceLine) -> String {
        let unit = line.facts.unit.map { " \($0)" } ?? ""
        let events = line.facts.eventCount.map { " in \(InvoiceText.grouped(String($0))) events" } ?? ""
        let before = line.facts.quantityBefore.flatMap { $0.isZero ? nil : $0 }.map {
            ", after \(InvoiceText.grouped($0.description))\(unit) earlier in the period"
        }
        return "\(InvoiceText.grouped(quantity.description))\(unit) used\(events)\(before ?? "")"
    }
}
