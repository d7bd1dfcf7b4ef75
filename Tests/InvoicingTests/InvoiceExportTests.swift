import BillingCore
import Foundation
import TestSupport
import Testing
import Web

@testable import Invoicing

/// `GET /invoices/export`.
@Suite struct InvoiceExportTests {
    private static let later = TestClock()

    private static func csv(_ server: TestServer, _ query: String, as client: TestClient? = nil) async throws
        -> [[String]]
    {
        let answer = try await (client ?? server.operatorClient).get("/api/v1/invoices/export?\(query)").expecting(200)
        #expect(answer.header("Content-Type") == "text/csv; charset=utf-8; header=present")
        #expect(answer.header("Content-Disposition") == #"attachment; filename="invoices.csv""#)
        #expect(answer.header("Transfer-Encoding") == "chunked")
        return answer.text.split(separator: "\r\n").map { record in
            record.split(separator: ",", omittingEmptySubsequences: false).map { field in
                field.trimmingCharacters(in: ["\""])
            }
        }
    }

    private static func sum(_ column: String, _ records: [[String]]) throws -> String {
        let index = try #require(records.first?.firstIndex(of: column))
        let total = try records.dropFirst().reduce(FixedDecimal.zero) { sum, record in
            try sum.adding(FixedDecimal(parsing: record[index]))
        }
        return total.text(minimumFractionalDigits: 2)
    }

    private static func ndjson(_ server: TestServer, _ query: String) async throws -> [JSONValue] {
        let answer = try await server.operatorClient.get("/api/v1/invoices/export?format=ndjson&\(query)").expecting(
            200
        )
        #expect(answer.header("Content-Type") == "application/x-ndjson")
        return try answer.text.split(separator: "\n").map { try JSONValue(parsing: Array($0.utf8)) }
    }

    /// The clock stands after the last date of issue.
    private static func run(_ count: Int, _ body: (TestServer) async throws -> Void) async throws {
        let clock = TestClock()
        try await TestServer.run(clock: clock) { server in
            try await PinnedInvoices.arrange(server, count: count)
            clock.advance(seconds: 60 * 86_400)
            try await body(server)
        }
    }

    @Test func everyInvoiceIsThereOnceAcrossPages() async throws {
        try await Self.run(450) { server in
            let records = try await Self.csv(server, "format=csv")
            #expect(records.count == 1 + 2 * 450)
            let numbers = records.dropFirst().map { $0[1] + "/" + $0[11] }
            #expect(Set(numbers).count == 900)
            #expect(try Self.sum("total", records) == "5580.00")
            let invoices = try await Self.ndjson(server, "")
            #expect(Set(invoices.compactMap { $0["number"]?.string }).count == 450)
            let total = try invoices.reduce(FixedDecimal.zero) { sum, invoice in
                try sum.adding(FixedDecimal(parsing: invoice["total"]?.string ?? ""))
            }
            #expect(total.text(minimumFractionalDigits: 2) == "5580.00")
            #expect(invoices.first?["lines"]?[1]?["tiers"]?[0]?["amount"]?.string == "0.5")
        }
    }

    private static let pages: [([Int64], Int)] = [
        ([], 0), ([2, 3], 2), ([10_000, 0, 1], 2), ([9_999, 2], 1), ([50_000, 1], 1), ([1, 50_000], 1),
    ]

    @Test(arguments: pages)
    func aPageHasSoManyLinesUnlessOneInvoiceHasMore(_ lineCounts: [Int64], _ expected: Int) {
        #expect(InvoiceExport.invoicesOnPage(lineCounts: lineCounts) == expected)
    }

    @Test func filesByNumberGoOnFromEachOther() async throws {
        try await Self.run(250) { server in
            let all = try await Self.ndjson(server, "order=number")
            let numbers = all.compactMap { $0["number"]?.string }
            #expect(numbers.count == 250 && numbers == numbers.sorted())
            let last = all[119]["id"]?.string ?? ""
            #expect(try await Self.ndjson(server, "after=\(last)") == Array(all[120...]))
            #expect(try await Self.ndjson(server, "after=\(last)&tenant=beta").count == 65)
            // One whose date lies in the future, by a replica whose clock is ahead.
            server.clock.advance(seconds: -120 * 86_400)
            #expect(try await Self.ndjson(server, "after=\(last)").count == 130)
            let end = all[249]["id"]?.string ?? ""
            #expect(try await Self.ndjson(server, "order=number&after=\(end)").isEmpty)
            let portal = try await server.client([.invoicesRead], tenant: "acme")
            let beta = all.first { $0["tenant"]?.string == "beta" }?["id"]?.string ?? ""
            for (client, query, pointer) in [
                (server.operatorClient, "after=none", "?after"), (server.operatorClient, "order=date", "?order"),
                (server.operatorClient, "after=\(UUIDv7(high: 0x7000, low: 1 << 63))", "?after"),
                (portal, "after=\(beta)", "?after"),
                (server.operatorClient, "order=issued_at&after=\(last)", "?order"),
            ] {
                let refused = try await client.get("/api/v1/invoices/export?\(query)").expecting(400)
                #expect(refused.pointers == [pointer], "\(query)")
            }
        }
    }

    @Test func filtersNarrow() async throws {
        try await Self.run(10) { server in
            try await PinnedInvoices.insert(server, numbers: 11...12, status: "void")
            #expect(try await Self.csv(server, "tenant=beta").count == 1 + 2 * 6)
            #expect(try await Self.csv(server, "status=void").count == 1 + 2 * 2)
            let window = "from=2026-12-01T00:02:00Z&to=2026-12-01T00:05:00Z"
            #expect(
                try await Self.ndjson(server, window).compactMap { $0["number"]?.string } == [
                    "INV-000002", "INV-000003", "INV-000004",
                ]
            )
            let refused = try await server.operatorClient.get("/api/v1/invoices/export?format=xml")
            #expect(refused.status == 400)
            #expect(refused.pointers == ["?format"])
            let drafts = try await server.operatorClient.get(
                "/api/v1/invoices/export?status=draft&from=2026-12-02T00:00:00Z&to=2026-12-01T00:00:00Z"
            )
            #expect(drafts.status == 400 && drafts.pointers == ["?status", "?to"])
            let absent = try await server.operatorClient.get("/api/v1/invoices/export?tenant=none")
            #expect(absent.code == "tenant_not_found")
        }
    }

    @Test func aTenantExportsItsOwnOnly() async throws {
        try await Self.run(6) { server in
            let portal = try await server.client([.invoicesRead], tenant: "acme")
            let records = try await Self.csv(server, "", as: portal)
            #expect(records.count == 1 + 2 * 3)
            #expect(Set(records.dropFirst().map { $0[4] }) == ["acme"])
            let foreign = try await portal.get("/api/v1/invoices/export?tenant=beta")
            let absent = try await portal.get("/api/v1/invoices/export?tenant=none")
            #expect(foreign.status == 404)
            #expect(foreign.code == absent.code)
        }
    }
}
