import BillingCore
import Postgres

extension InvoiceStore {
    /// Where a pass over the unpaid invoices stands.
    struct UnpaidPosition: Sendable, Comparable {
        static let start = UnpaidPosition(tenant: .operatorWide, id: InvoiceID(rawValue: .zero))

        let tenant: TenantID
        let id: InvoiceID

        static func < (left: Self, right: Self) -> Bool {
            left.tenant == right.tenant ? left.id < right.id : left.tenant < right.tenant
        }
    }

    /// Notes of invoices that are overdue, and of which that was not told, that it is, and returns them. One that is
    /// paid meanwhile is left out: whoever writes the row first decides.
    static func noteOverdue(at now: Instant, after position: UnpaidPosition, limit: Int) -> SQL {
        """
        UPDATE invoice SET overdue_told_at = \(now)
        FROM (
            SELECT invoice.tenant_id, invoice.invoice_id
            FROM invoice
            JOIN invoice_document AS document
                ON document.tenant_id = invoice.tenant_id AND document.invoice_id = invoice.invoice_id
            WHERE invoice.status = 'finalized' AND invoice.overdue_told_at IS NULL AND document.due_at < \(now)
                AND (invoice.tenant_id, invoice.invoice_id) > (\(position.tenant), \(position.id))
            ORDER BY invoice.tenant_id, invoice.invoice_id
            LIMIT \(limit)
        ) AS due
        WHERE invoice.tenant_id = due.tenant_id AND invoice.invoice_id = due.invoice_id
            AND invoice.status = 'finalized' AND invoice.overdue_told_at IS NULL
        RETURNING invoice.tenant_id, invoice.invoice_id
        """
    }

    /// Takes back that it was noted of invoices that they are overdue: it was not told.
    static func forgetOverdue(_ invoices: [UnpaidPosition]) -> SQL {
        """
        UPDATE invoice SET overdue_told_at = NULL
        FROM unnest(\(invoices.map(\.tenant))::bigint[], \(invoices.map(\.id))::uuid[])
            AS untold (tenant_id, invoice_id)
        WHERE invoice.tenant_id = untold.tenant_id AND invoice.invoice_id = untold.invoice_id
        """
    }
}
