import BillingCore
import Catalog

/// A line's amount in sentences, in the order in which it comes about.
struct LineInWords: Sendable {
    let sentences: [String]

    /// - Parameter uncosted: what of the line's usage lacks a provider cost.
    /// - Throws: `DecimalError.outOfRange` when a line's parts leave the range of an amount.
    init(
        _ line: StoredInvoiceLine,
        steps: [PriceStep],
        uncosted: [InvoiceFacts.Unpriced],
        of document: StoredDocument
    ) throws(DecimalError) {
        let words = Words(line: line, document: document)
        let sentences =
            words.usage() + words.exactAmount(steps) + (try words.rounding()) + words.discount()
            + (try words.credits())
            + (try words.rest()) + (try words.taxes()) + uncosted.map { $0.text(named: line.itemName) }
        self.sentences = sentences.map { $0 + "." }
    }
}

private struct Words {
    let line: StoredInvoiceLine
    let document: StoredDocument

    private func money(_ amount: FixedDecimal) -> String { "\(number(amount)) \(document.currency.code)" }

    private func number(_ amount: FixedDecimal) -> String {
        InvoiceText.grouped(Money(amount, document.currency).formatted)
    }

    func usage() -> [String] {
        guard let quantity = line.quantity else { return [] }
        let unit = line.facts.unit ?? ""
        let events = line.facts.eventCount.map { " in \(InvoiceText.counted(String($0), "event"))" } ?? ""
        let before = line.facts.quantityBefore.flatMap { $0.isZero ? nil : $0 }.map {
            ", after \(InvoiceText.counted($0.description, unit)) earlier in the period"
        }
        return ["\(InvoiceText.counted(quantity.description, unit)) used\(events)\(before ?? "")"]
    }

    func exactAmount(_ steps: [PriceStep]) -> [String] {
        var sentences: [String] = []
        if let part = line.facts.prorated {
            let amount = InvoiceText.grouped(part.amount.description)
            let exact = InvoiceText.grouped(line.amountExact)
            sentences.append(
                "\(amount) for a whole period, of which \(part.numerator)/\(part.denominator) is charged: "
                    + "\(amount) x \(part.numerator)/\(part.denominator) = \(exact)"
            )
        }
        sentences += steps.map { "\($0.label): \($0.arithmetic)" }
        if steps.count > 1 {
            let sum = steps.map { InvoiceText.grouped($0.amount) }.joined(separator: " + ")
            sentences.append("Together: \(sum) = \(InvoiceText.grouped(line.amountExact))")
        }
        return sentences
    }

    func rounding() throws(DecimalError) -> [String] {
        let rounded = try line.amount.adding(line.previouslyInvoiced)
        let sentence = "\(InvoiceText.grouped(line.amountExact)) rounds to \(money(rounded))"
        guard line.kind == .adjustment else { return [sentence] }
        return [sentence, line.correction(money)]
    }

    func discount() -> [String] {
        guard !line.discount.isZero else { return [] }
        guard !line.discount.isNegative else {
            let taken = money(line.discount.magnitude)
            return ["A discount of \(taken) had been taken off that, and goes back with it"]
        }
        let discounts = document.facts.discounts.filter { !$0.taken.isZero }
        let taken = money(line.discount.negated)
        guard discounts.count == 1, let only = discounts.first else {
            return ["Discounts (\(discounts.map(\.name).joined(separator: ", "))): \(taken)"]
        }
        guard let percent = only.percent else {
            return ["Discount \(only.name), this line's share of \(money(only.taken)): \(taken)"]
        }
        return ["Discount \(only.name): \(percent) % of \(money(line.amount)), \(taken)"]
    }

    func credits() throws(DecimalError) -> [String] {
        var sentences: [String] = []
        if !line.includedCredit.isZero {
            sentences.append("Included credit, this line's share: \(money(line.includedCredit.negated))")
        }
        if line.promotionalCredit.isNegative {
            let paid = money(line.promotionalCredit.magnitude)
            sentences.append("Promotional credit had paid \(paid) of that, which goes back to the credit")
        } else if !line.promotionalCredit.isZero {
            sentences.append("Promotional credit, this line's share: \(money(line.promotionalCredit.negated))")
        }
        let before = try line.creditedBefore
        if before.isNegative {
            sentences.append(
                "Credit notes had given back \(money(before.magnitude)) of that, which does not go back again"
            )
        } else if !before.isZero {
            sentences.append("Credit notes had given back more elsewhere: \(money(before.negated))")
        }
        return sentences
    }

    /// What discounts and credits leave.
    func rest() throws(DecimalError) -> [String] {
        let parts = [line.discount, line.includedCredit, line.promotionalCredit, try line.creditedBefore]
            .filter { !$0.isZero }
        guard !parts.isEmpty else { return [] }
        let sum = ([line.amount] + parts.map(\.negated)).map(number).joined(separator: " + ")
        return ["Left: \(sum.replacing("+ -", with: "- ")) = \(money(try line.net))"]
    }

    /// With the arithmetic, where the tax comes of what is left; that of what is taken back may not.
    func taxes() throws(DecimalError) -> [String] {
        let treatment = document.facts.billing.tax
        let net = try line.net
        let expected = try treatment.taxes(on: net, currency: document.currency)
        var divisor = FixedDecimal(100)
        if treatment.isInclusive { for rate in treatment.rates { divisor = try divisor.adding(rate.percent) } }
        return line.facts.taxes.map { tax in
            guard let rate = treatment.rates.first(where: { $0.key == tax.rateKey }), expected.contains(tax) else {
                let label = document.facts.taxRates.first { $0.key == tax.rateKey }?.label ?? tax.rateKey
                let origin = tax.amount.isNegative ? ", as it was charged before" : ""
                return "\(label)\(origin): \(money(tax.amount))"
            }
            let contained = treatment.isInclusive ? ", contained in the price" : ""
            return "\(rate.label)\(contained): \(number(net)) x \(rate.percent)/\(divisor) = \(money(tax.amount))"
        }
    }
}

extension StoredInvoiceLine {
    /// What an adjustment does, for whoever was charged before.
    /// - Parameter money: how an amount is written.
    func correction(_ money: (FixedDecimal) -> String) -> String {
        let before = money(previouslyInvoiced)
        if amount.isZero { return "Earlier invoices charged \(before), which is right" }
        return amount.isNegative
            ? "Earlier invoices charged \(before): \(money(amount.magnitude)) too much, which goes back"
            : "Earlier invoices charged \(before): \(money(amount)) more is due"
    }
}
