import BillingCore
package import Catalog
package import Postgres
package import Web

/// Reading invoices on paper and in bulk: `GET /invoices/{id}.html`, `.pdf`, `.csv`, `/invoices/{id}/explain` and
/// `/invoices/export`.
package struct InvoiceDocumentRoutes: Sendable {
    let catalog: Catalog
    let pool: PostgresPool

    package init(catalog: Catalog, pool: PostgresPool) {
        self.catalog = catalog
        self.pool = pool
    }

    package func register(in operations: Operations) {
        operations.get("/invoices/export", "exportInvoices", scope: .invoicesRead, handler: export)
        operations.get("/invoices/{id}.html", "getInvoicePage", scope: .invoicesRead) {
            try await printable($0, $1).page()
        }
        operations.get("/invoices/{id}.pdf", "getInvoicePDF", scope: .invoicesRead) {
            try await printable($0, $1).pdf()
        }
        operations.get("/invoices/{id}.csv", "getInvoiceCSV", scope: .invoicesRead) {
            try await printable($0, $1).csv()
        }
        operations.get("/invoices/{id}/explain", "explainInvoice", scope: .invoicesRead, handler: explain)
    }

    @Sendable
    private func explain(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        try request.query().finish()
        return try Answer.json(InvoiceExplanation(try await whole(request, context)))
    }

    @Sendable
    private func export(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let query = request.query()
        let format = query.oneOf("format", ExportFormat.self) ?? .csv
        let asked = query.string("tenant")
        var filter = InvoiceStore.Filter()
        filter.status = query.oneOf("status", InvoiceStatus.self)
        if filter.status == .draft {
            query.fault("status", code: "not_applicable", detail: "Drafts are not exported: what they say changes yet.")
        }
        filter.from = query.instant("from")
        let to = query.instant("to")
        if let from = filter.from, let to, to <= from {
            query.fault("to", code: "invalid", detail: "This must be after 'from'.")
        }
        let order = query.oneOf("order", ExportOrder.self)
        let after = query.value("after", expecting: "the id of an invoice") { InvoiceID($0) }
        if order == .issuedAt, after != nil {
            query.fault("order", code: "not_applicable", detail: "After an invoice come those of a higher number.")
        }
        try query.finish()
        filter.tenant = try await catalog.tenantFilter(asked, for: context)?.id
        if let after {
            filter.afterSequence = try await sequence(of: after, context)
        } else if order == .number {
            filter.afterSequence = 0
        }
        // None is passed over because of its date: the next file begins after the last one.
        let now = filter.afterSequence == nil ? context.clock.now().adding(microseconds: 1) : .maximum
        filter.to = min(to ?? .maximum, now)
        let export = InvoiceExport(format: format, filter: filter, pool: pool, scope: context.databaseScope)
        return try await export.answer()
    }

    private enum ExportOrder: String, CaseIterable {
        case number
        case issuedAt = "issued_at"
    }

    /// - Throws: a fault of the query where there is no such invoice with a number, or the caller must not know of it.
    private func sequence(of id: InvoiceID, _ context: RequestContext) async throws -> Int64 {
        let bound = context.principal.tenantID
        let head = try await pool.transaction(.interactive, as: context.databaseScope) { transaction in
            try InvoiceStore.find(id, in: transaction)
        }
        guard let head, bound == nil || head.invoice.tenantID == bound, let sequence = head.document?.sequence
        else {
            let detail = "There is no invoice '\(id)' with a number."
            throw Problem.validationFailed([FieldFault(pointer: "?after", code: "unknown", detail: detail)])
        }
        return sequence
    }

    private func printable(_ request: APIRequest, _ context: RequestContext) async throws -> PrintableInvoice {
        try request.query().finish()
        return try PrintableInvoice(try await whole(request, context))
    }

    /// The invoice in the path, if the caller may know of it.
    private func whole(_ request: APIRequest, _ context: RequestContext) async throws -> WholeInvoice {
        try await InvoiceReading.whole(in: request, context, catalog: catalog, pool: pool)
    }
}
