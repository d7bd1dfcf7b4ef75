import BillingCore
import Catalog
import Crypto
import Foundation
import Postgres
import TestSupport
import Testing
import Usage
import Web

@testable import Invoicing

/// `verify` of invoices: each is made anew from raw events and compared byte for byte.
@Suite(.timeLimit(.minutes(15)))
struct InvoiceVerificationTests {
    private static func differences(_ server: TestServer) async throws -> [String] {
        try await server.withPool { pool in
            var found: [String] = []
            let judged = try await InvoiceVerification(pool: pool, clock: server.clock.clock).run(
                difference: { found.append($0.description) }
            )
            #expect(judged > 0)
            return found
        }
    }

    /// Three invoices with discount, credits, tax, late usage and a void, and everything renamed since.
    private static func story(_ server: TestServer) async throws {
        let billing = #"{"tax":{"rates":[{"key":"vat","name":"VAT","percent":"19"}]}}"#
        try await server.ask("PATCH", "/tenants/acme", #"{"billing":\#(billing)}"#)
        let discount = #"{"name":"Launch","percent":"10","duration":"forever"}"#
        try await server.ask("POST", "/tenants/acme/discounts", discount, expecting: 201)
        let gift = #"{"kind":"promotional","name":"gift","amount":"4"}"#
        try await server.ask("POST", "/tenants/acme/credit-grants", gift, expecting: 201)
        try await server.ingest(
            SentEvent("1", data: #"{"seconds":7}"#),
            SentEvent("2", data: #"{"seconds":5}"#)
        )
        try server.set("2026-12-01T00:00:00Z")
        try await server.close()
        try await server.ingest(SentEvent("3", time: "2026-11-20T00:00:00Z", data: #"{"seconds":4}"#))
        _ = try await server.void("1")
        try server.set("2027-01-01T00:00:00Z")
        try await server.close()
        try await server.ask("PATCH", "/tenants/acme", #"{"name":"Renamed","billing":null}"#)
        try await server.ask("PATCH", "/features/seconds", #"{"name":"Renamed"}"#)
        try await server.ask("PATCH", "/plans/pro", #"{"name":"Renamed"}"#)
        let id = try await server.ask("GET", "/subscriptions")["data"]?[0]?["id"]?.string ?? ""
        try await server.ask("POST", "/subscriptions/\(id)/cancel", #"{"at":"2027-01-15T00:00:00Z"}"#)
        try server.set("2027-01-15T00:00:00Z")
        try await server.close()
    }

    @Test func `every invoice is what its events give, whatever was changed since`() async throws {
        try await ClosingStory.run { server in
            try await Self.story(server)
            #expect(try await server.column("SELECT count(*)::text FROM invoice_document") == ["4"])
            #expect(try await Self.differences(server) == [])
            #expect(try await server.differences() == [])
        }
    }

    @Test func `a change that was to come when an invoice was finalised may be withdrawn, and another take its place`()
        async throws
    {
        try await ClosingStory.run { server in
            let other = #"{"fees":[{"key":"base","name":"Base","amount":"100","charged":"in_advance"}]}"#
            try await server.publish(other)
            try await server.publish(#"{"fees":[{"key":"base","name":"Base","amount":"7","charged":"in_advance"}]}"#)
            let id = try await server.ask("GET", "/subscriptions")["data"]?[0]?["id"]?.string ?? ""
            let change = """
                {"plan":"pro","version":2,"at":"2026-12-16T12:00:00Z",
                 "overrides":{"fees":[{"key":"base","name":"Base","amount":"50","charged":"in_advance"}]}}
                """
            try await server.ask("POST", "/subscriptions/\(id)/change", change)
            try server.set("2026-12-01T00:00:00Z")
            try await server.close()
            #expect(try await server.invoices().last?.contains("fee base 25.00") == true)
            try await server.ask("POST", "/subscriptions/\(id)/withdraw-changes")
            #expect(try await Self.differences(server) == [])
            let second = #"{"plan":"pro","version":3,"at":"2026-12-20T00:00:00Z"}"#
            try await server.ask("POST", "/subscriptions/\(id)/change", second)
            try server.set("2027-01-01T00:00:00Z")
            try await server.close()
            #expect(try await Self.differences(server) == [])
        }
    }

    @Test func `the catalogue is read once, however many invoices there are`() async throws {
        try await ClosingStory.run { server in
            try await Self.story(server)
            var url = try #require(URLComponents(string: server.database.url))
            try await StatementTap.run(before: try #require(url.port)) { tap in
                url.port = tap.port
                let pool = PostgresPool(PostgresConfiguration(url: try #require(url.string)), logger: .silent)
                var readings = 0
                let judged = try await InvoiceVerification(pool: pool, clock: server.clock.clock).run(
                    difference: { _ in },
                    progress: { readings += tap.takeStatements().contains { $0.contains("FROM meter") } ? 1 : 0 }
                )
                #expect(judged == 4 && readings == 1)
                await pool.close()
            }
        }
    }

    @Test func `an invoice that was rewritten past us is found, and one whose event is gone`() async throws {
        try await ClosingStory.run { server in
            try await Self.story(server)
            try await server.database.run("UPDATE usage_event SET data = '{\"seconds\":6}' WHERE event_id = '2'")
            let gone = try await Self.differences(server)
            #expect(gone.count == 2 && gone.allSatisfy { $0.contains("line") && $0.contains("seconds") }, "\(gone)")
            try await server.database.run("UPDATE usage_event SET data = '{\"seconds\":5}' WHERE event_id = '2'")
            #expect(try await Self.differences(server) == [])
            try await server.database.run("UPDATE invoice_line SET amount = amount + 1 WHERE item_key = 'care'")
            let rewritten = try #require(try await Self.differences(server).first)
            let pinned = try await server.column("SELECT encode(content_hash, 'hex') FROM invoice_document")
                .compactMap { $0 }
            #expect(pinned.contains { rewritten.contains(": its hash is \($0), its document and lines give ") })
            let given = rewritten.split(separator: " ").last.map { String($0) } ?? ""
            #expect(given.utf8.count == 64 && !pinned.contains(given))
        }
    }

    @Test(arguments: [
        (
            "UPDATE credit_grant SET remaining = remaining - 1",
            ["what is left of the credit gift (ID) is 2, its uses give 3"]
        ),
        (
            "UPDATE credit_application SET amount = 5",
            [
                "invoice NUMBER: its use of credits is 5 of ID, its events give 4 of ID",
                "what is left of the credit gift (ID) is 3, its uses give 2",
            ]
        ),
        (
            "DELETE FROM credit_application",
            [
                "invoice NUMBER: its use of credits is nothing, its events give 4 of ID",
                "what is left of the credit gift (ID) is 3, its uses give 7",
            ]
        ),
        (
            "UPDATE credit_application SET returned_at = created_at",
            [
                "invoice NUMBER: its use of credits is 4 of ID, returned, its events give 4 of ID",
                "what is left of the credit gift (ID) is 3, its uses give 7",
            ]
        ),
    ])
    func `credit that is not what was granted less what invoices used is found`(
        _ change: String,
        _ expected: [String]
    ) async throws {
        try await ClosingStory.run { server in
            let gift = #"{"kind":"promotional","name":"gift","amount":"7"}"#
            let id = try await server.ask("POST", "/tenants/acme/credit-grants", gift, expecting: 201)["id"]?.string
            try await server.ask(
                "POST",
                "/tenants/acme/discounts",
                #"{"name":"D","amount":"6","duration":"once"}"#,
                expecting: 201
            )
            try await server.close()
            #expect(try await Self.differences(server) == [])
            let number = try await server.ask("GET", "/invoices")["data"]?[0]?["number"]?.string ?? ""
            try await server.database.run(change)
            let found = try await Self.differences(server).map { difference in
                difference.replacing(id ?? "?", with: "ID").replacing(number, with: "NUMBER")
                    .replacing("tenant acme: ", with: "")
            }
            #expect(found == expected)
        }
    }

    @Test func `an invoice of before its lines named their credits is made anew as it was, and gives credit back`()
        async throws
    {
        try await ClosingStory.run { server in
            try await server.close()
            let gift = #"{"kind":"promotional","name":"gift","amount":"4"}"#
            try await server.ask("POST", "/tenants/acme/credit-grants", gift, expecting: 201)
            try server.set("2026-12-01T00:00:00Z")
            try await server.ingest(SentEvent("1", time: "2026-11-20T00:00:00Z", data: #"{"seconds":7}"#))
            try await server.close()
            try await Self.forgetCredits(server)
            #expect(try await Self.differences(server) == [])
            let id = try #require(try await server.ask("GET", "/subscriptions")["data"]?[0]?["id"]?.string)
            try await server.ask("POST", "/subscriptions/\(id)/cancel", #"{"at":"now"}"#)
            try server.set("2027-01-01T00:00:00Z")
            try await server.close()
            #expect(try await Self.differences(server) == [])
            let rest = try await server.column(
                "SELECT kind || ' ' || round(amount, 2) || ' ' || round(remaining, 2) FROM credit_grant ORDER BY 1"
            )
            // Half of the 20.00 comes back, and with it half of the 4.00.
            #expect(rest == ["prepaid 8.00 8.00", "promotional 4.00 2.00"])
        }
    }

    /// Leaves finalised invoices as they were before lines named the credits they were paid with.
    private static func forgetCredits(_ server: TestServer) async throws {
        let named = try await server.column(
            "SELECT count(*)::text FROM invoice_line WHERE facts ->> 'promotional_credits' IS NOT NULL"
        )
        #expect(named != ["0"])
        try await server.database.run(
            "UPDATE invoice_line SET facts = (facts::jsonb - 'promotional_credits')::json"
        )
        let ids = try await server.ask("GET", "/invoices")["data"]?.elements?.compactMap { $0["id"]?.string } ?? []
        try await server.withPool { pool in
            let catalog = Catalog(pool: pool, clock: server.clock.clock)
            try await catalog.reload()
            for id in ids.compactMap({ InvoiceID($0) }) {
                let whole = try await pool.transaction(.worker) { transaction in
                    try InvoiceReading.whole(id, catalog: catalog.current, now: server.clock.now, in: transaction)
                }
                guard let whole else { continue }
                let hash = SHA256.hash(data: whole.canonicalBytes).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }
                try await server.database.run(
                    "UPDATE invoice_document SET content_hash = '\\x\(hash.joined())' WHERE invoice_id = '\(id)'"
                )
            }
        }
    }
}
