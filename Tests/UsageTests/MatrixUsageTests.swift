import BillingCore
import Foundation
import Postgres
import TestSupport
import Testing
import Web

/// A feature that is priced by a matrix: its cells are counted beside the pooled counter, and charged one by one.
@Suite struct MatrixUsageTests {
    private static let matrix = """
        {"model":"matrix","dimensions":["model","token_class"],"cells":[
          {"match":{"model":"gpt-4o","token_class":"output"},"price":{"model":"per_unit","unit_amount":"0.5"}},
          {"match":{"model":"gpt-4o","token_class":"input"},"price":{"model":"graduated","tiers":[
             {"up_to":"10","unit_amount":"0"},{"up_to":null,"unit_amount":"1","flat_amount":"3"}]}}],
         "default":{"model":"package","amount":"7","package_size":"100"}}
        """

    private static func arrange(_ server: TestServer, price: String = matrix, filters: String = "[]") async throws {
        try await server.addTenant("acme")
        let meter = """
            {"key":"tokens","event_type":"llm","aggregation":"sum","class_dimension":"token_class",
             "value":{"input":"input_tokens","output":"output_tokens"},"dimensions":{"model":"model"}}
            """
        try await server.ask("POST", "/meters", meter, expecting: 201)
        let feature = #"{"key":"tokens","meter":"tokens","unit":"token","filters":\#(filters)}"#
        try await server.ask("POST", "/features", feature, expecting: 201)
        try await server.publish(#"{"charges":[{"feature":"tokens","price":\#(price)}]}"#)
    }

    private static func call(_ id: String, _ model: String?, input: Int, output: Int, time: String? = nil) -> SentEvent
    {
        let name = model.map { #""model":"\#($0)","# } ?? ""
        let data = #"{\#(name)"input_tokens":\#(input),"output_tokens":\#(output)}"#
        return SentEvent(id, type: "llm", time: time, data: data)
    }

    /// Cell, quantity, events and charge of every counter: `{"model":"o3",...} 5 of 1 = 7`; the pooled one first.
    private static func counters(_ server: TestServer) async throws -> [String] {
        try await server.column(
            """
            SELECT trim(cell || ' ' || trim_scale(quantity) || ' of ' || event_count || ' = ' || trim_scale(charge))
            FROM usage_counter
            WHERE tenant_id > 0
            ORDER BY billing_period_id, cell COLLATE "C"
            """
        ).compactMap { $0 }
    }

    private static func cell(_ model: String, _ tokenClass: String) -> String {
        #"{"model":"\#(model)","token_class":"\#(tokenClass)"}"#
    }

    @Test func anEventIsSplitOverTheCellsOfItsClasses() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            let report = try await server.ingest(
                Self.call("1", "gpt-4o", input: 8, output: 3),
                Self.call("2", "gpt-4o", input: 4, output: 0),
                Self.call("3", "o3", input: 100, output: 1),
                Self.call("4", nil, input: 0, output: 5)
            )
            #expect(report == "accepted 4")
            #expect(
                try await Self.counters(server) == [
                    "121 of 4 = 27.5", "\(Self.cell("", "output")) 5 of 1 = 7",
                    "\(Self.cell("gpt-4o", "input")) 12 of 2 = 5", "\(Self.cell("gpt-4o", "output")) 3 of 1 = 1.5",
                    "\(Self.cell("o3", "input")) 100 of 1 = 7", "\(Self.cell("o3", "output")) 1 of 1 = 7",
                ]
            )
            // Later flushes continue each cell's own tiers and packages.
            try await server.ingest(
                Self.call("5", "o3", input: 1, output: 99),
                Self.call("6", "gpt-4o", input: 1, output: 0)
            )
            #expect(
                try await Self.counters(server) == [
                    "222 of 6 = 35.5", "\(Self.cell("", "output")) 5 of 1 = 7",
                    "\(Self.cell("gpt-4o", "input")) 13 of 3 = 6", "\(Self.cell("gpt-4o", "output")) 3 of 1 = 1.5",
                    "\(Self.cell("o3", "input")) 101 of 2 = 14", "\(Self.cell("o3", "output")) 100 of 2 = 7",
                ]
            )
            #expect(try await server.differences() == [])
        }
    }

    @Test func aVoidGivesEachCellBackWhatItHad() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            try await server.ingest(
                Self.call("1", "gpt-4o", input: 10, output: 2),
                Self.call("2", "gpt-4o", input: 5, output: 0),
                Self.call("3", "o3", input: 0, output: 7)
            )
            _ = try await server.void("2")
            _ = try await server.void("3")
            #expect(
                try await Self.counters(server) == [
                    "12 of 1 = 1", "\(Self.cell("gpt-4o", "input")) 10 of 1 = 0",
                    "\(Self.cell("gpt-4o", "output")) 2 of 1 = 1", "\(Self.cell("o3", "output")) 0 of 0 = 0",
                ]
            )
            #expect(try await server.differences() == [])
        }
    }

    @Test func usageBeforeTheSubscriptionIsRatedByCellToo() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            try await server.ingest(
                Self.call("1", "gpt-4o", input: 11, output: 2, time: "2026-11-22T00:00:00Z"),
                Self.call("2", "o3", input: 0, output: 101, time: "2026-11-22T00:00:00Z"),
                Self.call("3", "o3", input: 0, output: 1, time: "2026-11-22T00:00:00Z")
            )
            _ = try await server.void("3")
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            let rated = [
                "114 of 2 = 19", "\(Self.cell("gpt-4o", "input")) 11 of 1 = 4",
                "\(Self.cell("gpt-4o", "output")) 2 of 1 = 1", "\(Self.cell("o3", "output")) 101 of 1 = 14",
            ]
            #expect(try await Self.counters(server) == rated)
            #expect(try await server.differences() == [])
        }
    }

    @Test func theInvoiceHasALineForEachCell() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            #expect(try await server.invoiced() == [])
            try await server.ingest(
                Self.call("1", "gpt-4o", input: 11, output: 3),
                Self.call("2", "o3", input: 0, output: 101)
            )
            let invoice = try await server.ask("GET", "/tenants/acme/upcoming-invoice")
            let lines = try #require(invoice["lines"]?.elements)
            let shown = lines.map { line in
                let parts = [line["cell"]?.text, line["price_model"]?.string, line["amount"]?.string]
                return parts.map { $0 ?? "?" }.joined(separator: " ")
            }
            #expect(
                shown == [
                    "\(Self.cell("gpt-4o", "input")) graduated 4.00", "\(Self.cell("gpt-4o", "output")) per_unit 1.50",
                    "\(Self.cell("o3", "output")) package 14.00",
                ]
            )
            #expect(invoice["total"]?.string == "19.50")
            #expect(lines.last?["tiers"]?[0]?["basis"]?.string == "packages")
        }
    }

    @Test func theEventsBehindACellAreListedWithTheirPartOfIt() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            try await server.ingest(
                Self.call("1", "gpt-4o", input: 8, output: 3, time: "2026-11-22T00:00:01Z"),
                Self.call("2", "gpt-4o", input: 4, output: 0, time: "2026-11-22T00:00:02Z"),
                Self.call("3", "o3", input: 100, output: 1, time: "2026-11-22T00:00:03Z")
            )
            let path = "/events?tenant=acme&feature=tokens&cell="
            for (cell, events) in [
                (#"{"model":"gpt-4o","token_class":"input"}"#, ["2 4", "1 8"]),
                (#"{"token_class":"output","model":"gpt-4o"}"#, ["1 3"]), (#"{"model":"o3"}"#, ["3 101"]),
                (#"{"model":"o4"}"#, []),
            ] {
                let encoded = cell.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? ""
                let list = try await server.ask("GET", path + encoded)
                let shown = (list["data"]?.elements ?? []).map { event in
                    "\(event["id"]?.string ?? "?") \(event["quantity"]?.string ?? "-")"
                }
                #expect(shown == events)
            }
            for query in [
                "feature=tokens&cell=x", "feature=tokens&cell=%7B%22a%22%3A1%7D", "cell=%7B%22a%22%3A%22b%22%7D",
            ] {
                let refused = try await server.operatorClient.get("/api/v1/events?tenant=acme&\(query)")
                #expect(refused.status == 400)
                #expect(refused.pointers == ["?cell"])
            }
        }
    }

    /// `verify` judges each cell, and the pooled charge by their sum.
    @Test func verifyFindsWhatIsWrongInACell() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            try await server.ingest(Self.call("1", "gpt-4o", input: 11, output: 3))
            try await server.database.run("UPDATE usage_counter SET charge = 9 WHERE cell LIKE '%input%'")
            try await server.database.run("UPDATE usage_counter SET charge = 2 WHERE cell = ''")
            try await server.database.run("DELETE FROM usage_counter WHERE cell LIKE '%output%'")
            let (input, output) = (Self.cell("gpt-4o", "input"), Self.cell("gpt-4o", "output"))
            let found = try await server.differences()
            #expect(
                found == [
                    "tenant acme: counter tokens, period 1: charge is 2, its events give 5.5",
                    "tenant acme: counter tokens, period 1, cell \(input): charge is 9, its events give 4",
                    "tenant acme: counter tokens, period 1, cell \(output): quantity is 0, its events give 3",
                    "tenant acme: counter tokens, period 1, cell \(output): event count is 0, its events give 1",
                    "tenant acme: counter tokens, period 1, cell \(output): events without a cost is 0, its events "
                        + "give 1",
                    "tenant acme: counter tokens, period 1, cell \(output): quantity without a cost is 0, its events "
                        + "give 3",
                    "tenant acme: counter tokens, period 1, cell \(output): charge is 0, its events give 1.5",
                ]
            )
        }
    }

    /// The filter lets the other spelling of the same letter through, which no cell lists: it is counted, reported and
    /// charged nothing, but never in silence.
    @Test func aCombinationWithoutAPriceIsUnpriced() async throws {
        try await TestServer.run { server in
            let price = """
                {"model":"matrix","dimensions":["model"],"cells":[
                  {"match":{"model":"caf\u{e9}"},"price":{"model":"per_unit","unit_amount":"1"}}]}
                """
            let filters = #"[{"dimension":"model","in":["caf\#u{e9}"]}]"#
            try await Self.arrange(server, price: price, filters: filters)
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            let report = try await server.ingest(
                Self.call("1", "caf\u{e9}", input: 2, output: 0),
                Self.call("2", "cafe\u{301}", input: 5, output: 0)
            )
            #expect(report == "accepted 2, unpriced 1")
            #expect(
                try await Self.counters(server) == [
                    "7 of 2 = 2", #"{"model":"caf\u00e9"} 2 of 1 = 2"#, #"{"model":"cafe\u0301"} 5 of 1 = 0"#,
                ]
            )
            let unpriced = try await server.ask("GET", "/tenants/acme/upcoming-invoice")["unpriced"]
            #expect(unpriced?.elements?.count == 1)
            #expect(unpriced?[0]?["quantity"]?.string == "5")
            #expect(try await server.differences() == [])
        }
    }

    @Test func longValuesAreToldApartAndFitTheIndex() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            let long = String(repeating: "m", count: 190)
            let (one, other) = (
                long + String(repeating: "\u{1F600}", count: 2), long + "x" + String(repeating: "y", count: 9)
            )
            let report = try await server.ingest(
                Self.call("1", one, input: 1, output: 0),
                Self.call("2", other, input: 1, output: 0),
                Self.call("3", other + "z", input: 1, output: 0)
            )
            #expect(report == "accepted 3")
            let counters = try await Self.counters(server)
            #expect(counters.first == "3 of 3 = 21")
            #expect(counters.count == 4)
            #expect(counters.contains("\(Self.cell(other, "input")) 1 of 1 = 7"), "200 bytes are shown whole")
            #expect(counters.allSatisfy { $0.utf8.count < 300 })
            #expect(try await server.differences() == [])
        }
    }
}
