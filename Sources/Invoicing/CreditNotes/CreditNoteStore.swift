import BillingCore
import Catalog
import Postgres
import Web

/// All SQL on `credit_note` and `credit_note_line`, which are only ever inserted, under the lock of the invoice.
enum CreditNoteStore {
    /// What a list is narrowed to.
    struct Filter: Sendable {
        var tenant: TenantID?
        var invoice: InvoiceID?
        /// By `created_at`, from inclusive, to exclusive.
        var from: Instant?
        var to: Instant?
    }

    /// What credit notes have taken off a line of an invoice.
    struct Credited: Sendable {
        let line: Int
        /// Without tax.
        let amount: FixedDecimal
        let tax: FixedDecimal
        let taxes: [LineTax]
    }

    /// The credit note of an id with its lines, whoever's it is.
    static func find(
        _ id: CreditNoteID,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> StoredCreditNote? {
        let found = try transaction.query("\(selection) WHERE credit_note_id = \(id)", Self.note)
        return try withLines(found, in: transaction).first
    }

    /// With their lines, by ascending id, which is the order of creation.
    static func list(
        _ filter: Filter,
        after id: CreditNoteID?,
        limit: Int,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [StoredCreditNote] {
        try withLines(transaction.query(page(filter, after: id, limit: limit), Self.note), in: transaction)
    }

    /// The last credit note on another invoice that came after an invoice and takes back of a period that this one
    /// takes back of too: made anew, this one would find less to take back.
    /// - Parameter counted: the number of the last credit note that the invoice counted; 0 for none.
    static func since(
        _ invoice: StoredInvoice,
        counted: Int64,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> (id: CreditNoteID, number: String)? {
        try transaction.first(
            """
            SELECT note.credit_note_id, note.number
            FROM credit_note AS note
            WHERE note.tenant_id = \(invoice.tenantID) AND note.invoice_id <> \(invoice.id)
                AND note.sequence > \(counted) AND EXISTS (
                    SELECT FROM credit_note_line AS part
                    JOIN invoice_line AS noted
                        ON noted.tenant_id = part.tenant_id AND noted.invoice_id = part.invoice_id
                        AND noted.line_number = part.line_number
                    JOIN invoice_line AS own
                        ON own.tenant_id = noted.tenant_id AND own.subscription_id = noted.subscription_id
                        AND own.period_index = noted.period_index
                    WHERE part.tenant_id = note.tenant_id AND part.credit_note_id = note.credit_note_id
                        AND own.invoice_id = \(invoice.id) AND own.amount < 0 AND own.kind = 'adjustment'
                        AND CASE WHEN own.item = 'fee_in_advance' OR noted.item = 'fee_in_advance'
                            THEN (own.item, own.item_key, own.segment) = (noted.item, noted.item_key, noted.segment)
                            ELSE true
                        END
                )
            ORDER BY note.sequence DESC
            LIMIT 1
            """
        ) { row throws(PostgresError) in (try row.next(CreditNoteID.self), try row.next(String.self)) }
    }

    static func page(_ filter: Filter, after id: CreditNoteID?, limit: Int) -> SQL {
        var conditions: [SQL] = ["credit_note_id > \(id ?? CreditNoteID(rawValue: .zero))"]
        if let tenant = filter.tenant { conditions.append("tenant_id = \(tenant)") }
        if let invoice = filter.invoice { conditions.append("invoice_id = \(invoice)") }
        if let from = filter.from { conditions.append("created_at >= \(from)") }
        if let to = filter.to { conditions.append("created_at < \(to)") }
        return """
            \(selection)
            WHERE \(SQL.joined(conditions, separator: " AND "))
            ORDER BY credit_note_id
            LIMIT \(limit)
            """
    }

    /// Every part of the lines of invoices that credit notes took off, by invoice.
    static func credited(
        of invoices: [InvoiceID],
        tenant: TenantID,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [InvoiceID: [Credited]] {
        let rows = try transaction.query(
            """
            SELECT invoice_id, line_number, amount, tax, taxes
            FROM credit_note_line
            WHERE tenant_id = \(tenant) AND invoice_id = ANY(\(invoices)::uuid[])
            ORDER BY invoice_id, line_number, credit_note_id
            """
        ) { row throws(PostgresError) in
            (
                try row.next(InvoiceID.self),
                Credited(
                    line: Int(try row.next(Int32.self)),
                    amount: try row.next(),
                    tax: try row.next(),
                    taxes: LineTaxes(json: try json(&row))
                )
            )
        }
        return Dictionary(grouping: rows, by: \.0).mapValues { $0.map(\.1) }
    }

    static func insert(_ note: StoredCreditNote, in transaction: borrowing Transaction) {
        transaction.enqueue(
            """
            INSERT INTO credit_note (
                tenant_id, credit_note_id, invoice_id, sequence, number, created_at, currency, reason, amount, tax,
                total, settled_as, applied_to_due, refunded, facts
            )
            VALUES (
                \(note.tenantID), \(note.id), \(note.invoiceID), \(note.sequence), \(note.number), \(note.createdAt),
                \(note.currency), \(note.reason), \(note.amount), \(note.tax), \(note.total), \(note.refund),
                \(note.appliedToDue), \(note.refunded), \(note.facts.json.text)::text::json
            )
            """
        )
        transaction.enqueue(
            """
            INSERT INTO credit_note_line (
                tenant_id, credit_note_id, line_number, invoice_id, description, amount, tax, taxes
            )
            SELECT \(note.tenantID), \(note.id), line_number, \(note.invoiceID), description, amount, tax, taxes::json
            FROM unnest(
                \(note.lines.map { Int32(clamping: $0.number) })::integer[], \(note.lines.map(\.description))::text[],
                \(note.lines.map(\.amount))::numeric[], \(note.lines.map(\.tax))::numeric[],
                \(note.lines.map(\.taxes.json.text))::text[]
            ) AS line (line_number, description, amount, tax, taxes)
            """
        )
    }

    private static let selection: SQL = """
        SELECT credit_note_id, tenant_id, invoice_id, sequence, number, created_at, currency, reason, amount, tax,
            total, settled_as, applied_to_due, refunded, facts
        FROM credit_note
        """

    private static func note(_ row: inout PostgresRow) throws(PostgresError) -> StoredCreditNote {
        StoredCreditNote(
            id: try row.next(),
            tenantID: try row.next(),
            invoiceID: try row.next(),
            sequence: try row.next(),
            number: try row.next(),
            createdAt: try row.next(),
            currency: try row.next(),
            reason: try row.next(),
            amount: try row.next(),
            tax: try row.next(),
            total: try row.next(),
            refund: try row.next(),
            appliedToDue: try row.next(),
            refunded: try row.next(),
            facts: try facts(&row)
        )
    }

    private static func withLines(
        _ notes: [StoredCreditNote],
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [StoredCreditNote] {
        guard !notes.isEmpty else { return [] }
        let rows = try transaction.query(
            """
            SELECT line.credit_note_id, line.line_number, line.description, line.amount, line.tax, line.taxes
            FROM unnest(\(notes.map(\.tenantID))::bigint[], \(notes.map(\.id))::uuid[])
                AS wanted (tenant_id, credit_note_id)
            JOIN credit_note_line AS line
                ON line.tenant_id = wanted.tenant_id AND line.credit_note_id = wanted.credit_note_id
            ORDER BY line.credit_note_id, line.line_number
            """
        ) { row throws(PostgresError) in (try row.next(CreditNoteID.self), try line(&row)) }
        let lines = Dictionary(grouping: rows, by: \.0).mapValues { $0.map(\.1) }
        return notes.map { note in
            var note = note
            note.lines = lines[note.id] ?? []
            return note
        }
    }

    private static func line(_ row: inout PostgresRow) throws(PostgresError) -> StoredCreditNote.Line {
        StoredCreditNote.Line(
            number: Int(try row.next(Int32.self)),
            description: try row.next(),
            amount: try row.next(),
            tax: try row.next(),
            taxes: LineTaxes(json: try json(&row))
        )
    }

    private static func facts(_ row: inout PostgresRow) throws(PostgresError) -> CreditNoteFacts {
        guard let facts = CreditNoteFacts(json: try json(&row)) else { throw unreadable }
        return facts
    }

    private static func json(_ row: inout PostgresRow) throws(PostgresError) -> JSONValue {
        guard let json = try? JSONValue(parsing: try row.next(String.self)) else { throw unreadable }
        return json
    }

    private static var unreadable: PostgresError {
        PostgresError(.decoding, "a credit note is not as this release writes it")
    }
}

private typealias LineTaxes = [LineTax]
