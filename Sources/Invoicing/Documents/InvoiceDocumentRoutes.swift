import BillingCore
package import Catalog
import HTTPTypes
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
        operations.get("/invoices/{id}.html", "getInvoicePage", scope: .invoicesRead, handler: page)
        operations.get("/invoices/{id}.pdf", "getInvoicePDF", scope: .invoicesRead, handler: pdf)
        operations.get("/invoices/{id}.csv", "getInvoiceCSV", scope: .invoicesRead, handler: csv)
        operations.get("/invoices/{id}/explain", "explainInvoice", scope: .invoicesRead, handler: explain)
    }

    @Sendable
    private func page(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let invoice = try await printable(request, context)
        let page = try InvoiceHTML.shared.get()
        var answer = Answer.text(page.render(invoice), contentType: "text/html; charset=utf-8")
        answer.headers[.contentSecurityPolicy] = page.contentSecurityPolicy
        answer.headers[.contentDisposition] = Self.disposition("inline", invoice, "html")
        answer.headers[.referrerPolicy] = "no-referrer"
        return answer
    }

    @Sendable
    private func pdf(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let invoice = try await printable(request, context)
        do {
            var answer = Answer(contentType: "application/pdf", bytes: try InvoicePDF.render(invoice))
            answer.headers[.contentDisposition] = Self.disposition("inline", invoice, "pdf")
            return answer
        } catch PDFError.noFont {
            throw Problem(
                .serviceUnavailable,
                code: "pdf_unavailable",
                detail: "The service has no font to write a PDF with. HTML and CSV work.",
                underlying: PDFError.noFont
            )
        }
    }

    @Sendable
    private func csv(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let invoice = try await printable(request, context)
        var answer = Answer(
            contentType: ExportFormat.csv.contentType,
            bytes: try InvoiceCSV.file(invoice)
        )
        answer.headers[.contentDisposition] = Self.disposition("attachment", invoice, "csv")
        return answer
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
        let now = context.clock.now()
        filter.to = min(to ?? .maximum, now.adding(microseconds: 1))
        try query.finish()
        filter.tenant = try await catalog.tenantFilter(asked, for: context)?.id
        let export = InvoiceExport(format: format, filter: filter, pool: pool, scope: context.databaseScope)
        return try await export.answer()
    }

    private func printable(_ request: APIRequest, _ context: RequestContext) async throws -> PrintableInvoice {
        try request.query().finish()
        return try PrintableInvoice(try await whole(request, context))
    }

    /// The invoice in the path, if the caller may know of it.
    private func whole(_ request: APIRequest, _ context: RequestContext) async throws -> WholeInvoice {
        try await InvoiceReading.whole(in: request, context, catalog: catalog, pool: pool)
    }

    /// The number makes the name of the file, the id where there is none; both are made of harmless characters.
    private static func disposition(_ kind: String, _ invoice: PrintableInvoice, _ ending: String) -> String {
        let name = (invoice.number ?? invoice.id ?? "invoice").filter { character in
            character.isASCII && (character.isLetter || character.isNumber || "-_.".contains(character))
        }
        return #"\#(kind); filename="\#(name).\#(ending)""#
    }
}

extension HTTPField.Name {
    fileprivate static let referrerPolicy = Self(constant: "Referrer-Policy")
}
