import BillingCore
import Catalog
import Web

/// A credit note as it is pinned: what it says never changes.
struct StoredCreditNote: Sendable {
    /// How what was paid already is given back, by its name in the API.
    enum Refund: String, Sendable, CaseIterable {
        /// As prepaid credit of the tenant.
        case credit
        /// By the operator, outside of the service.
        case external
    }

    struct Line: Sendable {
        /// The invoice's line.
        let number: Int
        let description: String
        /// Without tax.
        let amount: FixedDecimal
        let tax: FixedDecimal
        let taxes: [LineTax]
    }

    let id: CreditNoteID
    let tenantID: TenantID
    let invoiceID: InvoiceID
    /// The place in the gapless series.
    let sequence: Int64
    let number: String
    let createdAt: Instant
    let currency: Currency
    let reason: String
    /// Without tax.
    let amount: FixedDecimal
    let tax: FixedDecimal
    let total: FixedDecimal
    let refund: Refund
    /// What it took off what was still to be paid of the invoice.
    let appliedToDue: FixedDecimal
    /// What it gave back: the rest of the total.
    let refunded: FixedDecimal
    let facts: CreditNoteFacts
    var lines: [Line] = []
}

/// What a credit note shows and is never asked for in SQL.
struct CreditNoteFacts: Sendable {
    let tenant: String
    let tenantName: String
    let invoiceNumber: String
    /// Those of the invoice.
    let taxRates: [TaxRate]
    /// The credit that it made.
    let creditGrant: CreditGrantID?
}

extension CreditNoteFacts {
    /// As it is stored.
    var json: JSONValue {
        .members([
            "credit_grant": .text(creditGrant?.description),
            "invoice_number": .string(invoiceNumber),
            "tax_rates": taxRates.json,
            "tenant": .string(tenant),
            "tenant_name": .string(tenantName),
        ])
    }

    /// Nil for what this room never wrote.
    init?(json: JSONValue) {
        guard let tenant = json.text("tenant"), let tenantName = json.text("tenant_name"),
            let invoiceNumber = json.text("invoice_number")
        else { return nil }
        self.tenant = tenant
        self.tenantName = tenantName
        self.invoiceNumber = invoiceNumber
        creditGrant = json.text("credit_grant").flatMap { CreditGrantID($0) }
        taxRates = json["tax_rates"].map { [TaxRate](json: $0) } ?? []
    }
}

extension [TaxRate] {
    /// As they are stored.
    var json: JSONValue {
        .array(map { .members(["key": .string($0.key), "name": .string($0.name), "percent": .amount($0.percent)]) })
    }

    init(json: JSONValue) {
        guard case .array(let elements) = json else {
            self = []
            return
        }
        self = elements.compactMap { rate in
            guard let key = rate.text("key"), let name = rate.text("name"), let percent = rate.decimal("percent")
            else { return nil }
            return TaxRate(key: key, name: name, percent: percent)
        }
    }
}

extension [LineTax] {
    /// As it is stored.
    var json: JSONValue {
        .array(map { .members(["amount": .amount($0.amount), "rate": .string($0.rateKey)]) })
    }

    init(json: JSONValue) {
        guard case .array(let elements) = json else {
            self = []
            return
        }
        self = elements.compactMap { tax in
            guard let rate = tax.text("rate"), let amount = tax.decimal("amount") else { return nil }
            return LineTax(rateKey: rate, amount: amount)
        }
    }
}
