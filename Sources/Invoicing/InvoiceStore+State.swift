import BillingCore
import Catalog
import Postgres
import Web

/// Writes the state of an invoice: the only columns that the service may update.
extension InvoiceStore {
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
