import Postgres
import TestSupport
import Testing

/// A finalised invoice cannot be rewritten: not by a fault of ours either.
@Suite(.timeLimit(.minutes(15)))
struct PinnedInvoicesTests {
    @Test("the service may update only what is state, and delete nothing, of what invoices and credits say")
    func columnsAreGranted() async throws {
        try await SchemaInspection.run { schema in
            let updatable = try await schema.texts(
                """
                SELECT relname || '.' || attname
                FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
                WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
                    AND relname ~ '^(invoice|credit_|discount)'
                    AND has_column_privilege('turnpike_service', pg_class.oid, attnum, 'UPDATE')
                ORDER BY 1
                """
            )
            #expect(
                updatable == [
                    "credit_application.returned_at", "credit_grant.remaining", "credit_grant.revision",
                    "credit_grant.updated_at", "credit_grant.voided_at", "discount.ended_at", "discount.revision",
                    "discount.updated_at", "discount.uses", "invoice.credited",
                    "invoice.finalizing_put_off_until", "invoice.issued_at",
                    "invoice.overdue_told_at", "invoice.paid_at", "invoice.revision", "invoice.status",
                    "invoice.uncollectible_at", "invoice.updated_at",
                    "invoice.voided_at", "invoice.voided_before", "invoice_series.next_sequence",
                ]
            )
            let deletable = try await schema.texts(
                """
                SELECT relname::text FROM pg_class
                WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
                    AND relname ~ '^(invoice|credit_|discount)'
                    AND has_table_privilege('turnpike_service', oid, 'DELETE')
                """
            )
            #expect(deletable == [])
        }
    }
}
