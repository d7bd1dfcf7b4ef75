import Postgres
import TestSupport
import Testing
import Usage
import Web

@testable import Invoicing

/// Regular invoices made anew, and adjustments made, while the invoices of later periods are final or void.
@Suite(.timeLimit(.minutes(15)))
struct ReissueOrderTests {
    private static let plan = """
        {"fees":[{"key":"base","name":"Base","amount":"20","charged":"in_advance"}],
         "charges":[{"feature":"seconds","price":{"model":"per_unit","unit_amount":"1"}}]}
        """

    private static func regular(_ server: TestServer, _ index: Int) async throws -> String {
        let found = try await server.column(
            """
            SELECT invoice_id::text FROM invoice
            WHERE kind = 'regular' AND period_index = \(Int32(index)) ORDER BY created_at DESC LIMIT 1
            """
        )
        return try #require(found.first ?? nil)
    }

    /// What invoices that stand charge for the fee of December, and for its usage.
    private static func december(_ server: TestServer) async throws -> [String?] {
        try await server.column(
            """
            SELECT item_key || ' ' || round(sum(amount), 2)
            FROM invoice_line JOIN invoice USING (tenant_id, invoice_id)
            WHERE line_number > 0 AND invoice_line.period_index = 1 AND status <> 'void'
            GROUP BY item_key ORDER BY item_key
            """
        )
    }

    /// November and December are invoiced, late usage of December comes, and November's invoice is made anew.
    private static func reissueBeforeLate(
        gift: String? = nil,
        _ body: (TestServer) async throws -> Void
    ) async throws {
        try await ClosingStory.run(plan: plan) { server in
            try await server.close()
            if let gift {
                _ = try await server.grant(#"{"name":"Gift","kind":"promotional","amount":"\#(gift)"}"#)
            }
            for end in ["2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"] {
                try server.set(end)
                try await server.close()
            }
            let late = SentEvent("late", time: "2026-12-20T00:00:00Z", data: #"{"seconds":4}"#)
            try await server.ingest(late)
            let first = try await Self.regular(server, 0)
            let draft = try await server.ask("POST", "/invoices/\(first)/void", #"{"reissue":true}"#, expecting: 201)
            try await server.ask("POST", "/invoices/\(draft["id"]?.string ?? "")/finalize")
            try await body(server)
            #expect(try await server.invoiceDifferences() == [])
        }
    }

    @Test func `an invoice made anew leaves a later period that is late to a later invoice`() async throws {
        try await Self.reissueBeforeLate { server in
            #expect(try await Self.december(server) == ["base 20.00", "seconds 0.00"])
            try server.set("2027-02-01T00:00:00Z")
            try await server.close()
            #expect(try await Self.december(server) == ["base 20.00", "seconds 4.00"])
            #expect(try await server.invoices().last?.contains("adjustment seconds 4.00") == true)
        }
    }

    @Test func `of drafts that are due the earlier period's is final first, whenever each was drafted`() async throws {
        try await ClosingStory.run { server in
            try server.set("2026-12-01T00:00:00Z")
            try await server.close()
            try server.set("2027-01-01T00:00:00Z")
            try await server.close(graceHours: 24)
            let first = try await Self.regular(server, 0)
            server.clock.advance(seconds: 60)
            let body = #"{"reissue":true}"#
            let again =
                try await server.ask("POST", "/invoices/\(first)/void", body, expecting: 201)["id"]?.string ?? ""
            let later = try await Self.regular(server, 1)
            try server.set("2027-01-03T00:00:00Z")
            try await server.close()
            var numbers: [String] = []
            for id in [again, later] {
                numbers.append(try await server.ask("GET", "/invoices/\(id)")["number"]?.string ?? "?")
            }
            #expect(numbers == ["INV-00000003", "INV-00000004"])
            #expect(try await server.invoiceDifferences() == [])
        }
    }

    @Test func `promotional credit pays for such a period once`() async throws {
        try await Self.reissueBeforeLate(gift: "100") { server in
            let remaining: SQL = "SELECT round(remaining, 2)::text FROM credit_grant"
            // The fees of December and January.
            #expect(try await server.column(remaining) == ["60.00"])
            _ = try await server.void("late")
            try server.set("2027-02-01T00:00:00Z")
            try await server.close()
            #expect(try await Self.december(server) == ["base 20.00", "seconds 0.00"])
            #expect(try await server.column(remaining) == ["40.00"])
        }
    }

    @Test func `a period whose draft was voided is charged with its reissue, not by an adjustment`() async throws {
        try await ClosingStory.run { server in
            try await server.ingest(SentEvent("november", data: #"{"seconds":7}"#))
            try server.set("2026-12-05T00:00:00Z")
            try await server.close()
            try await server.ingest(SentEvent("december", data: #"{"seconds":5}"#))
            let id = try await server.ask("GET", "/subscriptions")["data"]?[0]?["id"]?.string ?? ""
            try await server.ask("POST", "/subscriptions/\(id)/cancel", #"{"at":"2026-12-16T00:00:00Z"}"#)
            try server.set("2026-12-16T00:00:00Z")
            try await server.close(graceHours: 24)
            let draft = try await Self.regular(server, 1)
            #expect(try await server.ask("POST", "/invoices/\(draft)/void")["status"]?.string == "void")
            let late = SentEvent("late", time: "2026-11-20T00:00:00Z", data: #"{"seconds":4}"#)
            try await server.ingest(late)
            try await server.close()
            let adjustment = "adjustment 0 finalized 4.00: adjustment seconds 4.00"
            let all = try await server.invoices()
            #expect(all.contains(adjustment), "\(all)")
            let again = try await server.ask("POST", "/invoices/\(draft)/reissue", expecting: 201)
            try await server.ask("POST", "/invoices/\(again["id"]?.string ?? "")/finalize")
            let last = try await server.invoices().first { $0.hasPrefix("regular 1 ") && $0.contains(":") }
            #expect(last?.contains("usage seconds 5.00") == true, "\(last ?? "")")
            #expect(try await server.invoiceDifferences() == [])
        }
    }

    @Test func `a draft waits for the invoice of an earlier period, and not for an adjustment`() async throws {
        try await ClosingStory.run { server in
            try await server.endInSecondPeriod()
            try await server.ingest(SentEvent("late", time: "2026-11-20T00:00:00Z", data: #"{"seconds":4}"#))
            try await server.close(graceHours: 24)
            var drafts: [String] = []
            for index in [0, 1] {
                let id = try await Self.regular(server, index)
                let draft = try await server.ask("POST", "/invoices/\(id)/void", #"{"reissue":true}"#, expecting: 201)
                drafts.append(draft["id"]?.string ?? "")
            }
            let early = try await server.operatorClient.post("/api/v1/invoices/\(drafts[1])/finalize")
            #expect(early.code == "earlier_invoice_open")
            for draft in drafts { try await server.ask("POST", "/invoices/\(draft)/finalize") }
            server.clock.advance(seconds: 86_400)
            try await server.close()
            let last = [
                "regular 0 finalized 14.00: fee care 3.00, usage seconds 11.00",
                "regular 1 finalized 11.29: fee care 1.45, fee base 4.84, usage seconds 5.00",
                "adjustment 0 void",
            ]
            let found = Array(try await server.invoices().suffix(3))
            #expect(found == last)
            #expect(try await server.invoiceDifferences() == [])
        }
    }

    @Test func `of a draft and an adjustment the first to be final has the late usage`() async throws {
        try await ClosingStory.run { server in
            try await server.endInSecondPeriod()
            try await server.ingest(SentEvent("late", time: "2026-11-20T00:00:00Z", data: #"{"seconds":4}"#))
            try await server.close(graceHours: 24)
            let id = try await Self.regular(server, 1)
            let draft = try await server.ask("POST", "/invoices/\(id)/void", #"{"reissue":true}"#, expecting: 201)
            try await server.ask("POST", "/invoices/\(draft["id"]?.string ?? "")/finalize")
            server.clock.advance(seconds: 86_400)
            try await server.close()
            let last = [
                "regular 1 finalized 5.29: fee care 1.45, usage seconds 5.00, adjustment base -5.16, "
                    + "adjustment seconds 4.00",
                "adjustment 0 void",
            ]
            let found = Array(try await server.invoices().suffix(2))
            #expect(found == last)
            #expect(try await server.invoiceDifferences() == [])
        }
    }

    @Test func `of two subscriptions that follow each other the earlier period's invoice is final first`() async throws
    {
        try await ClosingStory.run { server in
            try await server.close()
            try await server.ingest(SentEvent("november", data: #"{"seconds":7}"#))
            try await server.endSubscription(at: "2026-12-01T00:00:00Z")
            try await server.subscribe(at: "2026-12-01T00:00:00Z")
            try await server.close()
            let last = [
                "regular 0 finalized 10.00: fee care 3.00, usage seconds 7.00",
                "opening 0 finalized 10.00: fee base 10.00",
            ]
            #expect(try await server.invoices().suffix(2) == last[...])
        }
    }

    @Test func `a voided adjustment is issued again once, and once more where that is void too`() async throws {
        try await ClosingStory.run { server in
            try await server.endInSecondPeriod()
            try await server.ingest(SentEvent("late", time: "2026-11-20T00:00:00Z", data: #"{"seconds":4}"#))
            try await server.close()
            var standing = try #require(
                try await server.column("SELECT invoice_id::text FROM invoice WHERE kind = 'adjustment'").first ?? nil
            )
            let first = standing
            for _ in 0..<2 {
                let path = "/invoices/\(standing)/void"
                let draft = try await server.ask("POST", path, #"{"reissue":true}"#, expecting: 201)
                standing = try #require(draft["id"]?.string)
                try await server.ask("POST", "/invoices/\(standing)/finalize")
                let again = try await server.operatorClient.post("/api/v1/invoices/\(first)/reissue")
                #expect(again.code == "invoice_reissued")
            }
            #expect(try await server.invoices().last == "adjustment 0 finalized 4.00: adjustment seconds 4.00")
            #expect(try await server.invoiceDifferences() == [])
        }
    }
}
