import TestSupport
import Testing
import Usage
import Web

@testable import Invoicing

/// Seconds at 1 each with 19 % tax: what was given back once is not given back again, and as it was charged.
@Suite(.timeLimit(.minutes(15)))
struct TakenBackOnceTests {
    private static func rates(inclusive: Bool) -> String {
        #"{"tax":{"rates":[{"key":"vat","name":"VAT","percent":"19"}],"inclusive":\#(inclusive)}}"#
    }

    /// 100 seconds of November, in two events, invoiced and paid.
    private static func run(_ body: (TestServer, _ invoice: String) async throws -> Void) async throws {
        let plan = #"{"charges":[{"feature":"seconds","price":{"model":"per_unit","unit_amount":"1"}}]}"#
        try await ClosingStory.run(plan: plan) { server in
            try await server.ask("PATCH", "/tenants/acme", #"{"billing":\#(rates(inclusive: false))}"#)
            try server.set("2026-11-21T00:00:00Z")
            for (id, count) in [("1", 60), ("2", 40)] {
                let time = "2026-11-20T00:00:00Z"
                try await server.ingest(SentEvent(id, time: time, data: #"{"seconds":\#(count)}"#))
            }
            try await server.close()
            try server.set("2026-12-01T00:00:00Z")
            try await server.close()
            let page = try await server.ask("GET", "/invoices?kind=regular")
            let id = try #require(page["data"]?[0]?["id"]?.string)
            try await server.ask("POST", "/invoices/\(id)/pay")
            try await body(server, id)
        }
    }

    private static func note(_ server: TestServer, _ invoice: String, _ amount: String) async throws -> TestResponse {
        try await server.operatorClient.post(
            "/api/v1/invoices/\(invoice)/credit-notes",
            #"{"amount":"\#(amount)","reason":"Sorry"}"#
        )
    }

    @Test func `a credit note takes back nothing that an adjustment gave back before`() async throws {
        try await Self.run { server, id in
            _ = try await server.void("1")
            try server.set("2027-01-01T00:00:00Z")
            try await server.close()
            // 60 seconds and their tax came back; of 119.00 there are 47.60 left.
            let refused = try await Self.note(server, id, "119")
            #expect(refused.status == 422 && refused.code == "credit_exceeds_invoice", "\(refused.text)")
            #expect(try await Self.note(server, id, "47.61").code == "credit_exceeds_invoice")
            let note = try await Self.note(server, id, "47.60").expecting(201)
            #expect(note.json["tax"]?.string == "7.60")
            #expect(try await Self.note(server, id, "0.01").code == "credit_exceeds_invoice")
        }
    }

    @Test func `usage that came late and was taken back leaves the invoice before it whole`() async throws {
        try await Self.run { server, id in
            let late = SentEvent("3", time: "2026-11-20T00:00:00Z", data: #"{"seconds":50}"#)
            try await server.ingest(late)
            try server.set("2027-01-01T00:00:00Z")
            try await server.close()
            _ = try await server.void("3")
            try server.set("2027-02-01T00:00:00Z")
            try await server.close()
            try await Self.note(server, id, "119").expecting(201)
        }
    }

    @Test func `whether prices contain tax stays while an invoice with tax stands`() async throws {
        try await Self.run { server, _ in
            let body = #"{"billing":\#(Self.rates(inclusive: true))}"#
            let refused = try await server.operatorClient.patch("/api/v1/tenants/acme", body)
            #expect(refused.status == 409 && refused.code == "tax_inclusion_in_use", "\(refused.text)")
            #expect(refused.text.contains("INV-0000000"))
            // What else there is of billing changes as before, and without billing prices contain no tax either.
            let terms = #"{"billing":{"tax":{"rates":[]},"payment_terms_days":3}}"#
            try await server.ask("PATCH", "/tenants/acme", terms)
            try await server.ask("PATCH", "/tenants/acme", #"{"billing":null}"#)
        }
    }

    @Test func `a rate's percentage stays while an invoice that was taxed by it stands`() async throws {
        let plan = #"{"fees":[{"key":"base","name":"Base","amount":"10","charged":"in_advance"}]}"#
        func body(_ rates: String) -> String { #"{"billing":{"tax":{"rates":[\#(rates)]}}}"# }
        try await ClosingStory.run(plan: plan) { server in
            try await server.ask("PATCH", "/tenants/acme", body(#"{"key":"vat","name":"VAT","percent":"19"}"#))
            try await server.close()
            let raised = #"{"key":"vat","name":"VAT","percent":"20"}"#
            let refused = try await server.operatorClient.patch("/api/v1/tenants/acme", body(raised))
            #expect(refused.status == 409 && refused.code == "tax_rate_in_use", "\(refused.text)")
            #expect(refused.text.contains("INV-0000000") && refused.text.contains("'vat'"))
            // Nor by way of no rate at all; another key, another name and the same percentage are free.
            try await server.ask("PATCH", "/tenants/acme", #"{"billing":null}"#)
            try await server.ask("PATCH", "/tenants/acme", body(raised), expecting: 409)
            let renamed = #"{"key":"vat","name":"Value added tax","percent":"19.0"}"#
            try await server.ask("PATCH", "/tenants/acme", body(renamed))
            try await server.ask("PATCH", "/tenants/acme", body(raised.replacing("vat", with: "vat-20")))
            let id = try await server.ask("GET", "/invoices")["data"]?[0]?["id"]?.string ?? ""
            try await server.ask("POST", "/invoices/\(id)/void")
            try await server.ask("PATCH", "/tenants/acme", body(raised))
        }
    }

    @Test func `prices that contain tax do so until their invoices are void`() async throws {
        let plan = #"{"fees":[{"key":"base","name":"Base","amount":"10","charged":"in_advance"}]}"#
        try await ClosingStory.run(plan: plan) { server in
            try await server.ask("PATCH", "/tenants/acme", #"{"billing":\#(Self.rates(inclusive: true))}"#)
            try await server.close()
            let refused = try await server.operatorClient.patch("/api/v1/tenants/acme", #"{"billing":null}"#)
            #expect(refused.status == 409 && refused.code == "tax_inclusion_in_use", "\(refused.text)")
            let id = try await server.ask("GET", "/invoices")["data"]?[0]?["id"]?.string ?? ""
            try await server.ask("POST", "/invoices/\(id)/void")
            try await server.ask("PATCH", "/tenants/acme", #"{"billing":null}"#)
        }
    }
}
