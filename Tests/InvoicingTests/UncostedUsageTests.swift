import BillingCore
import Catalog
import Crypto
import Postgres
import TestSupport
import Testing
import TurnpikeServer
import Web

@testable import Invoicing
@testable import Usage

/// Usage whose provider cost is not known, under a price that follows it: on no line, and on every invoice to be seen.
@Suite(.timeLimit(.minutes(15)))
struct UncostedUsageTests {
    /// Calls of `gpt-4o`, which has a price, and two of `o3`, which has none.
    private static func run(_ body: (TestServer) async throws -> Void) async throws {
        try await TestServer.run(clock: TestClock("2026-11-01T00:00:00Z")) { server in
            try await addFeature(server)
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            try await addPrices(of: "gpt-4o", server)
            try server.set("2026-11-10T00:00:00Z")
            try await server.ingest(call("a", "gpt-4o"), call("b", "o3"), call("c", "o3"))
            try await body(server)
        }
    }

    private static func addFeature(_ server: TestServer) async throws {
        try await server.addTenant("acme")
        let meter = """
            {"key":"tokens","event_type":"chat","aggregation":"sum","dimensions":{"model":"model"},
             "class_dimension":"token_class","value":{"input":"input_tokens","output":"output_tokens"}}
            """
        try await server.ask("POST", "/meters", meter, expecting: 201)
        let feature = #"{"key":"llm","name":"LLM tokens","meter":"tokens","unit":"token"}"#
        try await server.ask("POST", "/features", feature, expecting: 201)
        let price = #"{"model":"cost_plus","markup_percent":"20"}"#
        try await server.publish(#"{"charges":[{"feature":"llm","price":\#(price)}]}"#)
    }

    /// `beta`, charged what each model costs.
    private static func addTenantWithCells(_ server: TestServer) async throws {
        let price = """
            {"model":"matrix","dimensions":["model"],"cells":[],
             "default":{"model":"cost_plus","markup_percent":"0"}}
            """
        try await server.publish(#"{"charges":[{"feature":"llm","price":\#(price)}]}"#, as: "cells")
        try await server.addTenant("beta")
        try await server.subscribe("beta", to: "cells", at: "2026-11-01T00:00:00Z")
    }

    private static func call(_ id: String, _ model: String) -> SentEvent {
        SentEvent(
            id,
            type: "chat",
            data: #"{"provider":"openai","model":"\#(model)","input_tokens":1000,"output_tokens":100}"#
        )
    }

    private static func addPrices(of model: String, _ server: TestServer) async throws {
        for (kind, amount) in [("input", "0.001"), ("output", "0.01")] {
            try await server.price(kind, amount, model: model)
        }
    }

    private static func rate(_ server: TestServer) async throws -> Int {
        try await server.withPool { pool in
            let catalog = Catalog(pool: pool, clock: server.clock.clock)
            try await catalog.reload()
            return try await CostWorker(
                catalog: catalog,
                pool: pool,
                policy: CostPolicy(),
                clock: server.clock.clock,
                ids: .random(server.clock.clock),
                logger: .silent
            ).rateUnpriced()
        }
    }

    /// What `verify` finds in counters and invoices.
    private static func differences(_ server: TestServer) async throws -> [String] {
        try await server.differences() + server.invoiceDifferences()
    }

    private static let two = """
        [{"cell":{},"events":2,"feature":"llm","lacks":"cost",\
        "period":{"end":"2026-12-01T00:00:00.000000Z","start":"2026-11-01T00:00:00.000000Z"},\
        "quantity":"2200","unit":"token"}]
        """
    private static let words = "LLM tokens: 2 events (2,200 tokens) without a known cost, not in this amount"

    @Test("a cost that is found later counts in no budget in which its usage has not counted")
    func budgetsOfBefore() async throws {
        try await TestServer.run(clock: TestClock("2026-11-01T00:00:00Z")) { server in
            try await Self.addFeature(server)
            let budget = """
                {"key":"budget","scope":{"tenant":"acme"},"measure":"charge","amount":"20","currency":"USD",\
                "window":"month","mode":"hard"}
                """
            try await server.ask("POST", "/budgets", budget, expecting: 201)
            let report = try await server.post([Self.call("before", "o3")]).expecting(200).report
            #expect(report.contains("unsubscribed 1"))
            server.clock.advance(seconds: 60)
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            try await server.ingest(Self.call("after", "o3"))
            try await Self.addPrices(of: "o3", server)
            #expect(try await Self.rate(server) == 2)
            let used: SQL = "SELECT trim_scale(used)::text FROM limit_state WHERE scope_value = ''"
            // 1,000 input tokens at 0.001 and 100 output tokens at 0.01, and a fifth.
            #expect(try await server.column(used) == ["2.4"])
            _ = try await server.void("before")
            #expect(try await server.column(used) == ["2.4"])
            _ = try await server.void("after")
            #expect(try await server.column(used) == ["0"])
        }
    }

    @Test func `a what-if tells it of both sides`() async throws {
        try await Self.run { server in
            let price = #"{"model":"cost_plus","markup_percent":"50"}"#
            let version = #"{"charges":[{"feature":"llm","price":\#(price)}]}"#
            try await server.ask("POST", "/plans/pro/versions", version, expecting: 201)
            let answer = try await server.ask("POST", "/tenants/acme/what-if", #"{"plan":"pro","version":2}"#)
            let period = answer["periods"]?[0]
            #expect(period?["current"]?["total"]?.string == "2.40")
            #expect(period?["proposed"]?["total"]?.string == "3.00")
            #expect(period?["current"]?["unpriced"]?.text == Self.two)
            #expect(period?["proposed"]?["unpriced"]?.text == Self.two)
        }
    }

    @Test func `it is on the upcoming, the draft and the final invoice, and in all that is made of it`() async throws {
        try await Self.run { server in
            let upcoming = try await server.ask("GET", "/tenants/acme/upcoming-invoice")
            #expect(upcoming["total"]?.string == "2.40")
            #expect(upcoming["unpriced"]?.text == Self.two)
            try server.set("2026-12-01T00:00:00Z")
            try await server.close(graceHours: 24)
            let id = try await server.ask("GET", "/invoices")["data"]?[0]?["id"]?.string ?? ""
            #expect(try await server.ask("GET", "/invoices/\(id)")["unpriced"]?.text == Self.two)
            try await server.ask("POST", "/invoices/\(id)/finalize")
            let final = try await server.ask("GET", "/invoices/\(id)")
            #expect(final["unpriced"]?.text == Self.two && final["total"]?.string == "2.40")
            let explained = try await server.ask("GET", "/invoices/\(id)/explain")
            #expect(explained["unpriced"]?[0]?.string == "\(Self.words).")
            let csv = try await server.operatorClient.get("/api/v1/invoices/\(id).csv").expecting(200).text
            let record = try #require(csv.split(separator: "\r\n").last)
            #expect(record.contains(#","unpriced","\#(Self.words)","llm",,"#), "\(record)")
            #expect(
                record.hasSuffix(#",2200,"token",0.00,0.00,0.00,0.00,,0.00,0.00,2.40,0.00,2.40,,,0.00"#),
                "\(record)"
            )
            let page = try await server.operatorClient.get("/api/v1/invoices/\(id).html").expecting(200).text
            #expect(page.contains("<p>\(Self.words).</p>"))
            let export = try await server.operatorClient.get("/api/v1/invoices/export?format=ndjson").expecting(200)
            #expect(try JSONValue(parsing: export.text)["unpriced"]?.text == Self.two)
            #expect(try await Self.differences(server) == [])
        }
    }

    @Test func `a cost that is found out later is an adjustment, and what was said stays`() async throws {
        try await Self.run { server in
            try server.set("2026-12-01T00:00:00Z")
            try await server.close()
            let id = try await server.ask("GET", "/invoices")["data"]?[0]?["id"]?.string ?? ""
            let before = try await server.ask("GET", "/invoices/\(id)").text
            try await Self.addPrices(of: "o3", server)
            _ = try await Self.rate(server)
            #expect(try await server.ask("GET", "/invoices/\(id)").text == before)
            try server.set("2027-01-01T00:00:00Z")
            try await server.close()
            #expect(
                try await server.invoices().last == "regular 1 finalized 4.80: usage llm 0.00, adjustment llm 4.80"
            )
            let last = try await server.ask("GET", "/invoices")["data"]?[1]
            let next = try await server.ask("GET", "/invoices/\(last?["id"]?.string ?? "")")
            #expect(next["unpriced"]?.text == "[]")
            #expect(try await Self.differences(server) == [])
        }
    }

    @Test func `counters and invoices of before it was noted are right, and go on from there`() async throws {
        try await Self.run { server in
            try server.set("2026-12-01T00:00:00Z")
            try await server.close()
            try await Self.forgetUncosted(server)
            #expect(try await Self.differences(server) == [])
            // Another is noted now; one of those before is voided, one gets its cost.
            var late = Self.call("late", "o4")
            late.time = "2026-11-20T00:00:00Z"
            try await server.ingest(late)
            #expect(try await Self.uncosted(server) == ["1 1100"])
            _ = try await server.void("b")
            #expect(try await Self.uncosted(server) == ["0 0"])
            try await Self.addPrices(of: "o3", server)
            _ = try await Self.rate(server)
            #expect(try await Self.uncosted(server) == ["0 0"])
            try server.set("2027-01-01T00:00:00Z")
            try await server.close()
            #expect(try await Self.differences(server) == [])
            // More than there is, is a difference still, and so is any other of a counter that notes all.
            try await server.database.run("UPDATE usage_counter SET uncosted_events = 2, uncosted_quantity = 2200")
            #expect(try await Self.differences(server).contains { $0.contains("events without a cost is 2") })
            try await server.database.run(
                "UPDATE usage_counter SET uncosted_events = 0, uncosted_quantity = 0, uncosted_exact = true"
            )
            #expect(try await Self.differences(server).contains { $0.contains("events without a cost is 0") })
        }
    }

    private static func uncosted(_ server: TestServer) async throws -> [String?] {
        try await server.column(
            "SELECT uncosted_events || ' ' || trim_scale(uncosted_quantity) FROM usage_counter WHERE NOT uncosted_exact"
        )
    }

    /// Leaves counters and the final invoice as a release made them that noted nothing of it.
    private static func forgetUncosted(_ server: TestServer) async throws {
        try await server.database.run(
            """
            UPDATE usage_counter SET uncosted_events = 0, uncosted_quantity = 0, uncosted_exact = false;
            UPDATE invoice_document SET facts = (facts::jsonb || '{"unpriced": []}')::json
            """
        )
        let found = try await server.ask("GET", "/invoices")["data"]?[0]?["id"]?.string
        let id = try #require(found.flatMap { InvoiceID($0) })
        let hash = try await server.withPool { pool in
            let catalog = Catalog(pool: pool, clock: server.clock.clock)
            try await catalog.reload()
            let whole = try await pool.transaction(.worker) { transaction in
                try InvoiceReading.whole(id, catalog: catalog.current, now: server.clock.now, in: transaction)
            }
            return Array(SHA256.hash(data: try #require(whole).canonicalBytes))
        }
        let text = hash.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        try await server.database.run("UPDATE invoice_document SET content_hash = '\\x\(text)'")
    }

    @Test func `late usage without a cost is on the invoice that adjusts its period`() async throws {
        try await Self.run { server in
            try server.set("2026-12-01T00:00:00Z")
            try await server.close()
            var late = Self.call("late", "o3")
            late.time = "2026-11-20T00:00:00Z"
            try await server.ingest(late)
            try server.set("2027-01-01T00:00:00Z")
            try await server.close()
            let last = try await server.ask("GET", "/invoices")["data"]?[1]
            let next = try await server.ask("GET", "/invoices/\(last?["id"]?.string ?? "")")
            #expect(next["unpriced"]?[0]?["events"]?.number == "3")
            #expect(next["unpriced"]?[0]?["period"]?["start"]?.string == "2026-11-01T00:00:00.000000Z")
            #expect(try await Self.differences(server) == [])
        }
    }

    @Test func `a cell of a matrix says what of it has no cost, and void and rating take it out`() async throws {
        try await Self.run { server in
            try await Self.addTenantWithCells(server)
            for (id, model) in [("a", "gpt-4o"), ("b", "o3"), ("c", "o3"), ("d", "o4")] {
                var event = Self.call(id, model)
                event.subject = "beta"
                try await server.ingest(event)
            }
            func unpriced() async throws -> [String] {
                let invoice = try await server.ask("GET", "/tenants/beta/upcoming-invoice")
                return (invoice["unpriced"]?.elements ?? []).map { use in
                    let parts = [use["cell"]?["model"]?.string, use["events"]?.number, use["quantity"]?.string]
                    return parts.map { $0 ?? "?" }.joined(separator: " ")
                }
            }
            #expect(try await unpriced() == ["o3 2 2200", "o4 1 1100"])
            _ = try await server.void("b", tenant: "beta")
            #expect(try await unpriced() == ["o3 1 1100", "o4 1 1100"])
            try await Self.addPrices(of: "o4", server)
            _ = try await Self.rate(server)
            #expect(try await unpriced() == ["o3 1 1100"])
            #expect(try await server.differences() == [])
            try await server.database.run("UPDATE usage_counter SET uncosted_events = 7 WHERE uncosted_events = 1")
            #expect(try await server.differences().contains { $0.contains("events without a cost") })
        }
    }

    @Test func `of very many cells the first are listed, and the rest is added up wherever it is shown`() async throws {
        try await Self.run { server in
            try await Self.addTenantWithCells(server)
            for batch in 0..<4 {
                let events = (0..<300).map { number in
                    var event = Self.call("\(batch)-\(number)", "m\(batch)-\(number)")
                    event.subject = "beta"
                    return event
                }
                _ = try await server.post(events).expecting(200)
            }
            let upcoming = try await server.ask("GET", "/tenants/beta/upcoming-invoice")["unpriced"]?.elements ?? []
            #expect(upcoming.count == 1_001)
            #expect(upcoming.last?["cell"]?.text == "{}" && upcoming.last?["events"]?.number == "200")
            #expect(upcoming.last?["quantity"]?.string == "220000")
            try server.set("2026-12-01T00:00:00Z")
            try await server.close()
            let id = try await server.ask("GET", "/invoices?tenant=beta")["data"]?[0]?["id"]?.string ?? ""
            let final = try await server.ask("GET", "/invoices/\(id)")["unpriced"]?.elements ?? []
            #expect(final == upcoming)
            let words = "LLM tokens (200 more together): 200 events (220,000 tokens) without a known cost"
            let explained = try await server.ask("GET", "/invoices/\(id)/explain")["unpriced"]?.elements ?? []
            #expect(explained.last?.string == "\(words), not in this amount.")
            let csv = try await server.operatorClient.get("/api/v1/invoices/\(id).csv").expecting(200).text
            #expect(csv.contains(words))
            #expect(try await Self.differences(server) == [])
        }
    }
}
