import BillingCore
import Catalog
import Postgres
import Web

/// What is done to an invoice after it was drafted. Each runs under the tenant's ledger lock.
struct InvoiceActions: Sendable {
    let catalog: CatalogSnapshot
    let now: Instant
    let ids: IDSource
    /// Who issues the invoices; nil where the operator has not said.
    let seller: InvoiceSeller?
    let grace: InvoiceGrace

    /// Finalises a draft before its grace is over.
    func finalize(_ invoice: StoredInvoice, in transaction: borrowing Transaction) throws {
        guard invoice.status == .draft else { throw InvoiceFault.wrongStatus(invoice.status, action: "finalised") }
        if let earlier = try InvoiceStore.earlierDraft(than: invoice, in: transaction) {
            throw InvoiceFault.earlierInvoiceOpen(earlier)
        }
        let finalizing = InvoiceFinalizing(catalog: catalog, plans: [:], now: now, ids: ids, seller: seller)
        let outcome = try finalizing.run([invoice], in: transaction)
        guard outcome.failed.isEmpty else { throw InvoiceFault.amountOutOfRange }
        guard outcome.empty.isEmpty else { throw InvoiceFault.nothingToInvoice }
    }

    /// Voids an invoice: it keeps its number, its credits and discounts are given back, and what it charged stands no
    /// more. Its period is open until it is reissued; the periods that it adjusted need their adjustment again.
    /// - Parameter isReissued: whether it is reissued in the same transaction. It must be where others gave some of
    ///   what it charged back, which would then be more than the tenant was charged at all.
    func void(_ head: InvoiceStore.Head, isReissued: Bool, in transaction: borrowing Transaction) throws {
        let invoice = head.invoice
        switch invoice.status {
        case .draft, .finalized, .uncollectible: break
        case .paid where head.document?.amounts.due == .zero: break
        case .paid: throw InvoiceFault.paidWithMoney
        case .void: throw InvoiceFault.wrongStatus(.void, action: "voided")
        }
        guard invoice.credited.isZero else { throw InvoiceFault.hasCreditNotes }
        if let facts = head.document?.facts,
            let note = try CreditNoteStore.since(invoice, counted: facts.creditNotesThrough ?? 0, in: transaction)
        {
            throw InvoiceFault.creditedSince(note.id, number: note.number)
        }
        if !isReissued, let later = try InvoiceStore.givingBack(whatIsChargedBy: invoice, in: transaction) {
            throw InvoiceFault.adjustedByLater(later.id, number: later.number)
        }
        try InvoiceStore.void(
            invoice,
            at: now,
            before: try InvoiceSeriesStore.next(of: .invoice, in: transaction),
            in: transaction
        )
        if let document = head.document { try takeBack(invoice, document, in: transaction) }
    }

    private func takeBack(
        _ invoice: StoredInvoice,
        _ document: StoredDocument,
        in transaction: borrowing Transaction
    ) throws {
        let tenant = invoice.tenantID
        if let owed = try CreditGrantStore.made(by: invoice.id.rawValue, tenant: tenant, in: transaction) {
            // What was spent stays spent, also when the rest has been voided since.
            guard owed.remaining == owed.amount else { throw InvoiceFault.creditSpent }
            if owed.voidedAt == nil { try CreditGrantStore.void(owed, at: now, in: transaction) }
        }
        guard try CreditGrantStore.hasWhatCameBack(from: invoice.id, tenant: tenant, in: transaction) else {
            throw InvoiceFault.creditSpent
        }
        guard try !laterInvoicesGaveBack(whatWasUsedBy: invoice, in: transaction) else {
            throw InvoiceFault.creditReturned
        }
        try CreditGrantStore.giveBack(invoice.id, tenant: tenant, at: now, in: transaction)
        let discounts = document.facts.discounts.map(\.id)
        if !discounts.isEmpty {
            try transaction.execute(DiscountStore.unuse(discounts, tenant: tenant, at: now))
        }
        if invoice.kind == .regular {
            try transaction.execute(
                PeriodClosingStore.reopen(tenant, invoice.subscriptionID, index: invoice.periodIndex)
            )
        }
        try transaction.execute(
            PeriodClosingStore.requireAdjustment(
                tenant,
                invoice.subscriptionID,
                indices: document.facts.adjustedPeriods
            )
        )
    }

    /// Whether invoices that stand gave promotional credit back, of periods of a voided one, that only that one used:
    /// it would come back twice.
    private func laterInvoicesGaveBack(
        whatWasUsedBy invoice: StoredInvoice,
        in transaction: borrowing Transaction
    ) throws -> Bool {
        let lines = try InvoiceStore.lines(of: [invoice], in: transaction)[invoice.id] ?? []
        let periods = Set(lines.filter { !$0.facts.promotionalCredits.isEmpty }.map(\.periodIndex)).sorted()
        guard !periods.isEmpty else { return false }
        let wanted = periods.map { index in
            InvoicedAmountStore.Wanted(
                tenant: invoice.tenantID,
                subscription: invoice.subscriptionID,
                index: index,
                kind: invoice.kind,
                invoicePeriod: invoice.periodIndex
            )
        }
        let invoiced = try transaction.query(InvoicedAmountStore.amounts(wanted), InvoicedAmountStore.amount)
        return try Dictionary(invoiced.map { ($0.key, $0.amount) }) { first, _ in first }.givesBackTooMuch
    }

    /// Drafts an invoice in place of a voided one, with a grace like any other. Where an adjustment is still due
    /// of itself, one of the two charges what is missing, and the other comes to nothing.
    func reissue(_ invoice: StoredInvoice, in transaction: borrowing Transaction) throws -> StoredInvoice {
        guard invoice.status == .void else {
            throw InvoiceFault.wrongStatus(invoice.status, action: "reissued")
        }
        guard try !InvoiceStore.isReissued(invoice, in: transaction) else { throw InvoiceFault.alreadyReissued }
        let draft = StoredInvoice(
            id: InvoiceID(rawValue: ids.next()),
            tenantID: invoice.tenantID,
            subscriptionID: invoice.subscriptionID,
            kind: invoice.kind,
            periodIndex: invoice.periodIndex,
            period: invoice.period,
            reissueOf: invoice.id,
            createdAt: now,
            issuedAt: grace.end(draftedAt: now, asOf: now)
        )
        guard try transaction.execute(InvoiceInsertion.drafts([draft])) == 1 else {
            let other = try InvoiceStore.draftAdjustment(of: invoice, in: transaction)
            throw other.map(InvoiceFault.adjustmentDrafted) ?? .alreadyReissued
        }
        return draft
    }

    func pay(_ invoice: StoredInvoice, in transaction: borrowing Transaction) throws {
        guard invoice.status == .finalized || invoice.status == .uncollectible else {
            throw InvoiceFault.wrongStatus(invoice.status, action: "paid")
        }
        try InvoiceStore.set(.paid, of: invoice, at: now, in: transaction)
    }

    func markUncollectible(_ invoice: StoredInvoice, in transaction: borrowing Transaction) throws {
        guard invoice.status == .finalized else {
            throw InvoiceFault.wrongStatus(invoice.status, action: "marked uncollectible")
        }
        try InvoiceStore.set(.uncollectible, of: invoice, at: now, in: transaction)
    }
}
