import Postgres
import TestSupport
import Testing

@testable import Invoicing

/// An invoice that can't be stored.
@Suite(.timeLimit(.minutes(15)))
struct ClosingFaultTests {
    @Test func `it keeps back none of other tenants, and is put off`() async throws {
        try await ClosingStory.run { server in
            let others = ["b", "c", "d"]
            for other in others {
                try await server.addTenant(other, currency: "USD", zone: "UTC")
                try await server.subscribe(other, at: "2026-11-01T00:00:00Z")
            }
            try await server.close(graceHours: 1)
            // A line is in the way of the draft's first.
            _ = try await server.column(
                """
                INSERT INTO invoice_line (
                    tenant_id, invoice_id, line_number, kind, item, item_key, item_name, subscription_id, period_index,
                    cell, starts_at, ends_at, description, amount_exact, previously_invoiced, amount, discount,
                    included_credit, promotional_credit, tax, facts
                )
                SELECT tenant_id, invoice_id, 1, 'fee', 'fee_in_advance', 'x', 'x', subscription_id, 99, '', now(),
                    now(), '', '0', 0, 0, 0, 0, 0, 0, '{}'
                FROM invoice JOIN tenant USING (tenant_id)
                WHERE tenant.key = 'acme'
                RETURNING description
                """
            )
            try server.set("2026-11-01T01:00:00Z")
            let progress = try await server.close()
            #expect(progress.finalized == 3 && progress.failed == 1)
            for other in others {
                #expect(try await server.invoices(other) == ["opening 0 finalized 10.00: fee base 10.00"])
            }
            #expect(try await server.finalAt() == ["2026-11-01T02:00:00Z"])
        }
    }
}
