import BillingCore
import Postgres
import TestSupport
import Testing
import Usage
import Web

@testable import Invoicing

/// `verify` of credit notes: each is what its lines come to, and an invoice was credited what its notes come to.
@Suite(.timeLimit(.minutes(15)))
struct CreditNoteVerificationTests {
    /// An invoice of 119.00, of which credit notes take 59.50 and 11.90 back.
    private static func run(_ body: (TestServer, String) async throws -> Void) async throws {
        try await CreditStory.run { server in
            let tax = #"{"rates":[{"key":"vat","name":"VAT","percent":"19"}]}"#
            try await server.ask("PATCH", "/tenants/acme", #"{"billing":{"tax":\#(tax)}}"#)
            try await server.closeInvoices(at: "2026-11-01T00:00:00Z")
            let id = try #require(try await server.column("SELECT invoice_id::text FROM invoice").first ?? nil)
            for amount in ["59.50", "11.90"] { try await credit(amount, id, server) }
            try await body(server, id)
        }
    }

    private static func credit(_ amount: String, _ invoice: String, _ server: TestServer) async throws {
        let body = #"{"amount":"\#(amount)","reason":"half of it"}"#
        try await server.ask("POST", "/invoices/\(invoice)/credit-notes", body, expecting: 201)
    }

    @Test("one that can't be read keeps none of the others from being judged")
    func unreadable() async throws {
        try await Self.run { server, _ in
            try await server.database.run(
                "UPDATE credit_note SET amount = 'NaN' WHERE sequence = 2; UPDATE invoice SET credited = credited + 1"
            )
            let found = try await server.invoiceDifferences()
            #expect(found.contains { $0.contains("what was credited is 72.4") }, "\(found)")
            #expect(found.contains { $0.contains("credit notes is there, its events give not read") }, "\(found)")
        }
    }

    private static func delete(_ sequence: Int) -> String {
        let id = "(SELECT credit_note_id FROM credit_note WHERE sequence = \(sequence))"
        return """
            DELETE FROM credit_note_line WHERE credit_note_id = \(id);
            DELETE FROM credit_note WHERE sequence = \(sequence);
            """
    }

    /// A change, and what is then found: of the series, and of the tenant.
    private static let planted: [(change: String, series: [String], found: [String])] = [
        (
            "UPDATE invoice SET credited = credited + 1", [],
            ["invoice INV-00000001: what was credited is 72.4, its credit notes give 71.4"]
        ),
        (
            "UPDATE credit_note SET total = total + 1 WHERE sequence = 1", [],
            [
                "invoice INV-00000001: what was credited is 71.4, its credit notes give 72.4",
                "credit note CN-00000001: its total is 60.5, its lines give 59.5",
            ]
        ),
        (
            "UPDATE credit_note SET refunded = refunded + 1 WHERE sequence = 2", [],
            ["credit note CN-00000002: what it took off and gave back is 12.9, its lines give 11.9"]
        ),
        (
            "UPDATE credit_note SET amount = amount + 1, tax = tax - 1 WHERE sequence = 2", [],
            [
                "credit note CN-00000002: its amount without tax is 11, its lines give 10",
                "credit note CN-00000002: its tax is 0.9, its lines give 1.9",
            ]
        ),
        (
            "DELETE FROM credit_note_line WHERE amount = 10", [],
            [
                "credit note CN-00000002: its amount without tax is 10, its lines give 0",
                "credit note CN-00000002: its tax is 1.9, its lines give 0",
                "credit note CN-00000002: its total is 11.9, its lines give 0",
                "credit note CN-00000002: what it took off and gave back is 11.9, its lines give 0",
            ]
        ),
        (
            delete(1), ["credit note CN-00000001 is missing, its series give one"],
            ["invoice INV-00000001: what was credited is 71.4, its credit notes give 11.9"]
        ),
        (
            delete(2), ["the next number of credit notes is CN-00000003, its credit notes give CN-00000002"],
            ["invoice INV-00000001: what was credited is 71.4, its credit notes give 59.5"]
        ),
    ]

    @Test(arguments: planted.indices)
    func `what is not what its parts come to is found`(_ index: Int) async throws {
        let (change, ofSeries, ofTenant) = Self.planted[index]
        try await Self.run { server, _ in
            var found = try await server.invoiceDifferences()
            #expect(found == [])
            try await server.database.run(change)
            let expected = ofTenant.map { "tenant acme: \($0)" }
            found = try await server.invoiceDifferences()
            #expect(found == ofSeries.map { "tenant 0: \($0)" } + expected)
            found = try await server.invoiceDifferences(of: TenantID(1))
            #expect(found == expected)
            found = try await server.invoiceDifferences(of: TenantID(2))
            #expect(found == [])
        }
    }

    @Test func `it can run beside credit notes that are issued`() async throws {
        try await Self.run { server, invoice in
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    for _ in 0..<40 { try await Self.credit("0.10", invoice, server) }
                }
                group.addTask {
                    for _ in 0..<10 {
                        let found = try await server.invoiceDifferences()
                        #expect(found == [])
                    }
                }
                try await group.waitForAll()
            }
        }
    }
}
