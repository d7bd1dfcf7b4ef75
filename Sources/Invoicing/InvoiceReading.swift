import BillingCore
import Catalog
import Postgres
import Web

/// Reads an invoice whole: what is pinned of a finalised one, what a draft comes to now.
enum InvoiceReading {
    /// The invoice in a request's path, if the caller may know of it.
    static func whole(
        in request: APIRequest,
        _ context: RequestContext,
        catalog: Catalog,
        pool: PostgresPool
    ) async throws -> WholeInvoice {
        let id = try request.id(InvoiceID.self, of: "invoice")
        let now = context.clock.now()
        let snapshot = catalog.current
        let found = try await refusing {
            try await pool.transaction(.interactive, as: context.databaseScope) { transaction in
                try Self.whole(id, catalog: snapshot, now: now, in: transaction)
            }
        }
        guard let found, context.principal.mayAccess(tenant: found.invoice.tenantID) else {
            throw InvoiceFault.notFound(id.description).problem
        }
        return found
    }

    /// - Returns: nil where there is no such invoice.
    static func whole(
        _ id: InvoiceID,
        catalog: CatalogSnapshot,
        now: Instant,
        in transaction: borrowing Transaction
    ) throws -> WholeInvoice? {
        guard let head = try InvoiceStore.find(id, in: transaction) else { return nil }
        guard let document = head.document else {
            return try computed(head.invoice, catalog: catalog, now: now, in: transaction)
        }
        let lines = try InvoiceStore.lines(of: [id], tenant: head.invoice.tenantID, in: transaction)
        return WholeInvoice(invoice: head.invoice, document: document, lines: lines[id] ?? [])
    }

    /// A draft as it would be if it were finalised now.
    /// - Throws: `InvoiceFault.amountOutOfRange`.
    static func computed(
        _ draft: StoredInvoice,
        catalog: CatalogSnapshot,
        now: Instant,
        in transaction: borrowing Transaction
    ) throws -> WholeInvoice? {
        let records = try InvoiceRecords(for: [draft], now: now, in: transaction)
        var preparation = InvoicePreparation(draft: draft, records: records, catalog: catalog)
        preparation.leavesAdvanceFees = try earlierIsOpen(draft, records, in: transaction)
        do {
            return try preparation.prepared()?.whole
        } catch {
            throw InvoiceFault.amountOutOfRange
        }
    }

    /// Whether the invoice that charges the fees in advance of the draft's period is yet to be finalised.
    private static func earlierIsOpen(
        _ draft: StoredInvoice,
        _ records: InvoiceRecords,
        in transaction: borrowing Transaction
    ) throws -> Bool {
        guard draft.kind == .regular, let closing = records.closings[draft.subscriptionID] else { return false }
        if closing.index < draft.periodIndex { return true }
        return try InvoiceStore.earlierDraft(than: draft, in: transaction) != nil
    }
}
