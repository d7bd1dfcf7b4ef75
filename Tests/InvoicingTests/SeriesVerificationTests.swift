import BillingCore
import Postgres
import TestSupport
import Testing
import Usage
import Web

@testable import Invoicing

/// `verify` of the gapless series: what was deleted leaves a gap, and the next number follows the last.
@Suite(.timeLimit(.minutes(15)))
struct SeriesVerificationTests {
    /// An opening and a regular invoice of two tenants each, numbered in turn: 1 to 4.
    private static func run(_ body: (TestServer) async throws -> Void) async throws {
        try await CreditStory.run { server in
            try await server.addTenant("beta")
            try await server.subscribe("beta", at: "2026-11-01T00:00:00Z")
            try await server.closeInvoices(at: "2026-11-01T00:00:00Z")
            try await server.closeInvoices(at: "2026-12-01T00:00:00Z")
            let numbered = try await server.column("SELECT sequence::text FROM invoice_document ORDER BY sequence")
            #expect(numbered == ["1", "2", "3", "4"])
            try await body(server)
        }
    }

    /// As in a restore that went wrong.
    private static func delete(_ sequences: String) -> String {
        let ids = "(SELECT invoice_id FROM invoice_document WHERE sequence IN (\(sequences)))"
        return """
            SET session_replication_role = replica;
            DELETE FROM invoice WHERE invoice_id IN \(ids);
            DELETE FROM invoice_line WHERE invoice_id IN \(ids);
            DELETE FROM invoice_document WHERE sequence IN (\(sequences));
            """
    }

    /// A change, and what is then found of the series.
    private static let planted: [(change: String, found: [String])] = [
        (
            "UPDATE invoice_series SET next_sequence = 3 WHERE series = 'invoice'",
            ["the next number of invoices is INV-00000003, its invoices give INV-00000005"]
        ),
        (
            "UPDATE invoice_series SET next_sequence = 6 WHERE series = 'invoice'",
            ["the next number of invoices is INV-00000006, its invoices give INV-00000005"]
        ),
        (
            "UPDATE invoice_series SET next_sequence = 2 WHERE series = 'credit_note'",
            ["the next number of credit notes is CN-00000002, its credit notes give CN-00000001"]
        ),
        (
            "DELETE FROM invoice_series WHERE series = 'invoice'",
            ["the next number of invoices is missing, its invoices give 00000005"]
        ),
        (delete("2"), ["invoice INV-00000002 is missing, its series give one"]),
        (delete("1, 2"), ["each of the invoices INV-00000001 to INV-00000002 is missing, its series give one"]),
        (
            delete("2, 4"),
            [
                "the next number of invoices is INV-00000005, its invoices give INV-00000004",
                "invoice INV-00000002 is missing, its series give one",
            ]
        ),
        (
            delete("1, 2, 3, 4"), ["the next number of invoices is INV-00000005, its invoices give INV-00000001"]
        ),
        (
            "UPDATE invoice_document SET sequence = 1 WHERE sequence = 2",
            [
                "how many have the place of invoice INV-00000001 is 2, its series give 1",
                "invoice INV-00000002 is missing, its series give one",
            ]
        ),
    ]

    @Test func `numbers that follow each other are clean, also those of voided and reissued invoices`() async throws {
        try await Self.run { server in
            let last = try #require(
                try await server.column("SELECT invoice_id::text FROM invoice_document WHERE sequence = 4").first ?? nil
            )
            try await server.ask("POST", "/invoices/\(last)/void")
            try await server.ask("POST", "/invoices/\(last)/reissue", expecting: 201)
            try await server.closeInvoices(at: "2026-12-03T00:00:00Z")
            let count = try await server.column("SELECT count(*)::text FROM invoice_document")
            #expect(count == ["5"])
            let found = try await server.invoiceDifferences()
            #expect(found == [])
        }
    }

    @Test(arguments: planted.indices)
    func `a gap, and a next number that does not follow, are found`(_ index: Int) async throws {
        let (change, expected) = Self.planted[index]
        try await Self.run { server in
            try await server.database.run(change)
            let found = try await server.invoiceDifferences().filter { $0.hasPrefix("tenant 0: ") }
            #expect(found == expected.map { "tenant 0: \($0)" })
            let ofTenant = try await server.invoiceDifferences(of: TenantID(2))
            #expect(ofTenant.allSatisfy { !$0.hasPrefix("tenant 0: ") })
        }
    }

    @Test func `an invoice of which only the row is left, or all but that, is found`() async throws {
        try await Self.run { server in
            try await server.database.run(
                "SET session_replication_role = replica; DELETE FROM invoice_document WHERE sequence = 4"
            )
            let left = try await server.column(
                """
                SELECT tenant_id || ' ' || invoice_id FROM invoice
                WHERE status = 'finalized' AND invoice_id NOT IN (SELECT invoice_id FROM invoice_document)
                """
            ).compactMap { $0 }
            let parts = try #require(left.first).split(separator: " ").map { String($0) }
            let tenant = try #require(Int64(parts[0]))
            let says = "invoice \(parts[1]): what it says is missing, its state and dates give a finalised one"
            var found = try await server.invoiceDifferences()
            #expect(found.contains("tenant number \(tenant): \(says)"), "\(found)")
            found = try await server.invoiceDifferences(of: TenantID(tenant))
            #expect(found == ["tenant number \(tenant): \(says)"])

            try await server.database.run(
                """
                SET session_replication_role = replica;
                DELETE FROM invoice WHERE invoice_id = (SELECT invoice_id FROM invoice_document WHERE sequence = 1)
                """
            )
            found = try await server.invoiceDifferences()
            #expect(found.contains { $0.hasPrefix("tenant ?: the row of invoice ") }, "\(found)")
        }
    }
}
