import BillingCore
import Postgres
import Usage
import Web

/// Compares what credit notes took off every invoice with what the invoice says of it, and every credit note with its
/// lines. An invoice that is finalised and says nothing any more is told, too. Page by page, each in one statement, so
/// that it can run beside live traffic.
struct CreditNoteVerification: Sendable {
    private static let page = 500

    let pool: PostgresPool

    /// - Parameters:
    ///   - only: the one tenant to judge; every one when left out.
    ///   - difference: called for each one found.
    func run(tenant only: TenantID?, difference: (UsageDifference) -> Void) async throws {
        var invoice = (tenant: only ?? .operatorWide, id: InvoiceID(rawValue: .zero))
        while true {
            let page = CreditNoteStore.creditedInvoices(of: only, after: invoice, limit: Self.page)
            let invoices = try await pool.query(.worker, page, CreditNoteStore.decodeInvoice)
            for invoice in invoices { invoice.differences.forEach(difference) }
            guard invoices.count == Self.page, let last = invoices.last else { break }
            invoice = (last.tenant, last.id)
        }
        var note = (tenant: only ?? .operatorWide, id: CreditNoteID(rawValue: .zero))
        while true {
            let page = CreditNoteStore.sums(of: only, after: note, limit: Self.page)
            let notes = try await pool.query(.worker, page, CreditNoteStore.decodeSums)
            for note in notes { note.differences.forEach(difference) }
            guard notes.count == Self.page, let last = notes.last else { break }
            note = (last.tenant, last.id)
        }
    }
}

extension CreditNoteStore {
    /// What an invoice says that credit notes took off it, and what they did.
    fileprivate struct CreditedInvoice: Sendable {
        let tenant: TenantID
        let id: InvoiceID
        /// As its document says.
        let tenantKey: String?
        let number: String?
        let lacksDocument: Bool
        let credited: FixedDecimal
        let expected: FixedDecimal

        var differences: [UsageDifference] {
            let owner = tenantKey ?? "number \(tenant)"
            let name = "invoice \(number ?? id.description)"
            var found: [UsageDifference] = []
            if lacksDocument {
                found.append(
                    UsageDifference(
                        tenant: owner,
                        subject: "\(name): what it says",
                        stored: "missing",
                        rebuilt: "a finalised one",
                        source: "state and dates"
                    )
                )
            }
            if credited != expected {
                found.append(
                    UsageDifference(
                        tenant: owner,
                        subject: "\(name): what was credited",
                        stored: credited.description,
                        rebuilt: expected.description,
                        source: "credit notes"
                    )
                )
            }
            return found
        }
    }

    /// What a credit note says that it takes back, and what its lines do.
    fileprivate struct Sums: Sendable {
        let tenant: TenantID
        let id: CreditNoteID
        let tenantKey: String
        let number: String
        let amount: FixedDecimal
        let tax: FixedDecimal
        let total: FixedDecimal
        /// Taken off what was due, and given back.
        let settled: FixedDecimal
        let linesAmount: FixedDecimal
        let linesTax: FixedDecimal
        let linesTotal: FixedDecimal

        var differences: [UsageDifference] {
            let parts = [
                ("its amount without tax", amount, linesAmount), ("its tax", tax, linesTax),
                ("its total", total, linesTotal), ("what it took off and gave back", settled, linesTotal),
            ]
            return parts.filter { $0.1 != $0.2 }.map { what, stored, rebuilt in
                UsageDifference(
                    tenant: tenantKey,
                    subject: "credit note \(number): \(what)",
                    stored: stored.description,
                    rebuilt: rebuilt.description,
                    source: "lines"
                )
            }
        }
    }

    /// By tenant and id.
    fileprivate static func creditedInvoices(
        of only: TenantID?,
        after position: (tenant: TenantID, id: InvoiceID),
        limit: Int
    ) -> SQL {
        let owned: SQL = if let only { "invoice.tenant_id = \(only)" } else { "true" }
        return """
            SELECT invoice.tenant_id, invoice.invoice_id, document.tenant_key, document.number,
                document.invoice_id IS NULL AND invoice.status IN ('finalized', 'paid', 'uncollectible'),
                invoice.credited, coalesce((
                    SELECT sum(note.total)
                    FROM credit_note AS note
                    WHERE note.tenant_id = invoice.tenant_id AND note.invoice_id = invoice.invoice_id
                ), 0)
            FROM invoice
            LEFT JOIN invoice_document AS document
                ON document.tenant_id = invoice.tenant_id AND document.invoice_id = invoice.invoice_id
            WHERE (invoice.tenant_id, invoice.invoice_id) > (\(position.tenant), \(position.id)) AND \(owned)
            ORDER BY invoice.tenant_id, invoice.invoice_id
            LIMIT \(limit)
            """
    }

    @Sendable
    fileprivate static func decodeInvoice(_ row: inout PostgresRow) throws(PostgresError) -> CreditedInvoice {
        CreditedInvoice(
            tenant: try row.next(),
            id: try row.next(),
            tenantKey: try row.next(),
            number: try row.next(),
            lacksDocument: try row.next(),
            credited: try row.next(),
            expected: try row.next()
        )
    }

    /// By tenant and id.
    fileprivate static func sums(
        of only: TenantID?,
        after position: (tenant: TenantID, id: CreditNoteID),
        limit: Int
    ) -> SQL {
        let owned: SQL = if let only { "note.tenant_id = \(only)" } else { "true" }
        return """
            SELECT note.tenant_id, note.credit_note_id, coalesce(note.facts ->> 'tenant', '?'), note.number,
                note.amount, note.tax, note.total, note.applied_to_due + note.refunded, lines.amount, lines.tax,
                lines.amount + lines.tax
            FROM credit_note AS note
            CROSS JOIN LATERAL (
                SELECT coalesce(sum(line.amount), 0) AS amount, coalesce(sum(line.tax), 0) AS tax
                FROM credit_note_line AS line
                WHERE line.tenant_id = note.tenant_id AND line.credit_note_id = note.credit_note_id
            ) AS lines
            WHERE (note.tenant_id, note.credit_note_id) > (\(position.tenant), \(position.id)) AND \(owned)
            ORDER BY note.tenant_id, note.credit_note_id
            LIMIT \(limit)
            """
    }

    @Sendable
    fileprivate static func decodeSums(_ row: inout PostgresRow) throws(PostgresError) -> Sums {
        Sums(
            tenant: try row.next(),
            id: try row.next(),
            tenantKey: try row.next(),
            number: try row.next(),
            amount: try row.next(),
            tax: try row.next(),
            total: try row.next(),
            settled: try row.next(),
            linesAmount: try row.next(),
            linesTax: try row.next(),
            linesTotal: try row.next()
        )
    }
}
