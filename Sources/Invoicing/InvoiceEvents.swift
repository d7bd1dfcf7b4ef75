import BillingCore
import Catalog
import Web
import Webhooks

/// What webhooks are told of invoices and credit notes: enough to know what happened and to ask for the rest.
extension OutboxEvent {
    init(
        _ type: WebhookEventType,
        _ invoice: StoredInvoice,
        _ document: StoredDocument,
        id: UUIDv7,
        at now: Instant
    ) {
        let money = document.currency.formatted
        self.init(
            id: id,
            tenant: invoice.tenantID,
            type: type,
            occurredAt: now,
            data: .members([
                "tenant": .string(document.tenantKey),
                "invoice": .string(invoice.id.description),
                "number": .text(document.number),
                "status": .string(invoice.status.rawValue),
                "invoice_kind": .string(invoice.kind.rawValue),
                "subscription": .string(invoice.subscriptionID.description),
                "currency": .string(document.currency.code),
                "total": .string(money(document.amounts.total)),
                "amount_due": .string(money(document.amounts.due)),
                "credited": .string(money(invoice.credited)),
                "due_at": .instant(document.dueAt),
                "period": .period(invoice.period),
            ])
        )
    }

    /// A credit note that was issued.
    init(_ note: StoredCreditNote, id: UUIDv7) {
        let money = note.currency.formatted
        self.init(
            id: id,
            tenant: note.tenantID,
            type: .creditNoteIssued,
            occurredAt: note.createdAt,
            data: .members([
                "tenant": .string(note.facts.tenant),
                "credit_note": .string(note.id.description),
                "number": .string(note.number),
                "invoice": .string(note.invoiceID.description),
                "invoice_number": .string(note.facts.invoiceNumber),
                "currency": .string(note.currency.code),
                "total": .string(money(note.total)),
                "applied_to_due": .string(money(note.appliedToDue)),
                "refunded": .string(money(note.refunded)),
                "refund": .string(note.refund.rawValue),
            ])
        )
    }
}

extension WholeInvoice {
    /// What is told when it is finalised: that, and that it is paid where nothing is left to pay.
    func eventsOfFinalizing(at now: Instant, ids: IDSource) -> [OutboxEvent] {
        let types: [WebhookEventType] =
            invoice.status == .paid ? [.invoiceFinalized, .invoicePaid] : [.invoiceFinalized]
        return types.map { OutboxEvent($0, invoice, document, id: ids.next(), at: now) }
    }
}
