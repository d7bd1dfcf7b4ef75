import BillingCore
import Catalog

extension PrintableInvoice {
    /// A credit note as it is shown: from what was pinned with it and with its invoice alone. Amounts are what is taken
    /// back, above zero; each line without tax, with its taxes below.
    /// - Throws: `DecimalError.outOfRange` when a line's parts leave the range of an amount.
    init(_ note: StoredCreditNote, of invoice: WholeInvoice) throws(DecimalError) {
        let facts = invoice.document.facts
        let zone = Zone(identifier: facts.timezone) ?? .utc
        let text = note.currency.formatted
        let periods = Dictionary(invoice.lines.map { ($0.number, $0.period) }) { first, _ in first }
        var lines: [Line] = []
        for line in note.lines {
            lines.append(
                Line(
                    kind: "credit",
                    description: line.description,
                    period: periods[line.number] ?? invoice.invoice.period,
                    amount: text(line.amount),
                    amountUnrounded: line.amount.description,
                    taxes: line.taxes.map { tax in
                        let rate = note.facts.taxRates.first { $0.key == tax.rateKey }
                        return Tax(label: rate?.label ?? tax.rateKey, amount: text(tax.amount))
                    },
                    total: text(try line.amount.adding(line.tax))
                )
            )
        }
        self.init(
            id: note.id.description,
            number: note.number,
            title: "Credit note",
            kind: "credit_note",
            status: "issued",
            seller: facts.seller.map { Party(name: $0.name, lines: $0.lines) } ?? Party(name: ""),
            tenantKey: note.facts.tenant,
            tenant: Party(name: note.facts.tenantName, lines: facts.addressLines),
            currency: note.currency.code,
            period: invoice.invoice.period,
            issuedAt: note.createdAt,
            documentedAt: note.createdAt,
            payment: Payment(
                total: text(note.total),
                paidByCredit: text(.zero),
                amountDue: text(.zero),
                carriedForward: text(.zero)
            ),
            facts: [
                Fact("Credit note number", note.number),
                Fact("Issue date", InvoiceText.date(note.createdAt, in: zone)),
                Fact("Invoice number", note.facts.invoiceNumber),
                Fact("Period", InvoiceText.dates(invoice.invoice.period, in: zone)),
                Fact("Currency", note.currency.code),
            ],
            lines: lines,
            totals: try Self.totals(of: note, text),
            notes: ["Reason: \(note.reason)"] + facts.notes
        )
    }

    private static func totals(
        of note: StoredCreditNote,
        _ text: (FixedDecimal) -> String
    ) throws(DecimalError) -> [Total] {
        var totals = [Total("Subtotal", text(note.amount))]
        for rate in note.facts.taxRates {
            var sum = FixedDecimal.zero
            for line in note.lines {
                for tax in line.taxes where tax.rateKey == rate.key { sum = try sum.adding(tax.amount) }
            }
            if !sum.isZero { totals.append(Total(rate.label, text(sum))) }
        }
        totals.append(Total("Total credited", text(note.total), isEmphasised: true))
        if !note.appliedToDue.isZero { totals.append(Total("Taken off the amount due", text(note.appliedToDue))) }
        if !note.refunded.isZero {
            let way = note.refund == .credit ? "Credited to the account" : "Refunded"
            totals.append(Total(way, text(note.refunded)))
        }
        return totals
    }
}
