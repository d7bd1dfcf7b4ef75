import TestSupport
import Testing
import Web

/// `GET /tenants/{key}/upcoming-invoice`.
@Suite struct UpcomingInvoiceTests {
    private static let path = "/tenants/acme/upcoming-invoice"

    private static func arrange(_ server: TestServer, currency: String = "USD", _ version: String) async throws {
        try await server.addTenant("acme", currency: currency, zone: "Europe/Berlin")
        for key in ["seconds", "bytes"] { try await server.addFeature(key, of: key) }
        try await server.publish(version, currency: currency)
        try await server.subscribe(at: "2026-11-10T12:00:00Z")
    }

    private static func perUnit(_ feature: String, _ amount: String) -> String {
        #"{"feature":"\#(feature)","price":{"model":"per_unit","unit_amount":"\#(amount)"}}"#
    }

    private static func lines(_ server: TestServer) async throws -> [String] {
        let invoice = try await server.ask("GET", path)
        return (invoice["lines"]?.elements ?? []).map { line in
            let name = line["fee"]?.string ?? line["feature"]?.string ?? "?"
            return "\(name) \(line["amount"]?.string ?? "?") of \(line["amount_unrounded"]?.string ?? "?")"
        }
    }

    @Test func theInvoiceHasTheShapeOfTheContract() async throws {
        try await TestServer.run { server in
            try await Self.arrange(
                server,
                """
                {"fees":[{"key":"platform","name":"Platform fee","amount":"20.00","charged":"in_advance"},
                         {"key":"support","name":"Support","amount":"5","charged":"in_arrears"}],
                 "charges":[{"feature":"seconds","price":{"model":"graduated","tiers":[
                   {"up_to":"10","unit_amount":"0"},{"up_to":"20","unit_amount":"0.1","flat_amount":"1"},
                   {"up_to":null,"unit_amount":"0.0333"}]}}]}
                """
            )
            try await server.ingest(SentEvent("1", data: #"{"seconds":20.5,"bytes":7}"#))
            let invoice = try await server.ask("GET", Self.path)
            let subscription = try #require(invoice["subscription"]?.string)
            #expect(invoice["id"]?.isNull == true && invoice["number"]?.isNull == true)
            #expect(invoice["status"]?.string == "draft" && invoice["invoice_kind"]?.string == "regular")
            #expect(invoice["tenant"]?.string == "acme" && invoice["plan"]?.string == "pro")
            #expect(!subscription.isEmpty)
            #expect(invoice["timezone"]?.string == "Europe/Berlin")
            let lines = invoice["lines"]?.elements ?? []
            #expect(
                lines.map { $0["description"]?.string } == [
                    "Support (10 Nov - 10 Dec)", "Platform fee (10 Dec - 10 Jan)", "seconds (10 Nov - 10 Dec)",
                ]
            )
            #expect(lines.map { $0["amount"]?.string } == ["5.00", "20.00", "2.02"])
            #expect(lines.map { $0["period"]?["start"]?.string } == Self.starts)
            #expect(lines.last?["amount_unrounded"]?.string == "2.016650000000")
            #expect(
                lines.last?["tiers"]?.text == """
                    [{"amount":"0","basis":"tier","flat_amount":"0","quantity":"10","unit_amount":"0","up_to":"10"},\
                    {"amount":"2","basis":"tier","flat_amount":"1","quantity":"10","unit_amount":"0.1","up_to":"20"},\
                    {"amount":"0.01665","basis":"tier","flat_amount":"0","quantity":"0.5","unit_amount":"0.0333",\
                    "up_to":null}]
                    """
            )
            #expect(invoice["subtotal"]?.string == "27.02" && invoice["amount_due"]?.string == "27.02")
            #expect(invoice["unpriced"]?[0]?["feature"]?.string == "bytes")
        }
    }

    private static let starts: [String?] = [
        "2026-11-10T12:00:00.000000Z", "2026-12-10T12:00:00.000000Z", "2026-11-10T12:00:00.000000Z",
    ]

    @Test func tiersAreChargedToTheCent() async throws {
        try await TestServer.run { server in
            try await Self.arrange(
                server,
                """
                {"charges":[{"feature":"seconds","price":{"model":"graduated","tiers":[
                   {"up_to":"1000000","unit_amount":"0"},
                   {"up_to":null,"unit_amount":"0.000002","flat_amount":"0.5"}]}}]}
                """
            )
            func send(_ id: String, _ seconds: String) async throws -> [String] {
                try await server.ingest(SentEvent(id, data: #"{"seconds":"\#(seconds)"}"#))
                return try await Self.lines(server)
            }
            #expect(try await send("1", "1000000") == ["seconds 0.00 of 0.000000000000"])
            #expect(try await send("2", "0.000000000001") == ["seconds 0.50 of 0.500000000000"])
            #expect(try await send("3", "2499.999999999999") == ["seconds 0.51 of 0.505000000000"])
            #expect(try await send("4", "2499") == ["seconds 0.51 of 0.509998000000"])
            #expect(try await send("5", "999995001") == ["seconds 2000.50 of 2000.500000000000"])
        }
    }

    @Test(arguments: [
        ("JPY", ["seconds 3 of 2.500000000000", "bytes 0 of 0.490000000000"], "3"),
        ("USD", ["seconds 2.50 of 2.500000000000", "bytes 0.49 of 0.490000000000"], "2.99"),
        ("KWD", ["seconds 2.500 of 2.500000000000", "bytes 0.490 of 0.490000000000"], "2.990"),
    ])
    func amountsAreRoundedToTheMinorUnit(_ currency: String, _ lines: [String], _ total: String) async throws {
        try await TestServer.run { server in
            let charges = [Self.perUnit("seconds", "0.5"), Self.perUnit("bytes", "0.07")].joined(separator: ",")
            try await Self.arrange(server, currency: currency, #"{"charges":[\#(charges)]}"#)
            try await server.ingest(SentEvent("1", data: #"{"seconds":5,"bytes":7}"#))
            #expect(try await Self.lines(server) == lines)
            #expect(try await server.ask("GET", Self.path)["total"]?.string == total)
        }
    }

    @Test func theTotalIsTheSumOfRoundedLines() async throws {
        try await TestServer.run { server in
            let charges = [Self.perUnit("seconds", "0.005"), Self.perUnit("bytes", "0.004")].joined(separator: ",")
            try await Self.arrange(server, #"{"charges":[\#(charges)]}"#)
            try await server.ingest(SentEvent("1", data: #"{"seconds":1,"bytes":1}"#))
            #expect(
                try await Self.lines(server) == ["seconds 0.01 of 0.005000000000", "bytes 0.00 of 0.004000000000"]
            )
            #expect(try await server.ask("GET", Self.path)["total"]?.string == "0.01")
        }
    }

    @Test func usageOfThePeriodThatEndedIsNotOnIt() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server, #"{"charges":[\#(Self.perUnit("seconds", "1"))]}"#)
            try await server.ingest(SentEvent("1"))
            server.clock.advance(seconds: 30 * 86_400)
            try await server.ingest(SentEvent("2", data: #"{"seconds":2}"#))
            try await server.ingest(SentEvent("3", time: "2026-12-10T11:59:59.999999Z", data: #"{"seconds":4}"#))
            try await server.ingest(SentEvent("4", time: "2026-12-10T12:00:00Z", data: #"{"seconds":8}"#))
            #expect(try await server.invoiced() == ["seconds 10 = 10.00"])
            let period = try await server.ask("GET", Self.path)["period"]
            #expect(period?["start"]?.string == "2026-12-10T12:00:00.000000Z")
            #expect(try await server.differences() == [])
        }
    }

    @Test func aSubscriptionThatEndsHasNoFeesAfterItsEnd() async throws {
        try await TestServer.run { server in
            try await Self.arrange(
                server,
                """
                {"fees":[{"key":"platform","amount":"31","charged":"in_advance"},
                         {"key":"late","amount":"30","charged":"in_arrears"}]}
                """
            )
            let id = try await server.ask("GET", "/subscriptions")["data"]?[0]?["id"]?.string ?? ""
            try await server.ask("POST", "/subscriptions/\(id)/cancel", #"{"at":"2026-11-25T12:00:00Z"}"#)
            #expect(try await Self.lines(server) == ["late 15.00 of 15.000000000000"])
        }
    }

    @Test func withoutASubscriptionThereIsNone() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            let answer = try await server.operatorClient.get("/api/v1\(Self.path)")
            #expect(answer.status == 404)
            #expect(answer.code == "subscription_not_found")
            let absent = try await server.operatorClient.get("/api/v1/tenants/none/upcoming-invoice")
            #expect(absent.code == "tenant_not_found")
        }
    }
}
