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

    /// The lines of the other invoices of a subscription that stand and charge for, or give back of, the same periods.
    static func linesStanding(
        besides invoice: StoredInvoice,
        ofPeriodsIn lines: [StoredInvoiceLine],
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [InvoiceID: [StoredInvoiceLine]] {
        let periods = Set(lines.map(\.periodIndex)).sorted().map { Int32(clamping: $0) }
        let others = try transaction.query(
            """
            SELECT DISTINCT line.invoice_id
            FROM invoice_line AS line
            JOIN invoice ON invoice.tenant_id = line.tenant_id AND invoice.invoice_id = line.invoice_id
            WHERE line.tenant_id = \(invoice.tenantID) AND line.subscription_id = \(invoice.subscriptionID)
                AND line.period_index = ANY(\(periods)::integer[])
                AND line.invoice_id <> \(invoice.id) AND invoice.status <> 'void'
            """
        ) { row throws(PostgresError) in try row.next(InvoiceID.self) }
        return try Self.lines(of: others, tenant: invoice.tenantID, in: transaction)
    }
}
