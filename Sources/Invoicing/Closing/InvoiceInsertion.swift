import BillingCore
import Catalog
import Postgres
import Web

/// Writes invoices: every statement takes those of many tenants at once.
enum InvoiceInsertion {
    /// Makes drafts. One that stands already, of the same subscription, kind and period, is left alone.
    static func drafts(_ drafts: [StoredInvoice]) -> SQL {
        """
        INSERT INTO invoice (
            tenant_id, invoice_id, subscription_id, kind, period_index, period_start, period_end, reissue_of,
            created_at, status, issued_at, updated_at, revision
        )
        SELECT tenant_id, invoice_id, subscription_id, kind, period_index, period_start, period_end, reissue_of,
            created_at, 'draft', issued_at, created_at, 1
        FROM unnest(
            \(drafts.map(\.tenantID))::bigint[], \(drafts.map(\.id))::uuid[], \(drafts.map(\.subscriptionID))::uuid[],
            \(drafts.map(\.kind))::text[], \(drafts.map { Int32(clamping: $0.periodIndex) })::integer[],
            \(drafts.map(\.period.start))::timestamptz[], \(drafts.map(\.period.end))::timestamptz[],
            \(drafts.map(\.reissueOf))::uuid[], \(drafts.map(\.createdAt))::timestamptz[],
            \(drafts.map(\.issuedAt))::timestamptz[]
        ) AS draft (
            tenant_id, invoice_id, subscription_id, kind, period_index, period_start, period_end, reissue_of,
            created_at, issued_at
        )
        ON CONFLICT DO NOTHING
        """
    }

    /// Gives drafts the state they have from now on; as many rows change as there are drafts.
    static func finalize(_ invoices: [(invoice: StoredInvoice, status: InvoiceStatus)], at now: Instant) -> SQL {
        """
        UPDATE invoice
        SET status = final.status, issued_at = \(now), updated_at = \(now), revision = invoice.revision + 1,
            paid_at = CASE WHEN final.status = 'paid' THEN \(now)::timestamptz END,
            voided_at = CASE WHEN final.status = 'void' THEN \(now)::timestamptz END
        FROM unnest(
            \(invoices.map(\.invoice.tenantID))::bigint[], \(invoices.map(\.invoice.id))::uuid[],
            \(invoices.map(\.status))::text[]
        ) AS final (tenant_id, invoice_id, status)
        WHERE invoice.tenant_id = final.tenant_id AND invoice.invoice_id = final.invoice_id
            AND invoice.status = 'draft'
        """
    }

    static func lines(_ invoices: [PreparedInvoice]) -> SQL {
        let rows = invoices.flatMap { prepared in prepared.lines.map { (invoice: prepared.invoice, line: $0) } }
        let lines = rows.map(\.line)
        return """
            INSERT INTO invoice_line (
                tenant_id, invoice_id, line_number, kind, item, item_key, item_name, subscription_id, period_index,
                segment, feature_id, cell, starts_at, ends_at, description, quantity, plan_version_id, amount_exact,
                previously_invoiced, amount, discount, included_credit, promotional_credit, tax, facts
            )
            SELECT tenant_id, invoice_id, line_number, kind, item, item_key, item_name, subscription_id, period_index,
                segment, feature_id, cell, starts_at, ends_at, description, quantity, plan_version_id, amount_exact,
                previously_invoiced, amount, discount, included_credit, promotional_credit, tax, facts::json
            FROM unnest(
                \(rows.map(\.invoice.tenantID))::bigint[], \(rows.map(\.invoice.id))::uuid[],
                \(lines.map { Int32(clamping: $0.number) })::integer[], \(lines.map(\.kind))::text[],
                \(lines.map(\.item))::text[], \(lines.map(\.itemKey))::text[], \(lines.map(\.itemName))::text[],
                \(rows.map(\.invoice.subscriptionID))::uuid[],
                \(lines.map { Int32(clamping: $0.periodIndex) })::integer[],
                \(lines.map { $0.segment.map { Int32(clamping: $0) } })::integer[],
                \(lines.map(\.featureID))::bigint[], \(lines.map(\.cell))::text[],
                \(lines.map(\.period.start))::timestamptz[], \(lines.map(\.period.end))::timestamptz[],
                \(lines.map(\.description))::text[], \(lines.map(\.quantity))::numeric[],
                \(lines.map(\.planVersionID))::bigint[], \(lines.map(\.amountExact))::text[],
                \(lines.map(\.previouslyInvoiced))::numeric[], \(lines.map(\.amount))::numeric[],
                \(lines.map(\.discount))::numeric[], \(lines.map(\.includedCredit))::numeric[],
                \(lines.map(\.promotionalCredit))::numeric[], \(lines.map(\.tax))::numeric[],
                \(lines.map(\.facts.json.text))::text[]
            ) AS line (
                tenant_id, invoice_id, line_number, kind, item, item_key, item_name, subscription_id, period_index,
                segment, feature_id, cell, starts_at, ends_at, description, quantity, plan_version_id, amount_exact,
                previously_invoiced, amount, discount, included_credit, promotional_credit, tax, facts
            )
            """
    }

    /// - Parameter invoices: numbered and hashed.
    static func documents(_ invoices: [WholeInvoice]) -> SQL {
        let documents = invoices.map(\.document)
        return """
            INSERT INTO invoice_document (
                tenant_id, invoice_id, sequence, number, finalized_at, due_at, ledger_seq, currency, tenant_key,
                tenant_name, subtotal, discount, credits, tax, total, carried_forward, paid_by_credit, amount_due,
                facts, content_hash
            )
            SELECT tenant_id, invoice_id, sequence, number, finalized_at, due_at, ledger_seq, currency, tenant_key,
                tenant_name, subtotal, discount, credits, tax, total, carried_forward, paid_by_credit, amount_due,
                facts::json, content_hash
            FROM unnest(
                \(invoices.map(\.invoice.tenantID))::bigint[], \(invoices.map(\.invoice.id))::uuid[],
                \(documents.map(\.sequence))::bigint[], \(documents.map(\.number))::text[],
                \(documents.map(\.finalizedAt))::timestamptz[], \(documents.map(\.dueAt))::timestamptz[],
                \(documents.map(\.ledgerSequence))::bigint[], \(documents.map(\.currency))::text[],
                \(documents.map(\.tenantKey))::text[], \(documents.map(\.tenantName))::text[],
                \(documents.map(\.amounts.subtotal))::numeric[], \(documents.map(\.amounts.discount))::numeric[],
                \(documents.map(\.amounts.credits))::numeric[], \(documents.map(\.amounts.tax))::numeric[],
                \(documents.map(\.amounts.total))::numeric[], \(documents.map(\.amounts.carriedForward))::numeric[],
                \(documents.map(\.amounts.paidByCredit))::numeric[], \(documents.map(\.amounts.due))::numeric[],
                \(documents.map(\.facts.json.text))::text[],
                \(documents.map { PostgresBytes(bytes: $0.contentHash) })::bytea[]
            ) AS document (
                tenant_id, invoice_id, sequence, number, finalized_at, due_at, ledger_seq, currency, tenant_key,
                tenant_name, subtotal, discount, credits, tax, total, carried_forward, paid_by_credit, amount_due,
                facts, content_hash
            )
            """
    }

    /// Puts drafts off that can't be finalised now.
    static func postpone(_ invoices: [StoredInvoice], to instant: Instant) -> SQL {
        """
        UPDATE invoice
        SET issued_at = \(instant), finalizing_put_off_until = \(instant)
        FROM unnest(\(invoices.map(\.tenantID))::bigint[], \(invoices.map(\.id))::uuid[]) AS late (tenant_id,
        invoice_id)
        WHERE invoice.tenant_id = late.tenant_id AND invoice.invoice_id = late.invoice_id AND invoice.status = 'draft'
        """
    }
}

/// The gapless series of numbers: rows of `invoice_series` that belong to the operator.
enum InvoiceSeriesStore {
    enum Series: String, CaseIterable {
        case invoice
        case creditNote = "credit_note"
    }

    /// Takes so many numbers and locks the series until the transaction ends: whoever calls it needs nothing more.
    static func take(
        _ count: Int,
        of series: Series,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> (first: Int64, prefix: String) {
        let taken = try transaction.first(
            """
            UPDATE invoice_series
            SET next_sequence = next_sequence + \(Int64(count))
            WHERE tenant_id = 0 AND series = \(series.rawValue)
            RETURNING next_sequence - \(Int64(count)), prefix
            """
        ) { row throws(PostgresError) in (first: try row.next(Int64.self), prefix: try row.next(String.self)) }
        guard let taken else { throw PostgresError(.decoding, "the series \(series.rawValue) has no row") }
        return taken
    }

    /// The next number, without taking it.
    static func next(of series: Series, in transaction: borrowing Transaction) throws(PostgresError) -> Int64 {
        let next = try transaction.first(
            "SELECT next_sequence FROM invoice_series WHERE tenant_id = 0 AND series = \(series.rawValue)"
        ) { row throws(PostgresError) in try row.next(Int64.self) }
        guard let next else { throw PostgresError(.decoding, "the series \(series.rawValue) has no row") }
        return next
    }

    /// `INV-00000042`.
    static func number(_ sequence: Int64, prefix: String) -> String {
        let digits = String(sequence)
        return prefix + String(repeating: "0", count: max(0, 8 - digits.count)) + digits
    }
}
