import BillingCore
package import Catalog
import Identity
package import Postgres
package import Web

/// `/invoices/{id}/credit-notes` and `/credit-notes`, also on paper.
package struct CreditNoteRoutes: Sendable {
    let desk: InvoicingDesk

    package init(catalog: Catalog, pool: PostgresPool, writes: IdempotentWrites) {
        desk = InvoicingDesk(catalog: catalog, pool: pool, writes: writes)
    }

    package func register(in operations: Operations) {
        operations.get("/invoices/{id}/credit-notes", "listInvoiceCreditNotes", scope: .invoicesRead) {
            try await listOfInvoice($0, $1)
        }
        operations.post(
            "/invoices/{id}/credit-notes",
            "createCreditNote",
            scope: .invoicesWrite,
            handler: desk.operatorOnly { try await create($0, $1) }
        )
        operations.get("/credit-notes", "listCreditNotes", scope: .invoicesRead) { try await list($0, $1) }
        operations.get("/credit-notes/{id}", "getCreditNote", scope: .invoicesRead) { try await get($0, $1) }
        operations.get("/credit-notes/{id}.html", "getCreditNotePage", scope: .invoicesRead) {
            try await printable($0, $1).page()
        }
        operations.get("/credit-notes/{id}.pdf", "getCreditNotePDF", scope: .invoicesRead) {
            try await printable($0, $1).pdf()
        }
    }

    private func list(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let query = request.query()
        let page = query.page()
        let asked = query.string("tenant")
        var filter = CreditNoteStore.Filter(from: query.instant("from"), to: query.instant("to"))
        try query.finish()
        filter.tenant = try await desk.catalog.tenantFilter(asked, for: context)?.id
        let position = try page.position(CreditNoteID.self)
        let notes = try await desk.read(context) { [filter] transaction in
            try CreditNoteStore.list(filter, after: position, limit: page.fetchCount, in: transaction)
        }
        return try .json(page.page(notes) { [$0.id.description] }.map(CreditNoteBody.init))
    }

    private func listOfInvoice(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let query = request.query()
        let page = query.page()
        try query.finish()
        let id = try request.id(InvoiceID.self, of: "invoice")
        let position = try page.position(CreditNoteID.self)
        let notes = try await desk.read(context) { transaction in
            guard let invoice = try InvoiceStore.find(id, in: transaction)?.invoice,
                context.principal.mayAccess(tenant: invoice.tenantID)
            else { throw InvoiceFault.notFound(id.description) }
            let filter = CreditNoteStore.Filter(tenant: invoice.tenantID, invoice: id)
            return try CreditNoteStore.list(filter, after: position, limit: page.fetchCount, in: transaction)
        }
        return try .json(page.page(notes) { [$0.id.description] }.map(CreditNoteBody.init))
    }

    private func get(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        try request.query().finish()
        return try .json(CreditNoteBody(try await note(request, context) { note, _ in note }))
    }

    private func printable(_ request: APIRequest, _ context: RequestContext) async throws -> PrintableInvoice {
        let (catalog, now) = (desk.catalog.current, context.clock.now())
        return try await note(request, context) { note, transaction in
            let invoice = try InvoiceReading.whole(note.invoiceID, catalog: catalog, now: now, in: transaction)
            guard let invoice else { throw InvoiceFault.creditNoteNotFound(note.id.description) }
            return try PrintableInvoice(note, of: invoice)
        }
    }

    /// What is made of the credit note in the path, if the caller may know of it.
    private func note<Value: Sendable>(
        _ request: APIRequest,
        _ context: RequestContext,
        _ make: @escaping @Sendable (StoredCreditNote, borrowing Transaction) throws -> Value
    ) async throws -> Value {
        try request.query().finish()
        let id = try request.id(CreditNoteID.self, of: "credit_note")
        return try await desk.read(context) { transaction in
            let found = try CreditNoteStore.find(id, in: transaction)
            guard let found, context.principal.mayAccess(tenant: found.tenantID) else {
                throw InvoiceFault.creditNoteNotFound(id.description)
            }
            return try make(found, transaction)
        }
    }

    private func create(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let id = try request.id(InvoiceID.self, of: "invoice")
        let input = try CreditNoteInput.read(try request.fields())
        let service = CreditNoteService(context: context, now: context.clock.now())
        return try await desk.write(request, context) { transaction in
            let outcome = try service.issue(input, on: id, in: transaction)
            let body = try CreditNoteBody(outcome.note)
            try AuditLog.record(
                in: transaction,
                by: context,
                action: "credit_note.created",
                resource: ("credit_note", outcome.note.id.description),
                tenant: outcome.note.tenantID,
                after: body
            )
            if outcome.paidTheRest {
                try AuditLog.record(
                    in: transaction,
                    by: context,
                    action: "invoice.paid",
                    resource: ("invoice", id.description),
                    tenant: outcome.note.tenantID,
                    before: outcome.before.auditState,
                    after: outcome.after.auditState
                )
            }
            return try .created(body, location: "/credit-notes/\(outcome.note.id)")
        }
    }
}

extension StoredInvoice {
    /// What the audit log says of its state.
    fileprivate var auditState: JSONValue {
        .members(["credited": .amount(credited), "status": .string(status.rawValue)])
    }
}
