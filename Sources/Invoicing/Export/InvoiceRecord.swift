import BillingCore
import Catalog
import Web

/// A finalised invoice as one object of an export: everything that was pinned, and its state.
struct InvoiceRecord: Encodable, Sendable {
    struct Tax: Encodable, Sendable {
        let rate: String
        let amount: String
    }

    struct Tier: Encodable, Sendable {
        let basis: String
        let upTo: FixedDecimal?
        let quantity: FixedDecimal
        let unitAmount: FixedDecimal
        let flatAmount: FixedDecimal
        let amount: String
    }

    struct Line: Encodable, Sendable {
        let line: Int
        let kind: String
        let item: String
        let key: String
        let description: String
        let period: Interval
        let cell: [String: String]
        let quantity: FixedDecimal?
        let unit: String?
        let plan: String
        let planVersion: Int?
        let priceModel: String?
        let tiers: [Tier]
        let amountUnrounded: String
        let previouslyInvoiced: String
        let amount: String
        let discount: String
        let includedCredit: String
        let promotionalCredit: String
        let creditedBefore: String
        let taxes: [Tax]
        let tax: String
    }

    let id: String
    let number: String?
    let status: String
    let invoiceKind: String
    let tenant: String
    let tenantName: String
    let subscription: String
    let plan: String
    let currency: String
    let period: Interval
    let issuedAt: Instant?
    let dueAt: Instant?
    let paidAt: Instant?
    let voidedAt: Instant?
    let ledgerSeq: Int64
    let lines: [Line]
    /// What was used and is in no amount, as in the API.
    let unpriced: [JSONValue]
    let subtotal: String
    let discount: String
    let credits: String
    let tax: String
    let total: String
    let carriedForward: String
    let paidByCredit: String
    let amountDue: String
}

extension InvoiceRecord {
    /// - Throws: `DecimalError.outOfRange` when a line's parts leave the range of an amount.
    init(_ whole: WholeInvoice) throws(DecimalError) {
        let (invoice, document) = (whole.invoice, whole.document)
        let money = document.currency.formatted
        id = invoice.id.description
        number = document.number
        status = invoice.status.rawValue
        invoiceKind = invoice.kind.rawValue
        tenant = document.tenantKey
        tenantName = document.tenantName
        subscription = invoice.subscriptionID.description
        plan = document.facts.plan
        currency = document.currency.code
        period = invoice.period
        issuedAt = document.finalizedAt
        dueAt = document.dueAt
        paidAt = invoice.paidAt
        voidedAt = invoice.voidedAt
        ledgerSeq = document.ledgerSequence
        var lines: [Line] = []
        for line in whole.lines { lines.append(try Line(line, money)) }
        self.lines = lines
        unpriced = document.facts.unpriced.map(InvoiceBody.unpriced)
        let amounts = document.amounts
        subtotal = money(amounts.subtotal)
        discount = money(amounts.discount)
        credits = money(amounts.credits)
        tax = money(amounts.tax)
        total = money(amounts.total)
        carriedForward = money(amounts.carriedForward)
        paidByCredit = money(amounts.paidByCredit)
        amountDue = money(amounts.due)
    }
}

extension InvoiceRecord.Line {
    fileprivate init(_ stored: StoredInvoiceLine, _ money: (FixedDecimal) -> String) throws(DecimalError) {
        line = stored.number
        kind = stored.kind.rawValue
        item = stored.item.rawValue
        key = stored.itemKey
        description = stored.description
        period = stored.period
        cell = PrintableInvoice.cellValues(stored.cell)
        quantity = stored.quantity
        unit = stored.facts.unit
        plan = stored.facts.plan
        planVersion = stored.facts.planVersion
        priceModel = stored.facts.priceModel
        tiers = stored.steps.map { step in
            InvoiceRecord.Tier(
                basis: step.basis.rawValue,
                upTo: step.upTo,
                quantity: step.quantity,
                unitAmount: step.unitAmount,
                flatAmount: step.flatAmount,
                amount: step.amount
            )
        }
        amountUnrounded = stored.amountExact
        previouslyInvoiced = money(stored.previouslyInvoiced)
        amount = money(stored.amount)
        discount = money(stored.discount)
        includedCredit = money(stored.includedCredit)
        promotionalCredit = money(stored.promotionalCredit)
        creditedBefore = money(try stored.creditedBefore)
        taxes = stored.facts.taxes.map { InvoiceRecord.Tax(rate: $0.rateKey, amount: money($0.amount)) }
        tax = money(stored.tax)
    }
}
