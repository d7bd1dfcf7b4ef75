import BillingCore
import Catalog
import Postgres
import Web

extension InvoiceStore {
    /// Drafts whose grace is over, of a part of the tenants: those that wait longest, and of a tenant's the earlier
    /// period's first, whenever each was drafted.
    static func dueDrafts(
        at now: Instant,
        _ part: Int,
        of parts: Int,
        limit: Int,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [(tenant: TenantID, invoice: InvoiceID)] {
        try transaction.query(
            """
            SELECT tenant_id, invoice_id
            FROM (
                SELECT tenant_id, invoice_id, kind, period_start
                FROM invoice
                WHERE status = 'draft' AND issued_at <= \(now) AND tenant_id % \(Int64(parts)) = \(Int64(part))
                ORDER BY issued_at, tenant_id, period_start, kind <> 'opening', invoice_id
                LIMIT \(limit)
            ) AS due
            ORDER BY tenant_id, period_start, kind <> 'opening', invoice_id
            """
        ) { row throws(PostgresError) in (try row.next(), try row.next()) }
    }

    static func countDueDrafts(at now: Instant) -> SQL {
        "SELECT count(*) FROM invoice WHERE status = 'draft' AND issued_at <= \(now)"
    }

    /// How many drafts can't be finalised and are put off now, and when the first of them is tried again.
    static func countPutOff(at now: Instant) -> SQL {
        """
        SELECT count(*), min(finalizing_put_off_until)
        FROM invoice
        WHERE status = 'draft' AND finalizing_put_off_until > \(now)
        """
    }

    /// Those of some invoices that are drafts still. Read them under the tenants' ledger locks.
    static func drafts(
        _ ids: [(tenant: TenantID, invoice: InvoiceID)],
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [StoredInvoice] {
        try transaction.query(
            """
            SELECT invoice_id, tenant_id, subscription_id, kind, period_index, period_start, period_end, reissue_of,
                created_at, issued_at, revision
            FROM unnest(\(ids.map(\.tenant))::bigint[], \(ids.map(\.invoice))::uuid[]) AS wanted (tenant_id, invoice_id)
            JOIN invoice USING (tenant_id, invoice_id)
            WHERE status = 'draft'
            ORDER BY issued_at, tenant_id, invoice_id
            """
        ) { row throws(PostgresError) in
            var draft = StoredInvoice(
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
            draft.revision = try row.next()
            return draft
        }
    }
}

extension InvoiceStore {
    /// The draft of an adjustment of an adjustment's subscription; nil for an invoice of another kind.
    static func draftAdjustment(
        of invoice: StoredInvoice,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> InvoiceID? {
        guard invoice.kind == .adjustment else { return nil }
        return try transaction.first(
            """
            SELECT invoice_id
            FROM invoice
            WHERE tenant_id = \(invoice.tenantID) AND subscription_id = \(invoice.subscriptionID)
                AND status = 'draft' AND kind = 'adjustment'
            """
        ) { row throws(PostgresError) in try row.next() }
    }

    /// Whether a final invoice stands in the place of a voided adjustment: its reissue, or the reissue of that. For
    /// other kinds a unique index sees to it.
    static func isReissued(
        _ invoice: StoredInvoice,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> Bool {
        guard invoice.kind == .adjustment else { return false }
        let found = try transaction.first(
            """
            WITH RECURSIVE later AS (
                SELECT invoice_id, status
                FROM invoice
                WHERE tenant_id = \(invoice.tenantID) AND subscription_id = \(invoice.subscriptionID)
                    AND reissue_of = \(invoice.id)
                UNION ALL
                SELECT invoice.invoice_id, invoice.status
                FROM later
                JOIN invoice ON invoice.reissue_of = later.invoice_id
                WHERE invoice.tenant_id = \(invoice.tenantID) AND invoice.subscription_id = \(invoice.subscriptionID)
            )
            SELECT invoice_id FROM later WHERE status NOT IN ('draft', 'void') LIMIT 1
            """
        ) { row throws(PostgresError) in try row.next(InvoiceID.self) }
        return found != nil
    }

    /// A draft of the same subscription that comes before another: not an adjustment, as the other has what that is
    /// about, or leaves it to that.
    static func earlierDraft(
        than draft: StoredInvoice,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> InvoiceID? {
        try transaction.first(
            """
            SELECT invoice_id
            FROM invoice
            WHERE tenant_id = \(draft.tenantID) AND subscription_id = \(draft.subscriptionID) AND status = 'draft'
                AND invoice_id <> \(draft.id)
                AND (kind = 'opening' OR kind = 'regular' AND period_index < \(Int32(clamping: draft.periodIndex)))
            ORDER BY period_index
            LIMIT 1
            """
        ) { row throws(PostgresError) in try row.next() }
    }

    /// The periods of subscriptions, those of the adjustments given, that have a void regular invoice and none that is
    /// final; for a pipeline, decode with `periodLeftToReissue`.
    static func leftToReissue(of adjustments: [StoredInvoice]) -> SQL {
        """
        SELECT invoice.subscription_id, invoice.period_index
        FROM (
            SELECT DISTINCT tenant_id, subscription_id
            FROM unnest(\(adjustments.map(\.tenantID))::bigint[], \(adjustments.map(\.subscriptionID))::uuid[])
                AS wanted (tenant_id, subscription_id)
        ) AS wanted
        JOIN invoice USING (tenant_id, subscription_id)
        WHERE invoice.kind = 'regular'
        GROUP BY invoice.subscription_id, invoice.period_index
        HAVING bool_or(invoice.status = 'void') AND bool_and(invoice.status IN ('void', 'draft'))
        """
    }

    static func periodLeftToReissue(
        _ row: inout PostgresRow
    ) throws(PostgresError) -> (subscription: SubscriptionID, index: Int) {
        (try row.next(), Int(try row.next(Int32.self)))
    }
}
