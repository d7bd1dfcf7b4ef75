import BillingCore
import Catalog
import Postgres
import Web

extension InvoiceStore {
    /// The invoice, locked against everything that changes its state or takes off it.
    static func locked(
        _ id: InvoiceID,
        tenant: TenantID,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> Head? {
        _ = try transaction.execute(
            "SELECT 1 FROM invoice WHERE tenant_id = \(tenant) AND invoice_id = \(id) FOR UPDATE"
        )
        return try find(id, in: transaction)
    }

    /// Writes what a credit note changed of a locked invoice.
    static func credit(_ invoice: StoredInvoice) -> SQL {
        """
        UPDATE invoice
        SET credited = \(invoice.credited), status = \(invoice.status), paid_at = \(invoice.paidAt),
            updated_at = \(invoice.updatedAt), revision = \(invoice.revision)
        WHERE tenant_id = \(invoice.tenantID) AND invoice_id = \(invoice.id)
        """
    }
}
