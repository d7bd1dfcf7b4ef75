import BillingCore
import Postgres
import TestSupport
import Testing
import Web

@testable import Invoicing

/// What becomes of an invoice over HTTP: read, finalised, voided, reissued, paid; and that what it says stays.
@Suite(.timeLimit(.minutes(15)))
struct InvoiceLifeTests {
    private static func ids(_ server: TestServer, _ query: String = "") async throws -> [String] {
        let page = try await server.ask("GET", "/invoices\(query)")
        return (page["data"]?.elements ?? []).compactMap { $0["id"]?.string }
    }

    @Test func `a finalised invoice's bytes never change, whatever comes later`() async throws {
        try await ClosingStory.run { server in
            try await server.ingest(SentEvent("1", data: #"{"seconds":7}"#))
            try server.set("2026-12-01T00:00:00Z")
            try await server.close()
            let ids = try await Self.ids(server)
            #expect(ids.count == 2)
            var before: [String] = []
            for id in ids { before.append(try await server.ask("GET", "/invoices/\(id)").text) }
            // Late usage and a void, another tenant name, other taxes, a feature renamed, new versions of the plan.
            try await server.ingest(SentEvent("2", time: "2026-11-20T00:00:00Z", data: #"{"seconds":4}"#))
            _ = try await server.void("1")
            let billing = #"{"tax":{"rates":[{"key":"vat","name":"VAT","percent":"19"}]},"payment_terms_days":1}"#
            try await server.ask("PATCH", "/tenants/acme", #"{"name":"Renamed","billing":\#(billing)}"#)
            try await server.ask("PATCH", "/features/seconds", #"{"name":"Renamed"}"#)
            try await server.publish(#"{"fees":[{"key":"base","name":"Other","amount":"99","charged":"in_advance"}]}"#)
            for (id, text) in zip(ids, before) {
                #expect(try await server.ask("GET", "/invoices/\(id)").text == text)
            }
            try server.set("2027-01-01T00:00:00Z")
            try await server.close()
            for (id, text) in zip(ids, before) {
                let now = try await server.ask("GET", "/invoices/\(id)").text
                // It is overdue by now, which is no part of what it says.
                #expect(now.replacing(#""overdue":true"#, with: #""overdue":false"#) == text)
            }
        }
    }

    @Test func `a draft is computed when it is read and says the same when it is finalised`() async throws {
        try await ClosingStory.run { server in
            try await server.ingest(SentEvent("1", data: #"{"seconds":7}"#))
            try server.set("2026-12-01T00:00:00Z")
            try await server.close(graceHours: 744)
            let opening = try #require(try await Self.ids(server, "?status=draft&kind=opening").first)
            let regular = try #require(try await Self.ids(server, "?status=draft&kind=regular").first)
            let draft = try await server.ask("GET", "/invoices/\(regular)")
            #expect(draft["total"]?.string == "20.00" && draft["number"]?.isNull == true)
            try await server.ask("POST", "/invoices/\(regular)/finalize", expecting: 409)
            try await server.ask("POST", "/invoices/\(opening)/finalize")
            let final = try await server.ask("POST", "/invoices/\(regular)/finalize")
            #expect(final["lines"] == draft["lines"])
            #expect(final["number"]?.string == "INV-00000002")
            #expect(final["due_at"]?.string == "2026-12-31T00:00:00.000000Z")
            try await server.ask("POST", "/invoices/\(regular)/finalize", expecting: 409)
            let paid = try await server.ask("POST", "/invoices/\(regular)/pay")
            #expect(paid["status"]?.string == "paid" && paid["amount_outstanding"]?.string == "0.00")
            let void = try await server.operatorClient.post("/api/v1/invoices/\(regular)/void")
            #expect(void.status == 409 && void.code == "invoice_paid")
        }
    }

    @Test func `a draft that is voided has neither number nor hash`() async throws {
        try await ClosingStory.run { server in
            try await server.close(graceHours: 24)
            let id = try #require(try await Self.ids(server).first)
            let voided = try await server.ask("POST", "/invoices/\(id)/void")
            #expect(voided["status"]?.string == "void")
            #expect(voided["number"]?.isNull == true && voided["content_hash"]?.isNull == true)
        }
    }

    @Test func `a voided invoice keeps its number, gives credit back, and its reissue takes a new number`() async throws
    {
        try await ClosingStory.run { server in
            let gift = #"{"kind":"promotional","name":"gift","amount":"4"}"#
            try await server.ask("POST", "/tenants/acme/credit-grants", gift, expecting: 201)
            try await server.close()
            let id = try #require(try await Self.ids(server).first)
            #expect(try await server.ask("GET", "/invoices/\(id)")["total"]?.string == "6.00")
            let voided = try await server.ask("POST", "/invoices/\(id)/void")
            #expect(voided["status"]?.string == "void" && voided["number"]?.string == "INV-00000001")
            #expect(try await server.column("SELECT round(remaining, 2)::text FROM credit_grant") == ["4.00"])
            let page = try await server.operatorClient.get("/api/v1/invoices/\(id).html").expecting(200).text
            #expect(page.contains("Voided") && page.contains("Void: amount due") && !page.contains("Due date"))
            let draft = try await server.ask("POST", "/invoices/\(id)/reissue", expecting: 201)
            #expect(draft["reissue_of"]?.string == id)
            try await server.ask("POST", "/invoices/\(id)/reissue", expecting: 409)
            let again = draft["id"]?.string ?? ""
            let final = try await server.ask("POST", "/invoices/\(again)/finalize")
            #expect(final["number"]?.string == "INV-00000002" && final["total"]?.string == "6.00")
            // The fee was charged once: the next regular invoice says nothing of it.
            try server.set("2026-12-01T00:00:00Z")
            try await server.close()
            #expect(
                try await server.invoices().last
                    == "regular 0 finalized 13.00: fee care 3.00, fee base 10.00, usage seconds 0.00"
            )
        }
    }

    @Test func `a fee in advance counts once, however often its invoice was voided and issued again`() async throws {
        try await ClosingStory.run { server in
            try await server.close()
            let id = try #require(try await Self.ids(server).first)
            try await server.ask("POST", "/invoices/\(id)/void")
            let draft = try await server.ask("POST", "/invoices/\(id)/reissue", expecting: 201)
            let again = draft["id"]?.string ?? ""
            try await server.ask("POST", "/invoices/\(again)/finalize")
            try await server.ask("POST", "/invoices/\(again)/void")
            try server.set("2026-12-01T00:00:00Z")
            try await server.close()
            #expect(
                try await server.invoices().last
                    == "regular 0 finalized 13.00: fee care 3.00, fee base 10.00, usage seconds 0.00"
            )
        }
    }

    @Test func `a voided adjustment that gave a fee in advance back is issued again`() async throws {
        try await ClosingStory.run { server in
            try server.set("2026-12-01T00:00:00Z")
            try await server.close()
            let subscription = try await server.ask("GET", "/subscriptions")["data"]?[0]?["id"]?.string ?? ""
            try await server.ask("POST", "/subscriptions/\(subscription)/cancel", #"{"at":"2026-12-01T00:00:00Z"}"#)
            try await server.close()
            let adjustment = "adjustment 1 paid 0.00: adjustment base -10.00"
            #expect(try await server.invoices().last == adjustment)
            let id = try #require(try await Self.ids(server, "?kind=adjustment").first)
            try await server.ask("POST", "/invoices/\(id)/void")
            try await server.close()
            #expect(try await server.invoices().last?.contains("void") == true)
            let draft = try await server.ask("POST", "/invoices/\(id)/reissue", expecting: 201)
            #expect(draft["reissue_of"]?.string == id)
            try await server.ask("POST", "/invoices/\(id)/reissue", expecting: 409)
            try await server.ask("POST", "/invoices/\(draft["id"]?.string ?? "")/finalize")
            #expect(try await server.invoices().last == adjustment)
            let owed = try await server.column(
                "SELECT round(remaining, 2)::text FROM credit_grant WHERE voided_at IS NULL"
            )
            #expect(owed == ["10.00"])
            // Once it stands there is nothing left to give back.
            let twice = try await server.operatorClient.post("/api/v1/invoices/\(id)/reissue")
            #expect(twice.code == "invoice_reissued")
            #expect(try await server.invoiceDifferences() == [])
        }
    }

    @Test func `a fee on a voided invoice is left to its reissue: nothing of it is given back before`() async throws {
        try await ClosingStory.run { server in
            try await server.close()
            let opening = try #require(try await Self.ids(server).first)
            try await server.ask("POST", "/invoices/\(opening)/void")
            let id = try await server.ask("GET", "/subscriptions")["data"]?[0]?["id"]?.string ?? ""
            try await server.ask("POST", "/subscriptions/\(id)/cancel", #"{"at":"2026-11-16T00:00:00Z"}"#)
            try server.set("2026-11-16T00:00:00Z")
            try await server.close()
            #expect(try await server.invoices().last == "regular 0 finalized 1.50: fee care 1.50, usage seconds 0.00")
            let draft = try await server.ask("POST", "/invoices/\(opening)/reissue", expecting: 201)
            try await server.ask("POST", "/invoices/\(draft["id"]?.string ?? "")/finalize")
            #expect(try await server.invoices().last == "opening 0 finalized 5.00: fee base 5.00")
            #expect(try await server.invoiceDifferences() == [])
        }
    }

    @Test func `an invoice whose credit was spent stays, also when the rest of that credit is void`() async throws {
        try await ClosingStory.run { server in
            try server.set("2026-11-20T00:00:00Z")
            try await server.ingest(SentEvent("1", data: #"{"seconds":50}"#))
            try server.set("2026-12-01T00:00:00Z")
            try await server.close()
            try await server.ask("POST", "/events/void", #"{"source":"gw","id":"1","tenant":"acme"}"#)
            for time in ["2027-01-01T00:00:00Z", "2027-02-01T00:00:00Z"] {
                try server.set(time)
                try await server.close()
            }
            #expect(try await server.column("SELECT round(remaining, 2)::text FROM credit_grant") == ["24.00"])
            let grants = try await server.ask("GET", "/tenants/acme/credit-grants")
            let grant = try #require(grants["data"]?.elements?.first?["id"]?.string)
            try await server.ask("POST", "/tenants/acme/credit-grants/\(grant)/void")
            let invoices = try await server.column(
                "SELECT invoice_id::text FROM invoice WHERE kind = 'regular' AND period_index = 1"
            )
            let id = try #require(invoices.first ?? nil)
            let refused = try await server.operatorClient.post("/api/v1/invoices/\(id)/void")
            #expect(refused.status == 409 && refused.code == "credit_spent", "\(refused.text)")
        }
    }

    @Test func `a voided regular invoice opens its period, and usage that comes then is on the reissue`() async throws {
        try await ClosingStory.run { server in
            try server.set("2026-12-01T00:00:00Z")
            try await server.close()
            let id = try #require(try await Self.ids(server, "?kind=regular").first)
            try await server.ask("POST", "/invoices/\(id)/void")
            try await server.ingest(SentEvent("1", time: "2026-11-20T00:00:00Z", data: #"{"seconds":4}"#))
            let draft = try await server.ask("POST", "/invoices/\(id)/reissue", expecting: 201)
            let final = try await server.ask("POST", "/invoices/\(draft["id"]?.string ?? "")/finalize")
            #expect(final["total"]?.string == "17.00")
            try server.set("2027-01-01T00:00:00Z")
            try await server.close()
            #expect(
                try await server.invoices().last
                    == "regular 1 finalized 13.00: fee care 3.00, fee base 10.00, usage seconds 0.00"
            )
        }
    }

    @Test func `the last period of an ended subscription whose invoice was voided is charged by its reissue only`()
        async throws
    {
        try await ClosingStory.run { server in
            try await server.endInSecondPeriod()
            let before = try #require(try await server.invoices().last)
            let id = try #require(try await Self.ids(server, "?kind=regular").last)
            try await server.ask("POST", "/invoices/\(id)/void")
            try await server.ingest(
                SentEvent("late", time: "2026-11-20T00:00:00Z", data: #"{"seconds":4}"#),
                SentEvent("later", time: "2026-12-10T00:00:00Z", data: #"{"seconds":2}"#)
            )
            try await server.close()
            #expect(try await server.invoices().last == "adjustment 0 finalized 4.00: adjustment seconds 4.00")
            let draft = try await server.ask("POST", "/invoices/\(id)/reissue", expecting: 201)
            try await server.ask("POST", "/invoices/\(draft["id"]?.string ?? "")/finalize")
            let after = try #require(try await server.invoices().last)
            #expect(before.contains("usage seconds 5.00"), "\(before)")
            #expect(
                after.split(separator: ":").last?.description
                    == before.replacing("usage seconds 5.00", with: "usage seconds 7.00")
                    .split(separator: ":").last?.description,
                "\(before) \(after)"
            )
            try await server.close()
            #expect(try await server.invoices().count == 5)
        }
    }

    @Test func `an unpaid invoice is overdue after its term, and may be given up and paid after all`() async throws {
        try await ClosingStory.run { server in
            try await server.close()
            let id = try #require(try await Self.ids(server).first)
            #expect(try await server.ask("GET", "/invoices/\(id)")["overdue"]?.bool == false)
            try server.set("2026-12-01T00:00:01Z")
            #expect(try await server.ask("GET", "/invoices/\(id)")["overdue"]?.bool == true)
            #expect(try await Self.ids(server, "?overdue=true&kind=opening") == [id])
            let given = try await server.ask("POST", "/invoices/\(id)/mark-uncollectible")
            #expect(given["status"]?.string == "uncollectible" && given["overdue"]?.bool == false)
            #expect(try await server.ask("POST", "/invoices/\(id)/pay")["status"]?.string == "paid")
            let stale = try await server.operatorClient.post(
                "/api/v1/invoices/\(id)/void",
                headers: ["If-Match": "\"1\""]
            )
            #expect(stale.status == 412)
            let actions = try await server.column(
                "SELECT action FROM audit_log WHERE resource_type = 'invoice' ORDER BY occurred_at, action"
            )
            #expect(actions == ["invoice.finalized", "invoice.marked_uncollectible", "invoice.paid"])
        }
    }
}
