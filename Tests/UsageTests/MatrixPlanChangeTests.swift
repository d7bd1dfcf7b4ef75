import BillingCore
import Postgres
import TestSupport
import Testing
import Web

/// A change of plan within a period where matrices price a feature: each cell goes on from the same cell before.
@Suite struct MatrixPlanChangeTests {
    private static func arrange(_ server: TestServer) async throws -> String {
        try await server.addTenant("acme")
        let meter = """
            {"key":"tokens","event_type":"llm","aggregation":"sum","value":"output_tokens",
             "dimensions":{"model":"model"}}
            """
        try await server.ask("POST", "/meters", meter, expecting: 201)
        try await server.ask("POST", "/features", #"{"key":"tokens","meter":"tokens"}"#, expecting: 201)
        let small = """
            {"model":"matrix","dimensions":["model"],"cells":[
               {"match":{"model":"a"},"price":{"model":"graduated","tiers":[{"up_to":"10","unit_amount":"1"},
                  {"up_to":null,"unit_amount":"0.5","flat_amount":"3"}]}}],
             "default":{"model":"per_unit","unit_amount":"2"}}
            """
        let large = """
            {"model":"matrix","dimensions":["model"],"cells":[{"match":{"model":"a"},"price":{"model":"per_unit",
               "unit_amount":"4"}}],
             "default":{"model":"volume","tiers":[{"up_to":"10","unit_amount":"3"},{"up_to":null,"unit_amount":"1"}]}}
            """
        try await server.publish(#"{"charges":[{"feature":"tokens","price":\#(small)}]}"#)
        try await server.publish(#"{"charges":[{"feature":"tokens","price":\#(large)}]}"#, as: "max")
        let unit = #"{"model":"per_unit","unit_amount":"1"}"#
        try await server.publish(#"{"charges":[{"feature":"tokens","price":\#(unit)}]}"#, as: "unit")
        return try await server.subscribe(at: "2026-11-01T00:00:00Z")
    }

    private static func call(_ id: String, _ model: String, _ tokens: Int, at time: String? = nil) -> SentEvent {
        SentEvent(id, type: "llm", time: time, data: #"{"model":"\#(model)","output_tokens":\#(tokens)}"#)
    }

    /// Segment, cell, quantity and charge of each counter.
    private static func counters(_ server: TestServer) async throws -> [String] {
        try await server.column(
            """
            SELECT segment || coalesce((cell::json ->> 'model'), '') || ' ' || trim_scale(quantity) || ' = '
                || trim_scale(charge)
            FROM (
                SELECT period.segment, nullif(counter.cell, '') AS cell, counter.quantity, counter.charge
                FROM usage_counter AS counter
                JOIN billing_period AS period USING (tenant_id, billing_period_id)
            ) AS counter
            ORDER BY 1
            """
        ).compactMap { $0 }
    }

    @Test func eachCellContinuesOverTheChange() async throws {
        try await TestServer.run { server in
            let id = try await Self.arrange(server)
            let before = "2026-11-20T00:00:00Z"
            try await server.ingest(Self.call("1", "a", 8, at: before), Self.call("2", "b", 4, at: before))
            try await server.ask("POST", "/subscriptions/\(id)/change", #"{"plan":"max","at":"now"}"#)
            try await server.ingest(Self.call("3", "a", 5), Self.call("4", "b", 5))
            let changed = ["0 12 = 16", "0a 8 = 8", "0b 4 = 8", "1 10 = 35", "1a 5 = 20", "1b 5 = 15"]
            #expect(try await Self.counters(server) == changed)
            #expect(try await server.differences() == [])

            // What comes late for the segment before moves the volume of the one after, in its cell alone.
            try await server.ingest(Self.call("5", "b", 3, at: before))
            #expect(
                try await Self.counters(server) == [
                    "0 15 = 22", "0a 8 = 8", "0b 7 = 14", "1 10 = 11", "1a 5 = 20", "1b 5 = -9",
                ]
            )
            #expect(try await server.differences() == [])
            #expect(
                try await server.invoiced() == [
                    "tokens 8 = 8.00", "tokens 7 = 14.00", "tokens 5 = 20.00", "tokens 5 = -9.00",
                ]
            )
            _ = try await server.void("5")
            #expect(try await Self.counters(server) == changed)
            #expect(try await server.differences() == [])
        }
    }

    /// The pooled counter goes on whatever the version before had; a cell that it did not have starts at zero.
    @Test func aMatrixAndAnotherPriceFollowEachOther() async throws {
        try await TestServer.run { server in
            let id = try await Self.arrange(server)
            try await server.ingest(Self.call("1", "a", 12, at: "2026-11-20T00:00:00Z"))
            try await server.ask("POST", "/subscriptions/\(id)/change", #"{"plan":"unit","at":"now"}"#)
            try await server.ingest(Self.call("2", "a", 5), Self.call("3", "b", 1))
            #expect(try await Self.counters(server) == ["0 12 = 14", "0a 12 = 14", "1 6 = 6"])
            #expect(try await server.differences() == [])
            try await server.ingest(Self.call("4", "a", 2, at: "2026-11-20T00:00:00Z"))
            #expect(try await Self.counters(server) == ["0 14 = 15", "0a 14 = 15", "1 6 = 6"])
            #expect(try await server.differences() == [])
        }
    }
}
