import BillingCore
import Catalog
import HTTPTypes
import NIOCore
import Postgres
import Web

/// Many finalised invoices as one file, page by page: memory holds a page, and no transaction lasts longer than one.
/// CSV has a record for each line, see `InvoiceCSV`; NDJSON an object for each invoice, its lines in it.
///
/// Drafts are left out, because what they say still changes. Invoices that are finalised while the file is made are
/// left out as well, by a bound on the date of issue that is fixed at the start.
struct InvoiceExport: Sendable {
    /// How many invoices one transaction reads at most, and how many lines unless one has more: what memory holds.
    private static let pageSize = 100
    private static let pageLines: Int64 = 10_000

    let format: ExportFormat
    let filter: InvoiceStore.Filter
    let pool: PostgresPool
    let scope: PostgresScope

    /// Reads the first page, so that what can't be read is told as a problem, and leaves the rest to the stream.
    func answer() async throws -> Answer {
        let first = try await page(of: filter, after: nil)
        var answer = Answer.streaming(
            contentType: format.contentType,
            AnswerStream { send in try await write(from: first, send) }
        )
        answer.headers[.contentDisposition] = #"attachment; filename="invoices.\#(format.rawValue)""#
        return answer
    }

    private func write(from first: Page, _ send: AnswerStream.Send) async throws {
        var page = first
        var writer = CSVWriter()
        if format == .csv { writer.append(InvoiceCSV.header) }
        while true {
            switch format {
            case .csv:
                for invoice in page.invoices {
                    try InvoiceCSV.append(PrintableInvoice(invoice), to: &writer)
                }
                try await send(ByteBuffer(bytes: writer.takeBytes()))
            case .ndjson:
                var bytes = ByteBuffer()
                for invoice in page.invoices {
                    bytes.writeBytes(try JSONValue(encoding: try InvoiceRecord(invoice)).bytes)
                    bytes.writeInteger(UInt8(ascii: "\n"))
                }
                try await send(bytes)
            }
            guard let next = page.next else { return }
            try Task.checkCancellation()
            page = try await self.page(of: next.filter, after: next.position)
        }
    }

    private struct Page {
        let invoices: [WholeInvoice]
        let next: (filter: InvoiceStore.Filter, position: InvoiceStore.Position?)?
    }

    private func page(of filter: InvoiceStore.Filter, after position: InvoiceStore.Position?) async throws -> Page {
        try await pool.transaction(.worker, as: scope) { transaction in
            let listed = try InvoiceStore.list(filter, after: position, limit: Self.pageSize, in: transaction)
            let counts = try InvoiceStore.lineCounts(
                of: listed.map(\.invoice),
                atMost: Int(Self.pageLines) + 1,
                in: transaction
            )
            let heads = listed.prefix(Self.invoicesOnPage(lineCounts: counts))
            let pinned = heads.filter { $0.document != nil }
            let lines = try InvoiceStore.lines(of: pinned.map(\.invoice), in: transaction)
            let invoices = pinned.compactMap { head in
                head.document.map { document in
                    WholeInvoice(invoice: head.invoice, document: document, lines: lines[head.invoice.id] ?? [])
                }
            }
            let isLast = heads.count == listed.count && listed.count < Self.pageSize
            let last = isLast ? nil : heads.last
            return Page(invoices: invoices, next: last.map { Self.rest(of: filter, after: $0) })
        }
    }

    /// How many of the invoices that follow are on one page, by their lines: one at least.
    static func invoicesOnPage(lineCounts: [Int64]) -> Int {
        var lines: Int64 = 0
        let next = lineCounts.firstIndex { count in
            lines += count
            return lines > pageLines
        }
        return max(next ?? lineCounts.count, min(lineCounts.count, 1))
    }

    private static func rest(
        of filter: InvoiceStore.Filter,
        after last: InvoiceStore.Head
    ) -> (filter: InvoiceStore.Filter, position: InvoiceStore.Position?) {
        guard filter.afterSequence != nil else {
            return (filter, InvoiceStore.Position(issuedAt: last.invoice.issuedAt, id: last.invoice.id))
        }
        var rest = filter
        rest.afterSequence = last.document?.sequence
        return (rest, nil)
    }
}
