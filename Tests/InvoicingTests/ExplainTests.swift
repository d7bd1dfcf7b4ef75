import BillingCore
import TestSupport
import Testing
import Usage
import Web

@testable import Invoicing

/// The sentences of `explain`: each figure of a line follows from those before it.
@Suite(.timeLimit(.minutes(15)))
struct ExplainTests {
    private static func explained(_ server: TestServer, _ query: String, _ line: Int) async throws -> [String] {
        let id = try await server.ask("GET", "/invoices?\(query)")["data"]?[0]?["id"]?.string ?? ""
        let lines = try await server.ask("GET", "/invoices/\(id)/explain")["lines"]?.elements ?? []
        return (lines[line]["text"]?.elements ?? []).compactMap(\.string)
    }

    private static func tax(_ inclusive: Bool, _ server: TestServer) async throws {
        let rate = #"{"key":"vat","name":"VAT","percent":"19"}"#
        let billing = #"{"tax":{"inclusive":\#(inclusive),"rates":[\#(rate)]}}"#
        try await server.ask("PATCH", "/tenants/acme", #"{"billing":\#(billing)}"#)
    }

    @Test func `discount, credit and tax have their arithmetic`() async throws {
        try await ClosingStory.run { server in
            try await Self.tax(false, server)
            let discount = #"{"name":"Launch","percent":"10","duration":"forever"}"#
            try await server.ask("POST", "/tenants/acme/discounts", discount, expecting: 201)
            let gift = #"{"kind":"promotional","name":"gift","amount":"4"}"#
            try await server.ask("POST", "/tenants/acme/credit-grants", gift, expecting: 201)
            try await server.close()
            #expect(
                try await Self.explained(server, "kind=opening", 0) == [
                    "10 rounds to 10.00 USD.", "Discount Launch: 10 % of 10.00 USD, -1.00 USD.",
                    "Promotional credit, this line's share: -4.00 USD.", "Left: 10.00 - 1.00 - 4.00 = 5.00 USD.",
                    "VAT 19 %: 5.00 x 19/100 = 0.95 USD.",
                ]
            )
        }
    }

    @Test func `a part of a fee is told by its fraction, and what goes back by what was charged`() async throws {
        try await ClosingStory.run { server in
            try await Self.tax(true, server)
            try await server.ingest(SentEvent("1", data: #"{"seconds":1}"#))
            try await server.close()
            let id = try await server.ask("GET", "/subscriptions")["data"]?[0]?["id"]?.string ?? ""
            try await server.ask("POST", "/subscriptions/\(id)/cancel", #"{"at":"2026-11-21T00:00:00Z"}"#)
            try server.set("2026-11-21T00:00:00Z")
            try await server.close()
            #expect(
                try await Self.explained(server, "kind=regular", 0) == [
                    "3 for a whole period, of which 2/3 is charged: 3 x 2/3 = 2.",
                    "2 rounds to 2.00 USD.", "VAT 19 %, contained in the price: 2.00 x 19/119 = 0.32 USD.",
                ]
            )
            #expect(
                try await Self.explained(server, "kind=regular", 1).prefix(2) == [
                    "1 unit used in 1 event.", "Each unit: 1 x 1 = 1.",
                ]
            )
            let adjustment = try await Self.explained(server, "kind=regular", 2)
            #expect(
                adjustment.prefix(3) == [
                    "10 for a whole period, of which 2/3 is charged: 10 x 2/3 = 6.666666666666666666666666.",
                    "6.666666666666666666666666 rounds to 6.67 USD.",
                    "Earlier invoices charged 10.00 USD: 3.33 USD too much, which goes back.",
                ]
            )
            let number = try await server.ask("GET", "/invoices?kind=regular")["data"]?[0]?["id"]?.string ?? ""
            let page = try await server.operatorClient.get("/api/v1/invoices/\(number).html").expecting(200).text
            #expect(page.contains("Earlier invoices charged 10.00: 3.33 too much, which goes back"))
            #expect(try await server.invoiceDifferences() == [])
        }
    }

    @Test(arguments: [
        ("1", "event", "1 event"), ("3", "call", "3 calls"), ("1200", "token", "1,200 tokens"),
        ("0", "query", "0 queries"), ("2", "day", "2 days"), ("2", "batch", "2 batches"), ("3", "GB", "3 GB"),
        ("3", "seconds", "3 seconds"), ("1.5", "GPU-hour", "1.5 GPU-hours"), ("7", "", "7"), ("2", "%", "2 %"),
    ])
    func `units take the plural where they are words`(_ quantity: String, _ unit: String, _ expected: String) {
        #expect(InvoiceText.counted(quantity, unit) == expected)
    }
}
