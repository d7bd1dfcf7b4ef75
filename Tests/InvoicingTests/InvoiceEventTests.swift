import BillingCore
import Foundation
import Postgres
import TestSupport
import Testing
import Web

@testable import Invoicing

/// What webhooks are told of invoices and credit notes.
@Suite(.timeLimit(.minutes(15)))
struct InvoiceEventTests {
    /// What waits to be told of invoices, in the order in which it happened: `invoice.paid INV-00000001 paid 20.00`.
    private static func told(_ server: TestServer) async throws -> [String] {
        try await server.column(
            """
            SELECT concat_ws(' ', event_type, data ->> 'number', data ->> 'status', data ->> 'total')
            FROM webhook_event WHERE tenant_id = 1 AND event_type NOT LIKE 'subscription.%'
            ORDER BY occurred_at, event_type, data ->> 'number' LIMIT 99
            """
        ).compactMap(\.self)
    }

    private static func ids(_ server: TestServer) async throws -> [String] {
        try await server.column(
            "SELECT invoice_id::text FROM invoice_document ORDER BY sequence LIMIT 99"
        ).compactMap(\.self)
    }

    @Test("closing tells of every invoice that became final, with its number, and of no draft")
    func closingTells() async throws {
        try await ClosingStory.run { server in
            try await server.ingest(SentEvent("1", data: #"{"seconds":7}"#))
            try server.set("2026-12-01T00:00:00Z")
            try await server.close(graceHours: 744)
            #expect(try await Self.told(server) == [])
            try server.set("2027-01-02T00:00:00Z")
            try await server.close()
            let told = try await Self.told(server)
            #expect(
                told.prefix(2) == [
                    "invoice.finalized INV-00000001 finalized 10.00", "invoice.finalized INV-00000002 finalized 20.00",
                ]
            )
            let documents = try await Self.ids(server)
            let invoices = try await server.column(
                "SELECT data ->> 'invoice' FROM webhook_event WHERE event_type = 'invoice.finalized' ORDER BY event_id"
            )
            #expect(Set(invoices.compactMap(\.self)) == Set(documents) && invoices.count == documents.count)
        }
    }

    @Test("an invoice with nothing left to pay is told to be paid too")
    func creditPays() async throws {
        try await ClosingStory.run { server in
            let credit = #"{"name":"Paid","kind":"prepaid","amount":"100"}"#
            try await server.ask("POST", "/tenants/acme/credit-grants", credit, expecting: 201)
            try await server.close()
            #expect(
                try await Self.told(server) == [
                    "invoice.finalized INV-00000001 paid 10.00", "invoice.paid INV-00000001 paid 10.00",
                ]
            )
        }
    }

    @Test("what is done to invoices is told, and a draft that is voided was never told of")
    func actionsAreTold() async throws {
        try await ClosingStory.run { server in
            try server.set("2026-12-01T00:00:00Z")
            try await server.close(graceHours: 744)
            let drafts = try await server.ask("GET", "/invoices?status=draft")["data"]?.elements ?? []
            let opening = try #require(drafts.first { $0["invoice_kind"]?.string == "opening" }?["id"]?.string)
            let regular = try #require(drafts.first { $0["invoice_kind"]?.string == "regular" }?["id"]?.string)
            func act(_ invoice: String, _ action: String, _ body: String = "", expecting: Int = 200) async throws {
                server.clock.advance(seconds: 1)
                try await server.ask("POST", "/invoices/\(invoice)/\(action)", body, expecting: expecting)
            }
            try await act(opening, "finalize")
            try await act(opening, "mark-uncollectible")
            try await act(opening, "pay")
            try await act(regular, "void")
            try await act(regular, "reissue", expecting: 201)
            let again = try #require(try await server.ask("GET", "/invoices?status=draft")["data"]?[0]?["id"]?.string)
            try await act(again, "finalize")
            try await act(again, "void")
            #expect(
                try await Self.told(server) == [
                    "invoice.finalized INV-00000001 finalized 10.00",
                    "invoice.uncollectible INV-00000001 uncollectible 10.00",
                    "invoice.paid INV-00000001 paid 10.00", "invoice.finalized INV-00000002 finalized 13.00",
                    "invoice.voided INV-00000002 void 13.00",
                ]
            )
        }
    }

    /// Has several replicas look for overdue invoices at the same time.
    private static func tellOverdue(_ server: TestServer) async throws {
        try await server.withPool { pool in
            let (clock, ids) = (server.clock.clock, IDSource.random(server.clock.clock))
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<4 {
                    group.addTask {
                        try await OverdueInvoiceWorker(pool: pool, clock: clock, ids: ids, logger: .silent).tell()
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test("an invoice that is unpaid after its term is told to be overdue, once")
    func overdueIsTold() async throws {
        try await ClosingStory.run { server in
            try await server.close()
            try server.set("2026-12-01T00:00:00Z")
            try await Self.tellOverdue(server)
            #expect(try await Self.told(server) == ["invoice.finalized INV-00000001 finalized 10.00"])
            for time in ["2026-12-01T00:00:01Z", "2026-12-02T00:00:00Z"] {
                try server.set(time)
                try await Self.tellOverdue(server)
            }
            let told = [
                "invoice.finalized INV-00000001 finalized 10.00", "invoice.overdue INV-00000001 finalized 10.00",
            ]
            #expect(try await Self.told(server) == told)
            let paid = try #require(try await Self.ids(server).first)
            try await server.ask("POST", "/invoices/\(paid)/pay")
            try await Self.tellOverdue(server)
            #expect(try await Self.told(server) == told + ["invoice.paid INV-00000001 paid 10.00"])
        }
    }

    @Test("an overdue invoice that cannot be read keeps back no other, and is told once it can be")
    func unreadableIsSkipped() async throws {
        try await ClosingStory.run { server in
            try await server.addTenant("other")
            try await server.subscribe("other", at: "2026-11-01T00:00:00Z")
            try await server.close()
            let facts: SQL = "SELECT facts::text FROM invoice_document WHERE tenant_id = 1"
            let written = try #require(try await server.column(facts).first ?? nil)
            try await server.database.run("UPDATE invoice_document SET facts = '{}' WHERE tenant_id = 1")
            try server.set("2026-12-01T00:00:01Z")
            try await Self.tellOverdue(server)
            let overdue: SQL = """
                SELECT data ->> 'tenant' FROM webhook_event WHERE event_type = 'invoice.overdue' ORDER BY 1
                """
            #expect(try await server.column(overdue) == ["other"])
            let text = written.replacingOccurrences(of: "'", with: "''")
            try await server.database.run("UPDATE invoice_document SET facts = '\(text)' WHERE tenant_id = 1")
            try await Self.tellOverdue(server)
            #expect(try await server.column(overdue) == ["acme", "other"])
        }
    }

    @Test("what is paid, given up or voided in time is never overdue, and neither is a draft")
    func othersAreNotOverdue() async throws {
        for action in ["pay", "mark-uncollectible", "void"] {
            try await ClosingStory.run { server in
                try await server.close()
                let invoice = try #require(try await Self.ids(server).first)
                try await server.ask("POST", "/invoices/\(invoice)/\(action)")
                try server.set("2026-12-20T00:00:00Z")
                try await server.close(graceHours: 744)
                try await Self.tellOverdue(server)
                #expect(try await !Self.told(server).contains { $0.hasPrefix("invoice.overdue") })
            }
        }
    }

    @Test("a credit note is told, and that it paid the rest; all of it says what the contract says")
    func creditNotesAreTold() async throws {
        try await ClosingStory.run { server in
            try await server.close()
            let invoice = try #require(try await Self.ids(server).first)
            let path = "/invoices/\(invoice)/credit-notes"
            for amount in ["4", "6"] {
                server.clock.advance(seconds: 1)
                try await server.ask("POST", path, #"{"amount":"\#(amount)","reason":"r"}"#, expecting: 201)
                if amount == "4" {
                    try server.set("2026-12-01T00:00:01Z")
                    try await Self.tellOverdue(server)
                }
            }
            #expect(
                try await Self.told(server) == [
                    "invoice.finalized INV-00000001 finalized 10.00", "credit_note.issued CN-00000001 4.00",
                    "invoice.overdue INV-00000001 finalized 10.00",
                    "credit_note.issued CN-00000002 6.00", "invoice.paid INV-00000001 paid 10.00",
                ]
            )
            let bodies = try await WebhookContract.bodies(of: server)
            #expect(bodies.count == 6)
            try await WebhookContract.check(bodies)
        }
    }
}
