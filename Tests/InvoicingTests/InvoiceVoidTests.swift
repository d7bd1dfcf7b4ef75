import BillingCore
import Postgres
import TestSupport
import Testing
import Web

@testable import Invoicing

/// Voiding an invoice of which a later one gave something back: it would leave the tenant with credit for what it never
/// paid.
@Suite(.timeLimit(.minutes(15)))
struct InvoiceVoidTests {
    /// The opening invoice of 10.00, and the last one of a subscription that ended in the middle of November, which
    /// gives 5.00 of it back: 3.50 is left over as credit.
    private static func run(_ body: (TestServer, _ opening: String) async throws -> Void) async throws {
        try await ClosingStory.run { server in
            try await server.close()
            let opening = try #require(try await server.ask("GET", "/invoices")["data"]?[0]?["id"]?.string)
            let id = try await server.ask("GET", "/subscriptions")["data"]?[0]?["id"]?.string ?? ""
            try await server.ask("POST", "/subscriptions/\(id)/cancel", #"{"at":"2026-11-16T00:00:00Z"}"#)
            try server.set("2026-11-16T00:00:00Z")
            try await server.close()
            #expect(
                try await server.invoices().last
                    == "regular 0 paid 0.00: fee care 1.50, usage seconds 0.00, adjustment base -5.00"
            )
            try await body(server, opening)
        }
    }

    private static func refusal(_ server: TestServer, _ id: String) async throws -> TestResponse {
        try await server.operatorClient.post("/api/v1/invoices/\(id)/void").expecting(409)
    }

    /// All that is to be paid, less the credit that is left.
    private static func owed(_ server: TestServer) async throws -> String? {
        try await server.column(
            """
            SELECT round(
                (SELECT coalesce(sum(amount_due), 0) FROM invoice_document JOIN invoice USING (tenant_id, invoice_id)
                    WHERE status <> 'void')
                - (SELECT coalesce(sum(remaining), 0) FROM credit_grant WHERE voided_at IS NULL), 2)::text
            """
        ).first ?? nil
    }

    @Test func `it is refused by the name of the later invoice, and done with its reissue`() async throws {
        try await Self.run { server, opening in
            #expect(try await Self.owed(server) == "6.50")
            let refused = try await Self.refusal(server, opening)
            #expect(refused.code == "adjusted_by_later_invoice" && refused.text.contains("INV-00000002"))
            let body = #"{"reissue":true}"#
            let draft = try await server.ask("POST", "/invoices/\(opening)/void", body, expecting: 201)
            #expect(draft["reissue_of"]?.string == opening && draft["status"]?.string == "draft")
            #expect(try await server.ask("GET", "/invoices/\(opening)")["status"]?.string == "void")
            try await server.ask("POST", "/invoices/\(draft["id"]?.string ?? "")/finalize")
            // What is due comes to the same as before: half of the fee in advance, and 1.50 in arrears.
            #expect(try await Self.owed(server) == "6.50")
            let actions = try await server.column(
                "SELECT DISTINCT action FROM audit_log WHERE resource_type = 'invoice' ORDER BY 1"
            )
            #expect(actions == ["invoice.finalized", "invoice.reissued", "invoice.voided"])
        }
    }

    @Test func `neither does the reissue leave money when it is voided, as a draft or later`() async throws {
        try await Self.run { server, opening in
            let body = #"{"reissue":true}"#
            let draft = try await server.ask("POST", "/invoices/\(opening)/void", body, expecting: 201)
            let second = draft["id"]?.string ?? ""
            #expect(try await Self.refusal(server, second).code == "adjusted_by_later_invoice")
            try await server.ask("POST", "/invoices/\(second)/finalize")
            #expect(try await Self.refusal(server, second).code == "adjusted_by_later_invoice")
        }
    }

    @Test func `credit that was spent since is owed again with the reissue`() async throws {
        try await Self.run { server, opening in
            try await server.subscribe(at: "2026-11-16T00:00:00Z")
            try await server.close()
            #expect(try await server.column("SELECT round(sum(remaining), 2)::text FROM credit_grant") == ["0.00"])
            let before = try await Self.owed(server)
            let body = #"{"reissue":true}"#
            let draft = try await server.ask("POST", "/invoices/\(opening)/void", body, expecting: 201)
            try await server.ask("POST", "/invoices/\(draft["id"]?.string ?? "")/finalize")
            #expect(try await Self.owed(server) == before)
        }
    }

    @Test func `where later invoices charged more it is voided without more ado`() async throws {
        try await ClosingStory.run { server in
            try server.set("2026-12-01T00:00:00Z")
            try await server.close()
            let id = try await server.ask("GET", "/invoices?kind=regular")["data"]?[0]?["id"]?.string ?? ""
            for (event, time) in [("1", "2026-12-10T00:00:00Z"), ("2", "2027-01-10T00:00:00Z")] {
                try server.set(time)
                try await server.ingest(SentEvent(event, time: "2026-11-20T00:00:00Z", data: #"{"seconds":4}"#))
                try server.set(event == "1" ? "2027-01-01T00:00:00Z" : "2027-02-01T00:00:00Z")
                try await server.close()
            }
            try await server.ask("POST", "/invoices/\(id)/void")
        }
    }

    @Test func `usage that was taken back in several steps keeps its invoice`() async throws {
        try await ClosingStory.run { server in
            try await server.ingest(
                SentEvent("1", data: #"{"seconds":7}"#),
                SentEvent("2", data: #"{"seconds":5}"#)
            )
            try server.set("2026-12-01T00:00:00Z")
            try await server.close()
            let id = try await server.ask("GET", "/invoices?kind=regular")["data"]?[0]?["id"]?.string ?? ""
            for (event, time) in [("1", "2027-01-01T00:00:00Z"), ("2", "2027-02-01T00:00:00Z")] {
                _ = try await server.void(event)
                try server.set(time)
                try await server.close()
            }
            let refused = try await Self.refusal(server, id)
            #expect(refused.code == "adjusted_by_later_invoice" && refused.text.contains("INV-00000004"))
        }
    }

    @Test func `a credit note on what an invoice has nothing of does not keep it from being voided`() async throws {
        try await ClosingStory.run { server in
            try await server.ingest(SentEvent("1", data: #"{"seconds":6}"#))
            try server.set("2026-12-01T00:00:00Z")
            try await server.close()
            let charged = try await server.ask("GET", "/invoices?kind=regular")["data"]?[0]?["id"]?.string ?? ""
            let lines = try await server.ask("GET", "/invoices/\(charged)")["lines"]?.elements ?? []
            // The fee of December stands on November's invoice.
            let fee = lines.firstIndex { $0["fee"]?.string == "base" } ?? 0
            let note = #"{"reason":"goodwill","lines":[{"line":\#(fee + 1),"amount":"0.10"}]}"#
            try await server.ask("POST", "/invoices/\(charged)/credit-notes", note, expecting: 201)
            try server.set("2027-01-01T00:00:00Z")
            try await server.close()
            _ = try await server.void("1")
            try server.set("2027-02-01T00:00:00Z")
            try await server.close()
            let last = try await server.ask("GET", "/invoices?kind=regular&from=2027-02-01T00:00:00Z")
            let taking = try #require(last["data"]?[0])
            #expect(try await server.invoices().last?.contains("adjustment seconds -6.00") == true)
            try await server.ask("POST", "/invoices/\(taking["id"]?.string ?? "")/void")
        }
    }

    @Test func `what takes usage back is not voided once a credit note took back the rest`() async throws {
        try await ClosingStory.run { server in
            try await server.ingest(
                SentEvent("1", data: #"{"seconds":6}"#),
                SentEvent("2", data: #"{"seconds":4}"#)
            )
            try server.set("2026-12-01T00:00:00Z")
            try await server.close()
            let charged = try await server.ask("GET", "/invoices?kind=regular")["data"]?[0]?["id"]?.string ?? ""
            _ = try await server.void("1")
            try server.set("2027-01-01T00:00:00Z")
            try await server.close()
            let invoices = try await server.ask("GET", "/invoices?kind=regular")["data"]?.elements ?? []
            let taking = invoices.compactMap { $0["id"]?.string }.first { $0 != charged } ?? ""
            // By a replica whose clock is behind.
            try server.set("2026-12-31T23:59:59Z")
            let lines = try await server.ask("GET", "/invoices/\(charged)")["lines"]?.elements ?? []
            let usage = lines.firstIndex { $0["kind"]?.string == "usage" } ?? 0
            let note = #"{"reason":"goodwill","lines":[{"line":\#(usage + 1),"amount":"0.10"}]}"#
            try await server.ask("POST", "/invoices/\(charged)/credit-notes", note, expecting: 201)
            let refused = try await Self.refusal(server, taking)
            #expect(refused.code == "credited_since" && refused.text.contains("CN-00000001"))
        }
    }
}
