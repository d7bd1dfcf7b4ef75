import BillingCore
import Catalog
import Identity
import Postgres
import Web
import Webhooks

/// Issues a credit note, in one transaction.
///
/// Order of locks: the tenant's ledger, under which invoices are finalised and credits used; the invoice, so that of
/// credit notes issued at once each sees what the others took; the series last.
struct CreditNoteService: Sendable {
    let context: RequestContext
    let now: Instant

    /// The invoice as it is after the credit note, and whether the note left nothing to pay.
    struct Outcome: Sendable {
        let note: StoredCreditNote
        let before: StoredInvoice
        let after: StoredInvoice

        var paidTheRest: Bool { before.status != .paid && after.status == .paid }
    }

    func issue(
        _ input: CreditNoteInput,
        on id: InvoiceID,
        in transaction: borrowing Transaction
    ) throws -> Outcome {
        let (invoice, document) = try locked(id, in: transaction)
        try input.checkMinorUnits(of: document.currency)
        let lines = try InvoiceStore.lines(of: [invoice], in: transaction)[id] ?? []
        let standing = try InvoiceStore.linesStanding(besides: invoice, ofPeriodsIn: lines, in: transaction)
        let taken = try CreditNoteStore.credited(of: [id] + standing.keys, tenant: invoice.tenantID, in: transaction)
        var charged = ChargedItems(isTaxInclusive: document.facts.billing.tax.isInclusive)
        try charged.add(lines, less: taken[id] ?? [])
        for (other, lines) in standing { try charged.add(lines, less: taken[other] ?? []) }
        let creditable = try charged.creditable(lines, less: taken[id] ?? [], currency: document.currency)
        let arithmetic = try credit(input, document, creditable, invoice)
        let after = try invoice.credited(by: arithmetic.amount, due: document.amounts.due, at: now)
        transaction.enqueue(InvoiceStore.credit(after.invoice))
        let note = try number(arithmetic, after.appliedToDue, input, invoice, document, lines, in: transaction)
        let outcome = Outcome(note: note, before: invoice, after: after.invoice)
        var events = [OutboxEvent(note, id: context.ids.next())]
        if outcome.paidTheRest {
            events.append(OutboxEvent(.invoicePaid, outcome.after, document, id: context.ids.next(), at: now))
        }
        Outbox.enqueue(events, in: transaction)
        return outcome
    }

    /// An invoice that says something, and may have something taken back.
    private func locked(
        _ id: InvoiceID,
        in transaction: borrowing Transaction
    ) throws -> (StoredInvoice, StoredDocument) {
        let absent = InvoiceFault.notFound(id.description)
        guard let tenant = try InvoiceStore.find(id, in: transaction)?.invoice.tenantID else { throw absent }
        _ = try TenantLedger.lock(tenant, in: transaction)
        guard let head = try InvoiceStore.locked(id, tenant: tenant, in: transaction) else { throw absent }
        guard let document = head.document, [.finalized, .paid, .uncollectible].contains(head.invoice.status) else {
            throw InvoiceFault.wrongStatus(head.invoice.status, action: "credited")
        }
        return (head.invoice, document)
    }

    private func credit(
        _ input: CreditNoteInput,
        _ document: StoredDocument,
        _ lines: [CreditableLine],
        _ invoice: StoredInvoice
    ) throws -> CreditNote {
        let left = try document.amounts.total.subtracting(invoice.credited)
        do throws(CreditNoteRefusal) {
            switch input.value {
            case .amount(let amount):
                return try CreditNote(amount: amount, of: lines, left: left, currency: document.currency)
            case .lines(let parts):
                return try CreditNote(parts: parts, of: lines, left: left, currency: document.currency)
            }
        } catch {
            throw error.problem(for: input, currency: document.currency)
        }
    }

    /// Numbers the note. Nothing is locked after the series; what follows is only inserted.
    private func number(
        _ credit: CreditNote,
        _ appliedToDue: FixedDecimal,
        _ input: CreditNoteInput,
        _ invoice: StoredInvoice,
        _ document: StoredDocument,
        _ lines: [StoredInvoiceLine],
        in transaction: borrowing Transaction
    ) throws -> StoredCreditNote {
        let refunded = try credit.amount.subtracting(appliedToDue)
        let makesCredit = input.refund == .credit && refunded > .zero
        let grant = makesCredit ? CreditGrantID(rawValue: context.ids.next()) : nil
        let descriptions = Dictionary(lines.map { ($0.number, $0.description) }) { first, _ in first }
        let series = try InvoiceSeriesStore.take(1, of: .creditNote, in: transaction)
        let note = StoredCreditNote(
            id: CreditNoteID(rawValue: context.ids.next()),
            tenantID: invoice.tenantID,
            invoiceID: invoice.id,
            sequence: series.first,
            number: InvoiceSeriesStore.number(series.first, prefix: series.prefix),
            createdAt: now,
            currency: document.currency,
            reason: input.reason,
            amount: try credit.amount.subtracting(credit.tax),
            tax: credit.tax,
            total: credit.amount,
            refund: input.refund,
            appliedToDue: appliedToDue,
            refunded: refunded,
            facts: CreditNoteFacts(
                tenant: document.tenantKey,
                tenantName: document.tenantName,
                invoiceNumber: document.number ?? "",
                taxRates: document.facts.taxRates,
                creditGrant: grant
            ),
            lines: try credit.lines.map { line in
                StoredCreditNote.Line(
                    number: line.number,
                    description: descriptions[line.number] ?? "",
                    amount: try line.amount.subtracting(line.tax),
                    tax: line.tax,
                    taxes: line.taxes
                )
            }
        )
        CreditNoteStore.insert(note, in: transaction)
        if let grant { transaction.enqueue(CreditGrantStore.insertion([CreditGrant(refunding: note, as: grant)])) }
        return note
    }
}

extension StoredInvoice {
    /// The invoice with so much taken off. That lowers first what is still to be paid, and an invoice with nothing left
    /// to pay is paid; one that was paid, or given up, stays so.
    fileprivate func credited(
        by amount: FixedDecimal,
        due: FixedDecimal,
        at now: Instant
    ) throws(DecimalError) -> (invoice: StoredInvoice, appliedToDue: FixedDecimal) {
        let open = status == .paid ? .zero : max(try due.subtracting(credited), .zero)
        var after = self
        after.credited = try credited.adding(amount)
        if status == .finalized, amount >= open {
            after.status = .paid
            after.paidAt = now
        }
        after.updatedAt = now
        after.revision += 1
        return (after, min(amount, open))
    }
}

extension CreditGrant {
    /// What a credit note gives back as credit.
    fileprivate init(refunding note: StoredCreditNote, as id: CreditGrantID) {
        self.init(
            id: id,
            tenantID: note.tenantID,
            kind: .prepaid,
            name: "Credit note \(note.number)",
            currency: note.currency,
            amount: note.refunded,
            remaining: note.refunded,
            priority: 0,
            expiresAt: nil,
            origin: .creditNote,
            originID: note.id.rawValue,
            createdAt: note.createdAt,
            voidedAt: nil,
            updatedAt: note.createdAt,
            revision: 1
        )
    }
}
