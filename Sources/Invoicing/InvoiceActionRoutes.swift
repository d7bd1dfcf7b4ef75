import BillingCore
package import Catalog
import Identity
package import Postgres
package import Web
import Webhooks

/// What an operator does to invoices: finalise, void, reissue, mark paid or uncollectible.
package struct InvoiceActionRoutes: Sendable {
    private let desk: InvoicingDesk
    private let seller: InvoiceSeller?
    private let grace: InvoiceGrace

    /// - Parameter seller: who issues the invoices; nil where the operator has not said.
    package init(
        catalog: Catalog,
        pool: PostgresPool,
        writes: IdempotentWrites,
        seller: InvoiceSeller?,
        grace: InvoiceGrace
    ) {
        self.seller = seller
        self.grace = grace
        desk = InvoicingDesk(catalog: catalog, pool: pool, writes: writes)
    }

    package func register(in operations: Operations) {
        operations.post("/invoices/{id}/finalize", "finalizeInvoice", scope: .invoicesWrite) {
            try await act("finalized", $0, $1) { actions, head, transaction in
                try actions.finalize(head.invoice, in: transaction)
            }
        }
        operations.post("/invoices/{id}/void", "voidInvoice", scope: .invoicesWrite, handler: void)
        operations.post("/invoices/{id}/pay", "payInvoice", scope: .invoicesWrite) {
            try await act("paid", telling: .invoicePaid, $0, $1) { actions, head, transaction in
                try actions.pay(head.invoice, in: transaction)
            }
        }
        operations.post("/invoices/{id}/mark-uncollectible", "markInvoiceUncollectible", scope: .invoicesWrite) {
            try await act("marked_uncollectible", telling: .invoiceUncollectible, $0, $1) {
                actions,
                head,
                transaction in
                try actions.markUncollectible(head.invoice, in: transaction)
            }
        }
        operations.post("/invoices/{id}/reissue", "reissueInvoice", scope: .invoicesWrite, handler: reissue)
    }

    /// - Parameter type: what is told of it, where the work itself tells nothing.
    private func act(
        _ action: String,
        telling type: WebhookEventType? = nil,
        _ request: APIRequest,
        _ context: RequestContext,
        _ work: @escaping @Sendable (InvoiceActions, InvoiceStore.Head, borrowing Transaction) throws -> Void
    ) async throws -> Answer {
        let id = try request.id(InvoiceID.self, of: "invoice")
        try request.fields(emptyIsObject: true).finish()
        let actions = actions(context, desk.catalog)
        return try await desk.write(invoice: id, request, context) { head, transaction in
            try work(actions, head, transaction)
            let whole = try record(action, telling: type, head, actions, context, in: transaction)
            return try .json(InvoiceBody(whole, now: actions.now), revision: whole.invoice.revision)
        }
    }

    /// Voids an invoice and, where the body says so, drafts the one in its place.
    @Sendable
    private func void(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let id = try request.id(InvoiceID.self, of: "invoice")
        let fields = try request.fields(emptyIsObject: true)
        let isReissued = fields.bool("reissue", default: false)
        try fields.finish()
        let actions = actions(context, desk.catalog)
        return try await desk.write(invoice: id, request, context) { head, transaction in
            try actions.void(head, isReissued: isReissued, in: transaction)
            let voided = try record("voided", telling: .invoiceVoided, head, actions, context, in: transaction)
            if isReissued { return try reissue(voided.invoice, actions, context, in: transaction) }
            return try .json(InvoiceBody(voided, now: actions.now), revision: voided.invoice.revision)
        }
    }

    @Sendable
    private func reissue(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let id = try request.id(InvoiceID.self, of: "invoice")
        try request.fields(emptyIsObject: true).finish()
        let actions = actions(context, desk.catalog)
        return try await desk.write(invoice: id, request, context) { head, transaction in
            try reissue(head.invoice, actions, context, in: transaction)
        }
    }

    private func reissue(
        _ invoice: StoredInvoice,
        _ actions: InvoiceActions,
        _ context: RequestContext,
        in transaction: borrowing Transaction
    ) throws -> Answer {
        let draft = try actions.reissue(invoice, in: transaction)
        let whole = try whole(draft.id, actions, in: transaction)
        try AuditLog.record(
            in: transaction,
            by: context,
            action: "invoice.reissued",
            resource: ("invoice", draft.id.description),
            tenant: draft.tenantID,
            after: InvoiceBody(listed: (draft, nil), tenantKey: whole.document.tenantKey, now: actions.now)
        )
        return try .created(
            InvoiceBody(whole, now: actions.now),
            location: "/invoices/\(draft.id)",
            revision: draft.revision
        )
    }

    /// Writes to the audit log what was done to an invoice, and tells of it if the invoice was ever told of: a draft
    /// has no number.
    /// - Returns: the invoice as it is now.
    private func record(
        _ action: String,
        telling type: WebhookEventType?,
        _ head: InvoiceStore.Head,
        _ actions: InvoiceActions,
        _ context: RequestContext,
        in transaction: borrowing Transaction
    ) throws -> WholeInvoice {
        let whole = try whole(head.invoice.id, actions, in: transaction)
        let key = whole.document.tenantKey
        let changed: InvoiceStore.Head = (whole.invoice, whole.invoice.status == .draft ? nil : whole.document)
        try AuditLog.record(
            in: transaction,
            by: context,
            action: "invoice.\(action)",
            resource: ("invoice", head.invoice.id.description),
            tenant: head.invoice.tenantID,
            before: InvoiceBody(listed: head, tenantKey: key, now: actions.now),
            after: InvoiceBody(listed: changed, tenantKey: key, now: actions.now)
        )
        if let type, head.document != nil {
            let event = OutboxEvent(type, whole.invoice, whole.document, id: context.ids.next(), at: actions.now)
            Outbox.enqueue([event], in: transaction)
        }
        return whole
    }

    private func whole(
        _ id: InvoiceID,
        _ actions: InvoiceActions,
        in transaction: borrowing Transaction
    ) throws -> WholeInvoice {
        let whole = try InvoiceReading.whole(id, catalog: actions.catalog, now: actions.now, in: transaction)
        guard let whole else { throw InvoiceFault.notFound(id.description) }
        return whole
    }

    private func actions(_ context: RequestContext, _ catalog: Catalog) -> InvoiceActions {
        InvoiceActions(
            catalog: catalog.current,
            now: context.clock.now(),
            ids: context.ids,
            seller: seller,
            grace: grace
        )
    }
}
