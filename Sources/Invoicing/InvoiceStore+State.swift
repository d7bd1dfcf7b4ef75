package import BillingCore
import Catalog
package import Postgres
import Web

/// Writes the state of an invoice: the only columns that the service may update.
extension InvoiceStore {
    /// The number of the last invoice of a tenant that stands and has tax on a line.
    package static func taxedNumber(
        of tenant: TenantID,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> String? {
        try transaction.first(
            """
            SELECT document.number
            FROM invoice_document AS document
            JOIN invoice USING (tenant_id, invoice_id)
            WHERE document.tenant_id = \(tenant) AND invoice.status <> 'void'
                AND EXISTS (
                    SELECT FROM invoice_line AS line
                    WHERE line.tenant_id = document.tenant_id AND line.invoice_id = document.invoice_id
                        AND line.tax <> 0
                )
            ORDER BY document.sequence DESC
            LIMIT 1
            """
        ) { row throws(PostgresError) in try row.next() }
    }

    /// One of the rates whose key the last invoice of a tenant that stands and was taxed by it has with another
    /// percentage, and the number of that invoice.
    package static func otherRate(
        than rates: [TaxRate],
        of tenant: TenantID,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> (key: String, invoice: String)? {
        try transaction.first(
            """
            SELECT wanted.key, document.number
            FROM invoice_document AS document
            JOIN invoice USING (tenant_id, invoice_id)
            CROSS JOIN LATERAL (
                SELECT json_array_elements(document.facts #> '{billing,tax,rates}')
                UNION ALL
                SELECT json_array_elements(document.facts -> 'former_rates')
            ) AS had (rate)
            JOIN unnest(\(rates.map(\.key))::text[], \(rates.map(\.percent))::numeric[]) AS wanted (key, percent)
                ON had.rate ->> 'key' = wanted.key AND (had.rate ->> 'percent')::numeric <> wanted.percent
            WHERE document.tenant_id = \(tenant) AND invoice.status <> 'void'
                AND EXISTS (
                    SELECT FROM invoice_line AS line
                    CROSS JOIN json_array_elements(line.facts -> 'taxes') AS part
                    WHERE line.tenant_id = document.tenant_id AND line.invoice_id = document.invoice_id
                        AND part ->> 'rate' = wanted.key AND (part ->> 'amount')::numeric <> 0
                )
            ORDER BY document.sequence DESC, wanted.key
            LIMIT 1
            """
        ) { row throws(PostgresError) in (key: try row.next(), invoice: try row.next()) }
    }

    static func set(
        _ status: InvoiceStatus,
        of invoice: StoredInvoice,
        at now: Instant,
        in transaction: borrowing Transaction
    ) throws(PostgresError) {
        try transaction.execute(
            """
            UPDATE invoice
            SET status = \(status), updated_at = \(now), revision = revision + 1,
                paid_at = CASE WHEN \(status)::text = 'paid' THEN \(now)::timestamptz ELSE paid_at END,
                uncollectible_at = CASE
                    WHEN \(status)::text = 'uncollectible' THEN \(now)::timestamptz ELSE uncollectible_at
                END
            WHERE tenant_id = \(invoice.tenantID) AND invoice_id = \(invoice.id)
            """
        )
    }

    /// Another invoice that stands and has given back more of what an invoice charges than the others of these charged:
    /// the last of those. What an invoice itself adjusts is not looked at, because that is adjusted again by itself.
    static func givingBack(
        whatIsChargedBy invoice: StoredInvoice,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> (id: InvoiceID, number: String)? {
        guard invoice.kind != .adjustment else { return nil }
        let index = Int32(clamping: invoice.periodIndex)
        let isRegular = invoice.kind == .regular
        return try transaction.first(
            """
            SELECT document.invoice_id, document.number
            FROM invoice_document AS document
            JOIN (
                SELECT line.tenant_id, (array_agg(document.invoice_id ORDER BY document.sequence DESC))[1] AS invoice_id
                FROM invoice_line AS line
                JOIN invoice USING (tenant_id, invoice_id)
                JOIN invoice_document AS document USING (tenant_id, invoice_id)
                WHERE line.tenant_id = \(invoice.tenantID) AND line.subscription_id = \(invoice.subscriptionID)
                    AND line.invoice_id <> \(invoice.id) AND invoice.status <> 'void'
                    AND (
                        (\(isRegular) AND line.period_index = \(index))
                        OR (line.item = 'fee_in_advance'
                            AND line.period_index = CASE WHEN \(isRegular) THEN \(index) + 1 ELSE \(index) END)
                    )
                GROUP BY line.tenant_id, line.period_index, line.segment, line.item, line.item_key, line.feature_id,
                    line.cell
                HAVING sum(line.amount) < 0
            ) AS given USING (tenant_id, invoice_id)
            ORDER BY document.sequence DESC
            LIMIT 1
            """
        ) { row throws(PostgresError) in (id: try row.next(), number: try row.next()) }
    }

    /// - Parameter sequence: the series' next number: invoices from there on are made without this one.
    static func void(
        _ invoice: StoredInvoice,
        at now: Instant,
        before sequence: Int64,
        in transaction: borrowing Transaction
    ) throws(PostgresError) {
        try transaction.execute(
            """
            UPDATE invoice
            SET status = 'void', voided_at = \(now), voided_before = \(sequence), updated_at = \(now),
                revision = revision + 1
            WHERE tenant_id = \(invoice.tenantID) AND invoice_id = \(invoice.id)
            """
        )
    }
}
