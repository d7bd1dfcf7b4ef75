import BillingCore
import Web

/// A credit note as it is answered. Amounts include tax unless their names say otherwise.
struct CreditNoteBody: Encodable, Sendable {
    struct Tax: Encodable, Sendable {
        let rate: String
        let name: String
        let percent: FixedDecimal
        let amount: String
    }

    struct Line: Encodable, Sendable {
        let line: Int
        let description: String
        let amount: String
        let amountExcludingTax: String
        let tax: String
    }

    let id: CreditNoteID
    let number: String
    let invoice: InvoiceID
    let invoiceNumber: String
    let tenant: String
    let tenantName: String
    let currency: String
    let reason: String
    let lines: [Line]
    let total: String
    let totalExcludingTax: String
    let tax: String
    let taxes: [Tax]
    let refund: String
    let appliedToDue: String
    let refunded: String
    let creditGrant: CreditGrantID?
    let createdAt: Instant

    init(_ note: StoredCreditNote) throws {
        let money = note.currency.formatted
        id = note.id
        number = note.number
        invoice = note.invoiceID
        invoiceNumber = note.facts.invoiceNumber
        tenant = note.facts.tenant
        tenantName = note.facts.tenantName
        currency = note.currency.code
        reason = note.reason
        lines = try note.lines.map { line in
            Line(
                line: line.number,
                description: line.description,
                amount: money(try line.amount.adding(line.tax)),
                amountExcludingTax: money(line.amount),
                tax: money(line.tax)
            )
        }
        total = money(note.total)
        totalExcludingTax = money(note.amount)
        tax = money(note.tax)
        let perRate = try note.lines.flatMap(\.taxes).reduce(into: [String: FixedDecimal]()) { sums, tax in
            sums[tax.rateKey] = try (sums[tax.rateKey] ?? .zero).adding(tax.amount)
        }
        taxes = note.facts.taxRates.compactMap { rate in
            perRate[rate.key].map { Tax(rate: rate.key, name: rate.name, percent: rate.percent, amount: money($0)) }
        }
        refund = note.refund.rawValue
        appliedToDue = money(note.appliedToDue)
        refunded = money(note.refunded)
        creditGrant = note.facts.creditGrant
        createdAt = note.createdAt
    }
}
