package import BillingCore
import Catalog
package import Postgres
import Web

/// Reads invoices: `invoice`, `invoice_document` and `invoice_line`.
package enum InvoiceStore {
    /// What a list is narrowed to.
    package struct Filter: Sendable {
        package var tenant: TenantID?
        package var status: InvoiceStatus?
        package var kind: Invoice.Kind?
        /// By `issued_at`, from inclusive, to exclusive.
        package var from: Instant?
        package var to: Instant?
        /// Only those that are finalised and due before this, unpaid.
        package var overdueAt: Instant?
        /// Only those that are numbered after this, by ascending number: numbers become visible in their order, dates
        /// of issue do not.
        package var afterSequence: Int64?

        package init() {}
    }

    /// The sort key of a list.
    package struct Position: Sendable {
        package let issuedAt: Instant
        package let id: InvoiceID

        package init(issuedAt: Instant, id: InvoiceID) {
            self.issuedAt = issuedAt
            self.id = id
        }
    }

    /// An invoice and its document; a draft has none.
    package typealias Head = (invoice: StoredInvoice, document: StoredDocument?)

    /// The invoice of an id, whoever's it is.
    package static func find(_ id: InvoiceID, in transaction: borrowing Transaction) throws(PostgresError) -> Head? {
        try transaction.first("\(selection) WHERE invoice.invoice_id = \(id)", Self.head)
    }

    /// Several invoices, by ascending id, each as it reads or why it can't be read.
    static func attempts(
        _ ids: [InvoiceID],
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [(id: InvoiceID, head: Result<Head, PostgresError>)] {
        guard !ids.isEmpty else { return [] }
        return try transaction.query(
            "\(selection) WHERE invoice.invoice_id = ANY(\(ids)::uuid[]) ORDER BY invoice.invoice_id",
            Self.attempt
        )
    }

    /// Invoices by ascending date of issue, then id; or by number.
    package static func list(
        _ filter: Filter,
        after position: Position?,
        limit: Int,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [Head] {
        try transaction.query(page(filter, after: position, limit: limit), Self.head)
    }

    static func page(_ filter: Filter, after position: Position?, limit: Int) -> SQL {
        var conditions: [SQL] = [
            "invoice.issued_at >= \(filter.from ?? .minimum) AND invoice.issued_at < \(filter.to ?? .maximum)"
        ]
        if let tenant = filter.tenant { conditions.append("invoice.tenant_id = \(tenant)") }
        if let status = filter.status { conditions.append(status.condition) }
        if let kind = filter.kind { conditions.append("invoice.kind = \(kind)") }
        if let instant = filter.overdueAt {
            conditions.append("\(InvoiceStatus.finalized.condition) AND document.due_at < \(instant)")
        }
        if let position {
            conditions.append("(invoice.issued_at, invoice.invoice_id) > (\(position.issuedAt), \(position.id))")
        }
        if let sequence = filter.afterSequence { conditions.append("document.sequence > \(sequence)") }
        let order: SQL =
            filter.afterSequence == nil ? "invoice.issued_at, invoice.invoice_id" : "document.sequence"
        return """
            \(selection)
            WHERE \(SQL.joined(conditions, separator: " AND "))
            ORDER BY \(order)
            LIMIT \(limit)
            """
    }

    /// How many pinned lines each of several invoices has, whoever's they are, in the order of the invoices.
    /// - Parameter most: more than so many are not counted.
    static func lineCounts(
        of invoices: [StoredInvoice],
        atMost most: Int,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [Int64] {
        guard !invoices.isEmpty else { return [] }
        return try transaction.query(
            """
            SELECT (
                SELECT count(*) FROM (
                    SELECT FROM invoice_line AS line
                    WHERE line.tenant_id = wanted.tenant_id AND line.invoice_id = wanted.invoice_id
                    LIMIT \(most)
                ) AS counted
            )
            FROM unnest(\(invoices.map(\.tenantID))::bigint[], \(invoices.map(\.id))::uuid[])
                WITH ORDINALITY AS wanted (tenant_id, invoice_id, place)
            ORDER BY wanted.place
            """
        ) { row throws(PostgresError) in try row.next(Int64.self) }
    }

    /// The pinned lines of several invoices, whoever's they are, by invoice, each in order.
    package static func lines(
        of invoices: [StoredInvoice],
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [InvoiceID: [StoredInvoiceLine]] {
        guard !invoices.isEmpty else { return [:] }
        let rows = try transaction.query(
            """
            SELECT line.invoice_id, line.line_number, line.kind, line.item, line.item_key, line.item_name,
                line.period_index, line.segment, line.feature_id, line.cell, line.starts_at, line.ends_at,
                line.description, line.quantity, line.plan_version_id, line.amount_exact, line.previously_invoiced,
                line.amount, line.discount, line.included_credit, line.promotional_credit, line.tax, line.facts
            FROM unnest(\(invoices.map(\.tenantID))::bigint[], \(invoices.map(\.id))::uuid[])
                AS wanted (tenant_id, invoice_id)
            JOIN invoice_line AS line
                ON line.tenant_id = wanted.tenant_id AND line.invoice_id = wanted.invoice_id
            ORDER BY line.tenant_id, line.invoice_id, line.line_number
            """
        ) { row throws(PostgresError) in (try row.next(InvoiceID.self), try Self.line(&row)) }
        return Dictionary(grouping: rows, by: \.0).mapValues { $0.map(\.1) }
    }

    /// The pinned lines of several invoices of a tenant, by invoice, each in order.
    package static func lines(
        of invoices: [InvoiceID],
        tenant: TenantID,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [InvoiceID: [StoredInvoiceLine]] {
        guard !invoices.isEmpty else { return [:] }
        let rows = try transaction.query(
            """
            SELECT invoice_id, line_number, kind, item, item_key, item_name, period_index, segment, feature_id, cell,
                starts_at, ends_at, description, quantity, plan_version_id, amount_exact, previously_invoiced, amount,
                discount, included_credit, promotional_credit, tax, facts
            FROM invoice_line
            WHERE tenant_id = \(tenant) AND invoice_id = ANY(\(invoices)::uuid[])
            ORDER BY invoice_id, line_number
            """
        ) { row throws(PostgresError) in (try row.next(InvoiceID.self), try Self.line(&row)) }
        return Dictionary(grouping: rows, by: \.0).mapValues { $0.map(\.1) }
    }

    private static let selection: SQL = """
        SELECT invoice.invoice_id, invoice.tenant_id, invoice.subscription_id, invoice.kind, invoice.period_index,
            invoice.period_start, invoice.period_end, invoice.reissue_of, invoice.created_at, invoice.issued_at,
            invoice.status, invoice.paid_at, invoice.uncollectible_at, invoice.voided_at, invoice.credited,
            invoice.updated_at, invoice.revision,
            document.sequence, document.number, document.finalized_at, document.due_at, document.content_hash,
            document.ledger_seq, document.currency, document.tenant_key, document.tenant_name, document.subtotal,
            document.discount, document.credits, document.tax, document.total, document.carried_forward,
            document.paid_by_credit, document.amount_due, document.facts
        FROM invoice
        LEFT JOIN invoice_document AS document
            ON document.tenant_id = invoice.tenant_id AND document.invoice_id = invoice.invoice_id
        """

    private static func head(_ row: inout PostgresRow) throws(PostgresError) -> Head {
        var invoice = StoredInvoice(
            id: try row.next(),
            tenantID: try row.next(),
            subscriptionID: try row.next(),
            kind: try row.next(),
            periodIndex: Int(try row.next(Int32.self)),
            period: Interval(start: try row.next(), end: try row.next()),
            reissueOf: try row.next(),
            createdAt: try row.next(),
            issuedAt: try row.next()
        )
        invoice.status = try row.next()
        invoice.paidAt = try row.next()
        invoice.uncollectibleAt = try row.next()
        invoice.voidedAt = try row.next()
        invoice.credited = try row.next()
        invoice.updatedAt = try row.next()
        invoice.revision = try row.next()
        guard let sequence = try row.next(Int64?.self) else { return (invoice, nil) }
        return (invoice, try document(&row, sequence: sequence))
    }

    private static func attempt(
        _ row: inout PostgresRow
    ) throws(PostgresError) -> (id: InvoiceID, head: Result<Head, PostgresError>) {
        var start = row
        let id = try start.next(InvoiceID.self)
        do throws(PostgresError) {
            return (id, .success(try head(&row)))
        } catch {
            return (id, .failure(error))
        }
    }

    private static func document(
        _ row: inout PostgresRow,
        sequence: Int64
    ) throws(PostgresError) -> StoredDocument {
        let number = try row.next(String.self)
        let finalizedAt = try row.next(Instant.self)
        let dueAt = try row.next(Instant.self)
        let hash = try row.next(PostgresBytes.self)
        var document = StoredDocument(
            ledgerSequence: try row.next(),
            currency: try row.next(),
            tenantKey: try row.next(),
            tenantName: try row.next(),
            amounts: InvoiceAmounts(
                subtotal: try row.next(),
                discount: try row.next(),
                credits: try row.next(),
                tax: try row.next(),
                total: try row.next(),
                carriedForward: try row.next(),
                paidByCredit: try row.next(),
                due: try row.next()
            ),
            facts: try facts(&row, InvoiceFacts.init(json:))
        )
        document.sequence = sequence
        document.number = number
        document.finalizedAt = finalizedAt
        document.dueAt = dueAt
        document.contentHash = hash.bytes
        return document
    }

    private static func line(_ row: inout PostgresRow) throws(PostgresError) -> StoredInvoiceLine {
        StoredInvoiceLine(
            number: Int(try row.next(Int32.self)),
            kind: try row.next(),
            item: try row.next(),
            itemKey: try row.next(),
            itemName: try row.next(),
            periodIndex: Int(try row.next(Int32.self)),
            segment: try row.next(Int32?.self).map { Int($0) },
            featureID: try row.next(),
            cell: try row.next(),
            period: Interval(start: try row.next(), end: try row.next()),
            description: try row.next(),
            quantity: try row.next(),
            planVersionID: try row.next(),
            amountExact: try row.next(),
            previouslyInvoiced: try row.next(),
            amount: try row.next(),
            discount: try row.next(),
            includedCredit: try row.next(),
            promotionalCredit: try row.next(),
            tax: try row.next(),
            facts: try facts(&row, InvoiceLineFacts.init(json:))
        )
    }

    /// As much as a value of PostgreSQL holds: what was written is read, whatever its length.
    private static let maximumFactsBytes = 1 << 30

    /// A `json` column, which keeps its text as it was written.
    private static func facts<Facts>(
        _ row: inout PostgresRow,
        _ read: (JSONValue) -> Facts?
    ) throws(PostgresError) -> Facts {
        let text = try row.next(String.self)
        guard let json = try? JSONValue(parsing: text, maximumBytes: maximumFactsBytes),
            let facts = read(json)
        else {
            throw PostgresError(.decoding, "the facts of an invoice are not as this release writes them")
        }
        return facts
    }
}

extension InvoiceStatus {
    /// In words that every plan knows, so that it may use an index of few states only.
    fileprivate var condition: SQL {
        switch self {
        case .draft: "invoice.status = 'draft'"
        case .finalized: "invoice.status = 'finalized'"
        case .paid: "invoice.status = 'paid'"
        case .uncollectible: "invoice.status = 'uncollectible'"
        case .void: "invoice.status = 'void'"
        }
    }
}
