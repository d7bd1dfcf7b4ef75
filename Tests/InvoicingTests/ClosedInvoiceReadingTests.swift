import BillingCore
import Catalog
import Postgres
import TestSupport
import Testing
import TurnpikeServer
import Web

@testable import Invoicing

/// Invoices that were really closed, read on paper and explained.
@Suite struct ClosedInvoiceReadingTests {
    private static let plan = """
        {"fees":[{"key":"base","name":"Base fee","amount":"10","charged":"in_arrears"}],
         "minimum_commitment":"500","included_credit":"1.50",
         "charges":[
           {"feature":"seconds","price":{"model":"graduated","tiers":[
             {"up_to":"10","unit_amount":"0"},{"up_to":null,"unit_amount":"0.333","flat_amount":"2"}]}},
           {"feature":"calls","price":{"model":"package","amount":"0.25","package_size":"2","free_units":"1"}},
           {"feature":"tokens","price":{"model":"matrix","dimensions":["model","token_class"],"cells":[
             {"match":{"model":"m1","token_class":"output"},"price":{"model":"per_unit","unit_amount":"0.01"}}],
             "default":{"model":"per_unit","unit_amount":"0.002"}}}]}
        """

    /// A month of usage of `acme` with a void, closed in December; then what must not change the invoice.
    private static func run(_ body: (TestServer, String) async throws -> Void) async throws {
        try await TestServer.run(clock: TestClock("2026-11-01T00:00:00Z")) { server in
            try await server.addTenant("acme", zone: "Europe/Berlin")
            try await server.addFeature("seconds")
            try await server.addFeature("calls", "count", of: nil)
            let meter = """
                {"key":"tokens","event_type":"chat","aggregation":"sum","class_dimension":"token_class",
                 "value":{"input":"input_tokens","output":"output_tokens"},"dimensions":{"model":"model"}}
                """
            try await server.ask("POST", "/meters", meter, expecting: 201)
            let feature = #"{"key":"tokens","name":"Tokens","meter":"tokens","unit":"token"}"#
            try await server.ask("POST", "/features", feature, expecting: 201)
            try await server.publish(plan)
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            for day in 1...9 {
                try server.set("2026-11-0\(day)T12:00:00Z")
                try await server.ingest(
                    SentEvent("job-\(day)", data: #"{"seconds":"\#(day).25"}"#),
                    SentEvent(
                        "chat-\(day)",
                        type: "chat",
                        data: #"{"model":"m\#(day % 3)","input_tokens":\#(day * 100),"output_tokens":\#(day)}"#
                    )
                )
            }
            _ = try await server.void("job-5")
            _ = try await server.void("chat-4")
            try server.set("2026-12-01T02:00:00Z")
            try await close(server, seller: "Turnpike Resale Ltd")
            let id = try await server.column("SELECT invoice_id::text FROM invoice WHERE kind = 'regular'").first ?? nil
            try await body(server, try #require(id))
        }
    }

    private static func close(_ server: TestServer, seller: String) async throws {
        try await server.withPool { pool in
            _ = try await InvoiceClosing(
                pool: pool,
                catalog: Catalog(pool: pool, clock: server.clock.clock),
                clock: server.clock.clock,
                ids: .random(server.clock.clock),
                grace: InvoiceGrace(hours: 0),
                seller: InvoiceSeller(name: seller, lines: ["1 Toll Road"])
            ).run(asOf: server.clock.now, waits: true)
        }
    }

    /// What happens after an invoice is final: late usage, a void, other names and prices.
    private static func meddle(_ server: TestServer) async throws {
        try await server.ingest(SentEvent("late", time: "2026-11-20T00:00:00Z", data: #"{"seconds":"100"}"#))
        _ = try await server.void("job-1")
        try await server.ask("PATCH", "/tenants/acme", #"{"name":"Other Ltd"}"#)
        try await server.ask("PATCH", "/features/tokens", #"{"name":"Other tokens"}"#)
        try await server.publish(#"{"charges":[]}"#)
    }

    /// Quantity and number of the events that a path lists, page by page.
    private static func listed(_ server: TestServer, _ path: String) async throws -> (sum: FixedDecimal, count: Int) {
        var (sum, count) = (FixedDecimal.zero, 0)
        var next: String? = path
        while let path = next {
            let page = try await server.operatorClient.get("\(path)&limit=4").expecting(200).json
            for event in page["data"]?.elements ?? [] {
                sum = try sum.adding(FixedDecimal(parsing: event["quantity"]?.string ?? ""))
                count += 1
            }
            let base = path.split(separator: "&cursor=")[0]
            next = page["next_cursor"]?.string.map { "\(base)&cursor=\($0)" }
        }
        return (sum, count)
    }

    @Test func theListedEventsAddUpToEveryLineWhateverComesLater() async throws {
        try await Self.run { server, id in
            for isLater in [false, true] {
                if isLater { try await Self.meddle(server) }
                let explained = try await server.ask("GET", "/invoices/\(id)/explain")
                var told: [String] = []
                for line in explained["lines"]?.elements ?? [] where line["feature"]?.string != nil {
                    let path = try #require(line["events"]?.string)
                    let (sum, count) = try await Self.listed(server, path)
                    let name = "\(line["feature"]?.string ?? "")\(line["cell"]?.text ?? "")"
                    #expect(sum.description == line["quantity"]?.string, "\(name)")
                    #expect(String(count) == line["event_count"]?.number, "\(name)")
                    told.append("\(name) \(sum)")
                }
                #expect(
                    told == [
                        "seconds{} 42", "calls{} 8", #"tokens{"model":"m0","token_class":"input"} 1800"#,
                        #"tokens{"model":"m0","token_class":"output"} 18"#,
                        #"tokens{"model":"m1","token_class":"input"} 800"#,
                        #"tokens{"model":"m1","token_class":"output"} 8"#,
                        #"tokens{"model":"m2","token_class":"input"} 1500"#,
                        #"tokens{"model":"m2","token_class":"output"} 15"#,
                    ]
                )
            }
        }
    }

    @Test func everyStepOfAPriceIsTold() async throws {
        try await Self.run { server, id in
            let explained = try await server.ask("GET", "/invoices/\(id)/explain")
            func text(_ feature: String) -> [String] {
                let line = explained["lines"]?.elements?.first { $0["feature"]?.string == feature }
                return (line?["text"]?.elements ?? []).compactMap(\.string)
            }
            #expect(
                text("seconds").prefix(5) == [
                    "42 units used in 8 events.", "Up to 10: 10 x 0 = 0.", "Above 10: 32 x 0.333 + 2 = 12.656.",
                    "Together: 0 + 12.656 = 12.656.", "12.656 rounds to 12.66 USD.",
                ]
            )
            #expect(
                text("calls").prefix(3) == [
                    "8 units used in 8 events.", "Packages begun: 4 x 0.25 = 1.", "1 rounds to 1.00 USD.",
                ]
            )
        }
    }

    /// The page, the file and the records say the same before and after, to the byte.
    @Test func whatComesLaterChangesNoByte() async throws {
        try await Self.run { server, id in
            let endings = [".html", ".pdf", ".csv", "/explain"]
            var before: [[UInt8]] = []
            for ending in endings {
                before.append(
                    try await server.operatorClient.get("/api/v1/invoices/\(id)\(ending)").expecting(200).body
                )
            }
            try SampleInvoice.keep(before[0], as: "closed.html")
            try SampleInvoice.keep(before[1], as: "closed.pdf")
            #expect(String(decoding: before[0], as: UTF8.self).contains("<strong>Turnpike Resale Ltd</strong>"))
            try await Self.meddle(server)
            try server.set("2027-01-05T00:00:00Z")
            try await Self.close(server, seller: "Successor Ltd")
            for (ending, bytes) in zip(endings, before) {
                let after = try await server.operatorClient.get("/api/v1/invoices/\(id)\(ending)").expecting(200).body
                #expect(after == bytes, "\(ending)")
            }
        }
    }

    /// A draft is shown as what it comes to now; finalised by hand it bears the seller of the service's own settings.
    @Test func aDraftIsShownAndFinalisingItPinsTheSeller() async throws {
        let seller = InvoiceSeller(name: "Turnpike Resale Ltd", lines: ["Dublin"])
        try await TestServer.run(clock: TestClock("2026-11-01T00:00:00Z"), configure: { $0.seller = seller }) {
            server in
            try await server.addTenant("acme")
            try await server.addFeature("seconds")
            try await server.publish(ClosingStory.plan)
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            try await server.ingest(SentEvent("1", data: #"{"seconds":7}"#))
            try await server.close(graceHours: 0)
            try server.set("2026-12-01T00:30:00Z")
            try await server.close(graceHours: 24)
            let found =
                try await server.column("SELECT invoice_id::text FROM invoice WHERE status = 'draft'").first ?? nil
            let path = "/api/v1/invoices/\(try #require(found))"
            let draft = try await server.operatorClient.get("\(path).html").expecting(200).text
            #expect(draft.contains("<h1>Draft invoice</h1>"))
            #expect(draft.contains("<td>7 unit</td><td>1</td><td></td><td>7.00</td>"))
            try await server.operatorClient.post("\(path)/finalize").expecting(200)
            let page = try await server.operatorClient.get("\(path).html").expecting(200).text
            #expect(page.contains("<h1>Invoice</h1>"))
            #expect(page.contains("<strong>Turnpike Resale Ltd</strong>"))
        }
    }

    /// The export has the opening, the regular and the next month's invoice with its adjustment, and adds up to them.
    @Test func theExportAddsUpToTheInvoices() async throws {
        try await Self.run { server, _ in
            try await Self.meddle(server)
            try server.set("2027-01-05T00:00:00Z")
            try await server.close()
            let answer = try await server.operatorClient.get("/api/v1/invoices/export?format=ndjson").expecting(200)
            let invoices = try answer.text.split(separator: "\n").map { try JSONValue(parsing: Array($0.utf8)) }
            let totals = try await server.column("SELECT round(sum(total), 2)::text FROM invoice_document").first ?? nil
            let sum = try invoices.reduce(FixedDecimal.zero) { sum, invoice in
                try sum.adding(FixedDecimal(parsing: invoice["total"]?.string ?? ""))
            }
            #expect(sum.text(minimumFractionalDigits: 2) == totals)
            let kinds = invoices.flatMap { $0["lines"]?.elements ?? [] }.compactMap { $0["kind"]?.string }
            #expect(Set(kinds).isSuperset(of: ["fee", "usage", "commitment", "adjustment"]))
        }
    }
}
