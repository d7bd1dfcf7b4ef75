import BillingCore
import Catalog
import Postgres
import Web

extension CreditGrantStore {
    /// What an invoice used of a credit, and whether it came back.
    struct Application: Sendable {
        let invoice: InvoiceID
        let number: String
        let amount: FixedDecimal
        let appliedAt: Instant
        let returnedAt: Instant?
    }

    /// By ascending id of the invoice.
    static func applications(
        of grant: CreditGrantID,
        tenant: TenantID,
        after invoice: InvoiceID?,
        limit: Int,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [Application] {
        try transaction.query(
            """
            SELECT use.invoice_id, document.number, use.amount, use.created_at, use.returned_at
            FROM credit_application AS use
            JOIN invoice_document AS document
                ON document.tenant_id = use.tenant_id AND document.invoice_id = use.invoice_id
            WHERE use.tenant_id = \(tenant) AND use.credit_grant_id = \(grant)
                AND use.invoice_id > \(invoice ?? InvoiceID(rawValue: .zero))
            ORDER BY use.invoice_id
            LIMIT \(limit)
            """
        ) { row throws(PostgresError) in
            Application(
                invoice: try row.next(),
                number: try row.next(),
                amount: try row.next(),
                appliedAt: try row.next(),
                returnedAt: try row.next()
            )
        }
    }
}
