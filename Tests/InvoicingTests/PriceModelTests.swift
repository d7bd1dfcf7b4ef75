import TestSupport
import Testing
import Web

/// Every price model from the plan's JSON to the invoice: read, counted, charged and shown.
@Suite struct PriceModelTests {
    private static let plan = """
        {"charges":[
          {"feature":"seat","price":{"model":"flat","amount":"30"}},
          {"feature":"calls","price":{"model":"per_unit","unit_amount":"0.5"}},
          {"feature":"graded","price":{"model":"graduated","tiers":[
             {"up_to":"10","unit_amount":"1"},{"up_to":null,"unit_amount":"0.5","flat_amount":"2"}]}},
          {"feature":"bulk","price":{"model":"volume","tiers":[
             {"up_to":"10","unit_amount":"1"},{"up_to":null,"unit_amount":"0.5","flat_amount":"2"}]}},
          {"feature":"steps","price":{"model":"stairstep","tiers":[
             {"up_to":"10","flat_amount":"20"},{"up_to":null,"flat_amount":"80"}]}},
          {"feature":"packs","price":{"model":"package","amount":"5","package_size":"10","free_units":"5"}},
          {"feature":"volume","price":{"model":"percentage","percent":"2.5","fixed_amount":"0.3","minimum":"5"}}]}
        """
    private static let features = ["seat", "calls", "graded", "bulk", "steps", "packs", "volume"]

    private static func arrange(_ server: TestServer, from start: String) async throws {
        try await server.addTenant("acme")
        for feature in features { try await server.addFeature(feature, of: feature) }
        try await server.publish(plan)
        try await server.subscribe(at: start)
    }

    @Test func eachModelChargesItsOwnWay() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server, from: "2026-11-01T00:00:00Z")
            #expect(
                try await server.invoiced() == [
                    "seat 0 = 30.00", "calls 0 = 0.00", "graded 0 = 0.00", "bulk 0 = 0.00", "steps 0 = 0.00",
                    "packs 0 = 0.00", "volume 0 = 0.00",
                ]
            )
            for id in ["1", "2"] {
                try await server.ingest(
                    SentEvent(id, data: #"{"calls":5,"graded":6,"bulk":6,"steps":5,"packs":8,"volume":100,"seat":1}"#)
                )
            }
            #expect(
                try await server.invoiced() == [
                    "seat 2 = 30.00", "calls 10 = 5.00", "graded 12 = 13.00", "bulk 12 = 8.00", "steps 10 = 20.00",
                    "packs 16 = 10.00", "volume 200 = 5.60",
                ]
            )
            _ = try await server.void("2")
            #expect(
                try await server.invoiced() == [
                    "seat 1 = 30.00", "calls 5 = 2.50", "graded 6 = 6.00", "bulk 6 = 6.00", "steps 5 = 20.00",
                    "packs 8 = 5.00", "volume 100 = 5.00",
                ]
            )
            #expect(try await server.differences() == [])
        }
    }

    @Test func theLineSaysHowItsAmountComesAbout() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server, from: "2026-11-01T00:00:00Z")
            try await server.ingest(SentEvent("1", data: #"{"bulk":12,"packs":16,"volume":100}"#))
            let invoice = try await server.ask("GET", "/tenants/acme/upcoming-invoice")
            let lines = (invoice["lines"]?.elements ?? []).map { line in
                let parts = (line["tiers"]?.elements ?? []).map { part in
                    ["basis", "quantity", "amount"].map { part[$0]?.string ?? "?" }.joined(separator: " ")
                }
                return "\(line["price_model"]?.string ?? "?"): " + parts.joined(separator: ", ")
            }
            #expect(
                lines == [
                    "flat: flat 0 30", "per_unit: ", "graduated: ", "volume: tier 12 8", "stairstep: ",
                    "package: packages 2 10", "percentage: percent 100 2.5, events 1 0.3, minimum 0 2.2",
                ]
            )
        }
    }

    /// The subscription ends after 24 of its first period's 30 days.
    @Test func aFlatPriceIsProratedLikeAFee() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server, from: "2026-11-01T00:00:00Z")
            let list = try await server.ask("GET", "/subscriptions")
            let id = try #require(list["data"]?[0]?["id"]?.string)
            try await server.ask("POST", "/subscriptions/\(id)/cancel", #"{"at":"2026-11-25T00:00:00Z"}"#)
            let invoice = try await server.ask("GET", "/tenants/acme/upcoming-invoice")
            let flat = invoice["lines"]?[0]
            #expect(flat?["amount"]?.string == "24.00")
            #expect(flat?["tiers"]?[0]?["amount"]?.string == "24")
            #expect(flat?["tiers"]?[0]?["flat_amount"]?.string == "30")
        }
    }
}
