import BillingCore
import Postgres
import TestSupport
import Testing
import Web

@testable import Invoicing

/// Seconds of November at 1 each with 19 % tax, each adjustment an invoice of its own: what is voided after a credit
/// note for it is not given back a second time.
@Suite(.timeLimit(.minutes(15)))
struct NotedUsageTests {
    /// - Parameter events: so many seconds each, with ids from 1.
    private static func run(
        inclusive: Bool = false,
        terms: String = "",
        _ events: [Int],
        _ body: (NotedStory) async throws -> Void
    ) async throws {
        let price = #"{"model":"per_unit","unit_amount":"1"}"#
        let plan = #"{\#(terms)"charges":[{"feature":"seconds","price":\#(price)}]}"#
        try await ClosingStory.run(plan: plan) { server in
            let tax = #"{"rates":[{"key":"vat","name":"VAT","percent":"19"}],"inclusive":\#(inclusive)}"#
            try await server.ask("PATCH", "/tenants/acme", #"{"billing":{"tax":\#(tax)}}"#)
            let subscription = try await server.ask("GET", "/subscriptions")["data"]?[0]?["id"]?.string ?? ""
            let end = #"{"at":"2026-12-01T00:00:00Z"}"#
            try await server.ask("POST", "/subscriptions/\(subscription)/cancel", end)
            try server.set("2026-11-21T00:00:00Z")
            for (index, count) in events.enumerated() {
                let data = #"{"seconds":\#(count)}"#
                try await server.ingest(SentEvent("\(index + 1)", time: "2026-11-20T00:00:00Z", data: data))
            }
            try await server.closeInvoices(at: "2026-12-01T00:00:00Z")
            let id = try await server.ask("GET", "/invoices?kind=regular")["data"]?[0]?["id"]?.string ?? ""
            let isPaid = try await server.ask("GET", "/invoices/\(id)")["status"]?.string == "paid"
            if !isPaid { try await server.ask("POST", "/invoices/\(id)/pay") }
            try await body(NotedStory(server: server, invoice: id))
            #expect(try await server.invoiceDifferences() == [])
        }
    }

    @Test(arguments: [
        (false, "47.60", ["-60.00", "-24.00", "-6.84", "42.84"], "28.56"),
        (true, "40.00", ["-60.00", "-24.00", "-5.75", "36.00"], "24.00"),
    ])
    func `usage that is voided after a credit note takes its share of the note with it`(
        _ inclusive: Bool,
        _ noted: String,
        _ expected: [String],
        _ left: String
    ) async throws {
        try await Self.run(inclusive: inclusive, [60, 40]) { story in
            #expect(try await story.note(noted) == "201")
            let adjustment = try await story.voidAndClose("1")
            let line = try #require(adjustment["lines"]?[0])
            let shown = ["amount", "credited_before", "tax"].map { line[$0]?.string ?? "?" }
            #expect(shown + [adjustment["carried_forward"]?.string ?? "?"] == expected)
            // What is left can be credited once more, and not a cent beyond.
            let more = try FixedDecimal(parsing: left).adding(FixedDecimal(parsing: "0.01"))
            #expect(try await story.note("\(more)") == "credit_exceeds_invoice")
            #expect(try await story.note(left) == "201")
            let last = try await story.voidAndClose("2")
            #expect(last["lines"]?[0]?["amount"]?.string == "-40.00")
            #expect(last["carried_forward"]?.string == "0.00" && last["tax"]?.string == "0.00")
            #expect(try await story.kept() == .zero)
        }
    }

    @Test func `a credit note for all of it leaves nothing to give back`() async throws {
        try await Self.run([60, 40]) { story in
            #expect(try await story.note("119") == "201")
            for id in ["1", "2"] {
                let adjustment = try await story.voidAndClose(id)
                #expect(adjustment["carried_forward"]?.string == "0.00" && adjustment["total"]?.string == "0.00")
                #expect(try await story.kept() == .zero)
            }
            // What is used after all is charged.
            let late = SentEvent("3", time: "2026-11-20T00:00:00Z", data: #"{"seconds":10}"#)
            try await story.server.ingest(late)
            #expect(try await story.close()["total"]?.string == "11.90")
        }
    }

    @Test func `whether the credit note or the void comes first, all of it gives back what was charged`() async throws {
        for isNotedFirst in [true, false] {
            try await Self.run([60, 40]) { story in
                if isNotedFirst { #expect(try await story.note("35.70") == "201") }
                try await story.voidAndClose("1")
                if !isNotedFirst { #expect(try await story.note("35.70") == "201") }
                try await story.voidAndClose("2")
                #expect(try await story.kept() == .zero)
                #expect(try await story.note("0.01") == "credit_exceeds_invoice")
            }
        }
    }

    @Test func `an adjustment that is voided and made again gives back the same, and more notes lower it`() async throws
    {
        try await Self.run([60, 40]) { story in
            #expect(try await story.note("47.60") == "201")
            let first = try await story.voidAndClose("1")
            try await story.server.ask("POST", "/invoices/\(first["id"]?.string ?? "")/void")
            let again = try await story.close()
            #expect(again["id"] != first["id"] && again["carried_forward"]?.string == "42.84")
            try await story.server.ask("POST", "/invoices/\(again["id"]?.string ?? "")/void")
            #expect(try await story.note("35.70") == "201")
            let third = try await story.close()
            #expect(third["lines"]?[0]?["credited_before"]?.string == "-42.00")
            #expect(third["carried_forward"]?.string == "21.42")
        }
    }

    @Test func `what a note gave back pays for what its usage turned into`() async throws {
        try await Self.run([60, 40]) { story in
            #expect(try await story.note("47.60") == "201")
            _ = try await story.server.void("1")
            let other = SentEvent("3", time: "2026-11-20T00:00:00Z", data: #"{"seconds":60}"#)
            try await story.server.ingest(other)
            _ = try await story.close()
            #expect(try await story.kept() == FixedDecimal(parsing: "71.40"))
        }
    }

    @Test func `included credit that came later is no money that a credit note could take back`() async throws {
        try await Self.run(terms: #""included_credit":"20","#, [10]) { story in
            for (id, count) in [("2", 20), ("3", 10)] {
                let data = #"{"seconds":\#(count)}"#
                try await story.server.ingest(SentEvent(id, time: "2026-11-20T00:00:00Z", data: data))
            }
            // 30 more, of which included credit pays 10; then 10 of them are taken back.
            let late = try await story.close()
            #expect(late["total"]?.string == "23.80")
            try await story.voidAndClose("3")
            let kept = try await story.kept()
            #expect(try kept == FixedDecimal(parsing: "11.90"))
            let path = "/api/v1/invoices/\(late["id"]?.string ?? "")/credit-notes"
            for (amount, status) in [("11.91", 422), ("11.90", 201), ("0.01", 422)] {
                let body = #"{"amount":"\#(amount)","reason":"Sorry"}"#
                let answer = try await story.server.operatorClient.post(path, body)
                #expect(answer.status == status, "\(answer.text)")
            }
            #expect(try await story.kept() == .zero)
        }
    }

    @Test func `papers say what a credit note had given back before`() async throws {
        try await Self.run([60, 40]) { story in
            #expect(try await story.note("47.60") == "201")
            let id = try await story.voidAndClose("1")["id"]?.string ?? ""
            let explained = try await story.server.ask("GET", "/invoices/\(id)/explain")["lines"]?[0]
            #expect(explained?["credited_before"]?.string == "-24.00")
            let text = explained?["text"]?.elements?.compactMap(\.string) ?? []
            #expect(text.contains("Credit notes had given back 24.00 USD of that, which does not go back again."))
            #expect(text.contains("Left: -60.00 + 24.00 = -36.00 USD."))
            #expect(text.contains("VAT 19 %: -36.00 x 19/100 = -6.84 USD."))
            let page = try await story.server.operatorClient.get("/api/v1/invoices/\(id).html").text
            #expect(page.contains("Credit notes before"))
        }
    }

    private static func cents(_ count: Int) -> String { "\(count / 100).\(count % 100 / 10)\(count % 10)" }

    @Test(arguments: 0..<8)
    func `in any order of notes, voids and reissues no more goes back than was charged`(_ seed: Int) async throws {
        var generator = SeededGenerator(seed: UInt64(seed) &+ 0x0CED17)
        let events = (0..<5).map { _ in Int.random(in: 1...60, using: &generator) }
        let sum = events.reduce(0, +)
        let inclusive = seed.isMultiple(of: 2)
        let steps = (0..<10).map { _ in
            (Int.random(in: 0..<4, using: &generator), Int.random(in: 1...sum * 60, using: &generator))
        }
        try await Self.run(inclusive: inclusive, events) { story in
            var (voided, adjustments): (Set<Int>, [String]) = ([], [])
            for (kind, number) in steps {
                switch kind {
                case 0, 1:
                    _ = try await story.note(Self.cents(number))
                case 2:
                    guard let next = events.indices.first(where: { !voided.contains($0) }) else { continue }
                    voided.insert(next)
                    let before = try await story.kept()
                    let adjustment = try await story.voidAndClose("\(next + 1)")
                    adjustments.append(adjustment["id"]?.string ?? "")
                    let charged = try FixedDecimal(parsing: Self.cents(events[next] * (inclusive ? 100 : 119)))
                    let back = try before.subtracting(try await story.kept())
                    #expect(try back <= charged.adding(FixedDecimal(parsing: "0.01")), "\(back) for \(charged)")
                default:
                    guard let last = adjustments.popLast() else { continue }
                    let answer = try await story.server.operatorClient.post("/api/v1/invoices/\(last)/void")
                    if answer.status == 200 { adjustments.append(try await story.close()["id"]?.string ?? "") }
                }
                #expect(try await story.kept() >= .zero)
            }
            for index in events.indices where !voided.contains(index) { try await story.voidAndClose("\(index + 1)") }
            #expect(try await story.kept() == .zero)
        }
    }
}

/// An invoice that was paid, and what becomes of it.
private struct NotedStory: Sendable {
    let server: TestServer
    let invoice: String

    /// - Returns: 201, or the code of the refusal.
    func note(_ amount: String) async throws -> String {
        let body = #"{"amount":"\#(amount)","reason":"Sorry"}"#
        let answer = try await server.operatorClient.post("/api/v1/invoices/\(invoice)/credit-notes", body)
        return answer.status == 201 ? "201" : answer.code ?? "?"
    }

    @discardableResult
    func voidAndClose(_ event: String) async throws -> JSONValue {
        _ = try await server.void(event)
        return try await close()
    }

    /// Finalises what is due a day later.
    /// - Returns: the last invoice.
    func close() async throws -> JSONValue {
        server.clock.advance(seconds: 86_400)
        try await server.close()
        let ids = try await server.column(
            "SELECT invoice_id::text FROM invoice_document ORDER BY sequence DESC LIMIT 1"
        )
        return try await server.ask("GET", "/invoices/\(ids.first.flatMap { $0 } ?? "")")
    }

    /// What invoices that stand have charged, less what they and credit notes gave back.
    func kept() async throws -> FixedDecimal {
        let sums = try await server.column(
            """
            SELECT (
                coalesce((
                    SELECT sum(total - carried_forward) FROM invoice_document JOIN invoice USING (tenant_id, invoice_id)
                    WHERE status <> 'void'
                ), 0) - coalesce((SELECT sum(total) FROM credit_note), 0)
            )::text
            """
        )
        return try FixedDecimal(parsing: sums.first.flatMap { $0 } ?? "")
    }
}
