import BillingCore
import Catalog
import Web

/// How an invoice comes about: for each line the steps of its price, its rounding, and where the events behind it are.
struct InvoiceExplanation: Encodable, Sendable {
    let invoice: String
    let number: String?
    let status: String
    let tenant: String
    let currency: String
    /// The tenant's ledger sequence that the usage goes up to.
    let ledgerSeq: Int64
    let rounding: String
    let lines: [Line]
    /// What was used and is in no amount, in sentences.
    let unpriced: [String]

    struct Line: Encodable, Sendable {
        let line: Int
        let kind: String
        let description: String
        let plan: String
        let planVersion: Int?
        let priceModel: String?
        let feature: String?
        let cell: [String: String]
        let quantity: FixedDecimal?
        /// What earlier segments of the period had used: their part of the tiers is theirs.
        let quantityBefore: FixedDecimal?
        let unit: String?
        let eventCount: Int64?
        let steps: [Step]
        let amountUnrounded: String
        let amountRounded: String
        let previouslyInvoiced: String
        let amount: String
        let discount: String
        let includedCredit: String
        let promotionalCredit: String
        let creditedBefore: String
        let taxes: [Tax]
        /// The ledger sequence of the last event that changed what was counted.
        let ledgerSeq: Int64?
        /// Where exactly the events behind the line are listed; null where it is not about usage.
        let events: String?
        /// The same in sentences.
        let text: [String]
    }

    struct Step: Encodable, Sendable {
        let basis: String
        let label: String
        let quantity: FixedDecimal
        let unitAmount: FixedDecimal
        let flatAmount: FixedDecimal
        let amount: String
        let arithmetic: String
    }

    struct Tax: Encodable, Sendable {
        let key: String
        let label: String
        let amount: String
    }
}

extension InvoiceExplanation {
    /// - Throws: `DecimalError.outOfRange` when a line's parts leave the range of an amount.
    init(_ whole: WholeInvoice) throws(DecimalError) {
        let document = whole.document
        invoice = whole.invoice.id.description
        number = document.number
        status = whole.invoice.status.rawValue
        tenant = document.tenantKey
        currency = document.currency.code
        ledgerSeq = document.ledgerSequence
        rounding = Self.rounding(of: document.currency)
        var lines: [Line] = []
        let uncosted = Dictionary(
            grouping: document.facts.unpriced.filter { $0.uncosted != nil && $0.sumOf == nil },
            by: \.place
        )
        for line in whole.lines {
            let lacking = line.placeOfUsage.flatMap { uncosted[$0] } ?? []
            lines.append(try Line(line, uncosted: lacking, of: document))
        }
        self.lines = lines
        let names = Dictionary(whole.lines.map { ($0.itemKey, $0.itemName) }) { first, _ in first }
        unpriced = document.facts.unpriced.map { $0.text(named: names[$0.feature]) + "." }
    }

    fileprivate static func rounding(of currency: Currency) -> String {
        let digits = currency.minorUnits
        return "Half away from zero to \(digits) fractional \(digits == 1 ? "digit" : "digits"), once for each line."
    }
}

extension InvoiceExplanation.Line {
    fileprivate init(
        _ line: StoredInvoiceLine,
        uncosted: [InvoiceFacts.Unpriced],
        of document: StoredDocument
    ) throws(DecimalError) {
        let money = document.currency.formatted
        let rates = document.facts.taxRates
        let steps = line.steps
        self.line = line.number
        kind = line.kind.rawValue
        description = line.description
        plan = line.facts.plan
        planVersion = line.facts.planVersion
        priceModel = line.facts.priceModel
        feature = line.item == .usage ? line.itemKey : nil
        cell = PrintableInvoice.cellValues(line.cell)
        quantity = line.quantity
        quantityBefore = line.facts.quantityBefore
        unit = line.facts.unit
        eventCount = line.facts.eventCount
        self.steps = steps.map(InvoiceExplanation.Step.init)
        amountUnrounded = line.amountExact
        amountRounded = money(try line.amount.adding(line.previouslyInvoiced))
        previouslyInvoiced = money(line.previouslyInvoiced)
        amount = money(line.amount)
        discount = money(line.discount)
        includedCredit = money(line.includedCredit)
        promotionalCredit = money(line.promotionalCredit)
        creditedBefore = money(try line.creditedBefore)
        taxes = line.facts.taxes.map { tax in
            InvoiceExplanation.Tax(
                key: tax.rateKey,
                label: rates.first { $0.key == tax.rateKey }?.label ?? tax.rateKey,
                amount: money(tax.amount)
            )
        }
        ledgerSeq = line.facts.ledgerSequence
        events = line.eventsPath(tenant: document.tenantKey, through: document.ledgerSequence)
        text = try LineInWords(line, steps: steps, uncosted: uncosted, of: document).sentences
    }
}

extension InvoiceExplanation.Step {
    fileprivate init(_ step: PriceStep) {
        basis = step.basis.rawValue
        label = step.label
        quantity = step.quantity
        unitAmount = step.unitAmount
        flatAmount = step.flatAmount
        amount = step.amount
        arithmetic = step.arithmetic
    }
}

extension StoredInvoiceLine {
    /// What the invoice names usage of the line by that lacks a provider cost; nil where the line is about none.
    fileprivate var placeOfUsage: InvoiceFacts.Unpriced.Place? {
        item == .usage ? InvoiceFacts.Unpriced.Place(feature: itemKey, cell: cell, period: period) : nil
    }

    /// `GET /events` with everything that makes it list the events behind the line and no others.
    fileprivate func eventsPath(tenant: String, through sequence: Int64) -> String? {
        guard item == .usage else { return nil }
        var query = [
            ("tenant", tenant), ("feature", itemKey), ("from", period.start.description),
            ("to", period.end.description),
            ("through_ledger_seq", String(sequence)),
        ]
        if !cell.isEmpty { query.append(("cell", cell)) }
        let text = query.map { "\($0.0)=\(PercentEncoding.encoded($0.1))" }.joined(separator: "&")
        return "\(Operations.basePath)/events?\(text)"
    }
}
