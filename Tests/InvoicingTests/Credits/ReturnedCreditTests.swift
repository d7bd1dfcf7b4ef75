import BillingCore
import Postgres
import TestSupport
import Testing
import Usage
import Web

@testable import Invoicing

/// Seconds at 1 each with 19 % tax, from the start of November: what becomes of promotional credit when usage that it
/// paid for is taken back.
@Suite(.timeLimit(.minutes(15)))
struct ReturnedCreditTests {
    private static let vat = #"{"rates":[{"key":"vat","name":"VAT","percent":"19"}]}"#

    private static func run(_ body: (TestServer) async throws -> Void) async throws {
        let plan = #"{"charges":[{"feature":"seconds","price":{"model":"per_unit","unit_amount":"1"}}]}"#
        try await ClosingStory.run(plan: plan) { server in
            try await server.ask("PATCH", "/tenants/acme", #"{"billing":{"tax":\#(vat)}}"#)
            try await body(server)
            #expect(try await server.invoiceDifferences() == [])
        }
    }

    private static func seconds(_ id: String, _ count: Int) -> SentEvent {
        SentEvent(id, time: "2026-11-20T00:00:00Z", data: #"{"seconds":\#(count)}"#)
    }

    /// Ends the subscription with November, so that each adjustment is an invoice of its own.
    private static func end(_ server: TestServer) async throws {
        let id = try await server.ask("GET", "/subscriptions")["data"]?[0]?["id"]?.string ?? ""
        try await server.ask("POST", "/subscriptions/\(id)/cancel", #"{"at":"2026-12-01T00:00:00Z"}"#)
    }

    private static func credits(_ server: TestServer) async throws -> [String?] {
        try await server.column(
            """
            SELECT kind || ' ' || round(amount, 2) || ': ' || round(remaining, 2)
            FROM credit_grant WHERE voided_at IS NULL ORDER BY created_at, kind
            """
        )
    }

    /// The last invoice that says something: `0.00 due 0.00 carried 0.00 tax 0.00`, and its lines.
    private static func last(_ server: TestServer) async throws -> (sums: String, id: String, body: JSONValue) {
        let ids = try await server.column(
            "SELECT invoice_id::text FROM invoice_document ORDER BY sequence DESC LIMIT 1"
        )
        let id = try #require(ids.first ?? nil)
        let body = try await server.ask("GET", "/invoices/\(id)")
        let sums = ["total", "amount_due", "carried_forward", "tax"].compactMap { body[$0]?.string }
        return (sums.joined(separator: " "), id, body)
    }

    @Test func `usage that promotional credit paid for comes back as that credit, not as money, and without tax`()
        async throws
    {
        try await Self.run { server in
            let grant = try await server.grant(#"{"name":"Gift","kind":"promotional","amount":"50"}"#)
            try server.set("2026-11-21T00:00:00Z")
            try await server.ingest(Self.seconds("1", 50))
            try await server.closeInvoices(at: "2026-12-01T00:00:00Z")
            #expect(try await Self.last(server).sums == "0.00 0.00 0.00 0.00")
            #expect(try await Self.credits(server) == ["promotional 50.00: 0.00"])
            _ = try await server.void("1")
            try await server.closeInvoices(at: "2027-01-01T00:00:00Z")
            let invoice = try await Self.last(server)
            #expect(invoice.sums == "0.00 0.00 0.00 0.00")
            let line = try #require(invoice.body["lines"]?.elements?.last)
            #expect(line["amount"]?.string == "-50.00" && line["promotional_credit"]?.string == "-50.00")
            #expect(invoice.body["returned_credits"]?[0]?["credit_grant"]?.string == grant)
            #expect(invoice.body["returned_credits"]?[0]?["amount"]?.string == "50.00")
            let explained = try await server.ask("GET", "/invoices/\(invoice.id)/explain")["lines"]?.elements?.last
            let text = "Promotional credit had paid 50.00 USD of that, which goes back to the credit."
            #expect(explained?["text"]?.elements?.contains(.string(text)) == true, "\(explained?.text ?? "")")
            #expect(try await Self.credits(server) == ["promotional 50.00: 50.00"])
            let applied = try await server.ask("GET", "/tenants/acme/credit-grants/\(grant)/applications")
            #expect(applied["data"]?.elements?.map { $0["amount"]?.string } == ["50.00", "-50.00"])
        }
    }

    @Test func `a part takes its share of each credit with it, and parts that make up the whole give all back`()
        async throws
    {
        try await Self.run { server in
            _ = try await server.grant(#"{"name":"A","kind":"promotional","amount":"30"}"#)
            _ = try await server.grant(#"{"name":"B","kind":"promotional","amount":"40"}"#)
            try await Self.end(server)
            try server.set("2026-11-21T00:00:00Z")
            try await server.ingest(Self.seconds("1", 50), Self.seconds("2", 33), Self.seconds("3", 17))
            try await server.closeInvoices(at: "2026-12-01T00:00:00Z")
            #expect(try await Self.last(server).sums == "35.70 35.70 0.00 5.70")
            _ = try await server.void("1")
            try await server.closeInvoices(at: "2026-12-02T00:00:00Z")
            #expect(try await Self.last(server).sums == "0.00 0.00 17.85 -2.85")
            let half = ["promotional 30.00: 15.00", "promotional 40.00: 20.00", "prepaid 17.85: 17.85"]
            #expect(try await Self.credits(server) == half)
            for (day, event) in [(3, "2"), (4, "3")] {
                _ = try await server.void(event)
                try await server.closeInvoices(at: "2026-12-0\(day)T00:00:00Z")
            }
            #expect(
                try await Self.credits(server).prefix(2) == ["promotional 30.00: 30.00", "promotional 40.00: 40.00"]
            )
            let owed = try await server.column(
                "SELECT round(sum(amount), 2)::text FROM credit_grant WHERE kind = 'prepaid'"
            )
            #expect(owed == ["35.70"])
            // What is used after all is paid by the same credit again.
            try await server.ingest(Self.seconds("4", 20))
            try await server.closeInvoices(at: "2026-12-05T00:00:00Z")
            #expect(try await Self.last(server).sums == "0.00 0.00 0.00 0.00")
            #expect(try await Self.credits(server).first == "promotional 30.00: 10.00")
        }
    }

    @Test func `credit that comes back pays at once for what else the invoice charges`() async throws {
        try await Self.run { server in
            _ = try await server.grant(#"{"name":"Gift","kind":"promotional","amount":"50"}"#)
            try server.set("2026-11-21T00:00:00Z")
            try await server.ingest(Self.seconds("1", 50))
            try await server.closeInvoices(at: "2026-12-01T00:00:00Z")
            _ = try await server.void("1")
            try server.set("2026-12-20T00:00:00Z")
            try await server.ingest(SentEvent("2", data: #"{"seconds":20}"#))
            try await server.closeInvoices(at: "2027-01-01T00:00:00Z")
            #expect(try await Self.last(server).sums == "0.00 0.00 0.00 0.00")
            #expect(try await Self.credits(server) == ["promotional 50.00: 30.00"])
        }
    }

    @Test func `credit that has expired gets its part back and stays expired`() async throws {
        try await Self.run { server in
            let body = #"{"name":"Gift","kind":"promotional","amount":"50","expires_at":"2026-12-15T00:00:00Z"}"#
            let grant = try await server.grant(body)
            try server.set("2026-11-21T00:00:00Z")
            try await server.ingest(Self.seconds("1", 50))
            try await server.closeInvoices(at: "2026-12-01T00:00:00Z")
            _ = try await server.void("1")
            try server.set("2026-12-20T00:00:00Z")
            try await server.ingest(SentEvent("2", data: #"{"seconds":20}"#))
            try await server.closeInvoices(at: "2027-01-01T00:00:00Z")
            #expect(try await Self.last(server).sums == "23.80 23.80 0.00 3.80")
            #expect(try await Self.credits(server) == ["promotional 50.00: 50.00"])
            let shown = try await server.ask("GET", "/tenants/acme/credit-grants/\(grant)")
            #expect(shown["status"]?.string == "expired" && shown["remaining"]?.string == "0.00")
        }
    }

    @Test func `an adjustment that is voided takes the credit again, unless it is spent, and is made again`()
        async throws
    {
        try await Self.run { server in
            _ = try await server.grant(#"{"name":"Gift","kind":"promotional","amount":"50"}"#)
            try await Self.end(server)
            try server.set("2026-11-21T00:00:00Z")
            try await server.ingest(Self.seconds("1", 50))
            try await server.closeInvoices(at: "2026-12-01T00:00:00Z")
            let first = try await Self.last(server).id
            _ = try await server.void("1")
            try await server.closeInvoices(at: "2026-12-02T00:00:00Z")
            let adjustment = try await Self.last(server).id
            // The invoice that used the credit stays while a later one has given it back.
            let refused = try await server.operatorClient.post("/api/v1/invoices/\(first)/void", #"{"reissue":true}"#)
            #expect(refused.status == 409 && refused.code == "credit_returned", "\(refused.text)")
            #expect(try await Self.credits(server) == ["promotional 50.00: 50.00"])
            try await server.ask("POST", "/invoices/\(adjustment)/void")
            #expect(try await Self.credits(server) == ["promotional 50.00: 0.00"])
            try await server.closeInvoices(at: "2026-12-03T00:00:00Z")
            #expect(try await Self.credits(server) == ["promotional 50.00: 50.00"])
            let again = try await Self.last(server).id
            #expect(again != adjustment)
            try await server.ingest(Self.seconds("3", 10))
            try await server.close(graceHours: 24)
            let pending = try await server.operatorClient.post("/api/v1/invoices/\(adjustment)/reissue")
            #expect(pending.status == 409 && pending.code == "adjustment_drafted", "\(pending.text)")
            _ = try await server.void("3")
            try await server.ingest(Self.seconds("2", 10))
            try await server.closeInvoices(at: "2026-12-04T00:00:00Z")
            let spent = try await server.operatorClient.post("/api/v1/invoices/\(again)/void")
            #expect(spent.status == 409 && spent.code == "credit_spent", "\(spent.text)")
            #expect(try await Self.credits(server) == ["promotional 50.00: 40.00"])
        }
    }

    @Test func `what is taken back takes back the tax it had, whatever the rates are now`() async throws {
        for billing in [#"{"tax":{"rates":[{"key":"gst","name":"GST","percent":"5"}]}}"#, "null"] {
            try await Self.run { server in
                try await Self.end(server)
                try server.set("2026-11-21T00:00:00Z")
                try await server.ingest(Self.seconds("1", 60), Self.seconds("2", 40))
                try await server.closeInvoices(at: "2026-12-01T00:00:00Z")
                #expect(try await Self.last(server).sums == "119.00 119.00 0.00 19.00")
                try await server.ask("PATCH", "/tenants/acme", #"{"billing":\#(billing)}"#)
                _ = try await server.void("2")
                try await server.closeInvoices(at: "2026-12-02T00:00:00Z")
                let invoice = try await Self.last(server)
                #expect(invoice.sums == "0.00 0.00 47.60 -7.60")
                let tax = try #require(invoice.body["taxes"]?.elements?.last)
                #expect(tax["key"]?.string == "vat" && tax["name"]?.string == "VAT")
                #expect(tax["percent"]?.string == "19" && tax["amount"]?.string == "-7.60")
                let page = try await server.operatorClient.get("/api/v1/invoices/\(invoice.id).html").text
                #expect(page.contains("VAT 19 %"))
                let explained = try await server.ask("GET", "/invoices/\(invoice.id)/explain")["lines"]?[0]?["text"]
                let text = "VAT 19 %, as it was charged before: -7.60 USD."
                #expect(explained?.elements?.last?.string == text, "\(explained?.text ?? "")")
            }
        }
    }

    @Test func `credit notes, adjustments finalised at once and a shared credit keep it whole`() async throws {
        try await Self.run { server in
            _ = try await server.grant(#"{"name":"Gift","kind":"promotional","amount":"60"}"#)
            try server.set("2026-11-21T00:00:00Z")
            try await server.ingest(Self.seconds("1", 50), Self.seconds("2", 50))
            try await server.closeInvoices(at: "2026-12-01T00:00:00Z")
            let invoice = try await Self.last(server)
            #expect(invoice.sums == "47.60 47.60 0.00 7.60")
            // A credit note takes back money only: the part that promotional credit paid is none of it.
            let note = #"{"amount":"47.60","reason":"Sorry"}"#
            try await server.ask("POST", "/invoices/\(invoice.id)/credit-notes", note, expecting: 201)
            let more = try await server.operatorClient.post(
                "/api/v1/invoices/\(invoice.id)/credit-notes",
                #"{"amount":"0.01","reason":"More"}"#
            )
            #expect(more.code == "credit_exceeds_invoice")
            _ = try await server.void("1")
            try server.set("2027-01-01T00:00:00Z")
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<4 { group.addTask { try await server.close() } }
                try await group.waitForAll()
            }
            // Half of the usage gives half of the credit back. Its money went back with the credit note.
            #expect(try await Self.credits(server) == ["promotional 60.00: 30.00"])
            let adjusted = try #require(try await Self.last(server).body["lines"]?.elements?.last)
            #expect(
                adjusted["promotional_credit"]?.string == "-30.00" && adjusted["credited_before"]?.string == "-20.00"
            )
        }
    }
}

extension TestServer {
    /// What `verify` finds in invoices and credits, of one tenant where one is named.
    func invoiceDifferences(of tenant: TenantID? = nil) async throws -> [String] {
        try await withPool { pool in
            var found: [String] = []
            try await InvoiceVerification(pool: pool, clock: clock.clock).run(
                tenant: tenant,
                difference: { found.append($0.description) }
            )
            return found
        }
    }
}
