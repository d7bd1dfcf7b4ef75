import BillingCore
import TestSupport
import Testing
import Web

/// A month of a company that resells AI APIs: two customers on one plan, usage through gateways, reads by portals.
@Suite(.timeLimit(.minutes(15)))
struct ResellerMonthTests {
    @Test("given two customers on one plan, when a month of usage arrives, then each invoice is exact to the cent")
    func aMonthAddsUp() async throws {
        try await TestServer.run(clock: TestClock("2026-03-01T12:00:00Z")) { server in
            // Given
            try await Self.makeCatalogue(server.operatorClient)
            let gateway = try await server.client([.eventsWrite])
            let north = try await server.client([.quotasRead, .invoicesRead], tenant: "north")
            let south = try await server.client([.quotasRead, .invoicesRead], tenant: "south")

            // When
            try await Self.reportUsage(gateway, server.clock)
            try await server.operatorClient.post(
                "/api/v1/events/void",
                #"{"source": "gw-2", "id": "image-13", "tenant": "north", "reason": "the provider failed"}"#
            ).expecting(200)

            // Then
            try await Self.expectMarch(north, south)
            try await Self.expectPortalsStayAtHome(north, gateway)

            // And when the month is over in Berlin, the next period begins with what came after its end.
            server.clock.set(try Instant(parsing: "2026-03-31T22:00:01Z"))
            let april = try await north.get("/api/v1/tenants/north/upcoming-invoice").decoded(UpcomingInvoice.self)
            #expect(april.period == .init(start: "2026-03-31T22:00:00.000000Z", end: "2026-04-30T22:00:00.000000Z"))
            #expect(april.lines.first { $0.feature == "chat-tokens" }?.quantity == "7")
            try await Self.expectQuota(north, "north", used: "7", remaining: "5999993")
        }
    }

    // MARK: - Given

    private static func makeCatalogue(_ client: TestClient) async throws {
        for (path, body) in catalogue { try await client.post(path, body).expecting(201) }
        try await client.post("/api/v1/plans/reseller/versions/1/publish").expecting(200)
        for (tenant, start) in [("north", "2026-03-01T00:00:00+01:00"), ("south", "2026-03-11T00:00:00Z")] {
            let subscription = #"{"tenant": "\#(tenant)", "plan": "reseller", "version": 1, "starts_at": "\#(start)"}"#
            try await client.post("/api/v1/subscriptions", subscription).expecting(201)
        }
    }

    private static let catalogue = [
        (
            "/api/v1/tenants",
            """
            {"key": "north", "name": "North GmbH", "currency": "USD", "timezone": "Europe/Berlin",
             "subjects": ["org_n"]}
            """
        ),
        ("/api/v1/tenants", #"{"key": "south", "name": "South Inc", "currency": "USD"}"#),
        (
            "/api/v1/meters",
            """
            {"key": "llm-tokens", "event_type": "llm.completion", "aggregation": "sum",
             "value": {"uncached_input": "uncached_input_tokens", "cached_input": "cached_input_tokens",
                       "cache_write": "cache_write_tokens", "output": "output_tokens"},
             "class_dimension": "token_class", "dimensions": {"model": "model"}}
            """
        ),
        ("/api/v1/meters", #"{"key": "images", "event_type": "image.made", "aggregation": "count"}"#),
        ("/api/v1/features", #"{"key": "chat-tokens", "name": "Chat tokens", "meter": "llm-tokens", "unit": "token"}"#),
        (
            "/api/v1/features",
            """
            {"key": "premium-output", "name": "Premium output", "meter": "llm-tokens", "unit": "token",
             "filters": [{"dimension": "token_class", "in": ["output"]}, {"dimension": "model", "in": ["gpt-4o"]}]}
            """
        ),
        ("/api/v1/features", #"{"key": "images", "name": "Images", "meter": "images", "unit": "image"}"#),
        ("/api/v1/plans", #"{"key": "reseller", "name": "Reseller", "currency": "USD"}"#),
        (
            "/api/v1/plans/reseller/versions",
            """
            {"interval": "month",
             "fees": [{"key": "platform", "name": "Platform", "amount": "49.00", "charged": "in_advance"},
                      {"key": "support", "name": "Support", "amount": "10.00", "charged": "in_arrears"}],
             "charges": [
               {"feature": "chat-tokens", "price": {"model": "graduated", "tiers": [
                 {"up_to": "1000000", "unit_amount": "0"},
                 {"up_to": "5000000", "unit_amount": "0.000002"},
                 {"up_to": null, "unit_amount": "0.000001", "flat_amount": "1.50"}]}},
               {"feature": "premium-output", "price": {"model": "per_unit", "unit_amount": "0.00003"}},
               {"feature": "images", "price": {"model": "per_unit", "unit_amount": "0.04"}}],
             "quotas": [{"feature": "chat-tokens", "limit": "6000000", "window": "billing_period", "mode": "hard",
                         "overage": "denied"}]}
            """
        ),
    ]

    // MARK: - When

    private static func reportUsage(_ gateway: TestClient, _ clock: TestClock) async throws {
        func completion(
            _ id: String,
            _ subject: String,
            _ time: String,
            _ model: String,
            _ input: Int,
            _ output: Int
        ) -> String {
            """
            {"specversion": "1.0", "id": "\(id)", "source": "gw-1", "type": "llm.completion", "subject": "\(subject)",
             "time": "\(time)", "data": {"model": "\(model)", "prompt_tokens": \(input), "completion_tokens": \(output),
             "prompt_tokens_details": {"cached_tokens": \(input / 10)}}}
            """
        }
        func image(_ id: Int, _ subject: String, _ time: String) -> String {
            """
            {"id": "image-\(id)", "source": "gw-2", "type": "image.made", "subject": "\(subject)", "time": "\(time)"}
            """
        }
        func post(at now: String, _ events: [String], accepted: Int, duplicates: Int = 0) async throws {
            clock.set(try Instant(parsing: now))
            let report = try await gateway.post("/api/v1/events", "[\(events.joined(separator: ","))]").expecting(200)
            #expect(report.json["accepted"]?.number == "\(accepted)", "\(report)")
            #expect(report.json["duplicates"]?.number == "\(duplicates)", "\(report)")
        }
        let first = completion("c-1", "org_n", "2026-03-02T10:00:00+01:00", "gpt-4o", 600_000, 200_000)
        // South is a customer from the 11th on; what it used before is kept and is on no invoice.
        let early = completion("c-2", "south", "2026-03-05T10:00:00Z", "gpt-4o", 5_000, 5_000)
        try await post(at: "2026-03-05T12:00:00Z", [first, early], accepted: 2)
        let second = completion("c-3", "org_n", "2026-03-15T23:30:00+01:00", "gpt-4o-mini", 2_000_000, 300_000)
        let images = (1...13).map { image($0, "north", "2026-03-16T08:00:00Z") }
        try await post(at: "2026-03-16T09:00:00Z", [second] + images, accepted: 14)
        // The gateway missed the answer and sends everything again, and more.
        let souths = (14...20).map { image($0, "south", "2026-03-17T08:00:00Z") }
        let flat = completion("c-4", "south", "2026-03-17T08:00:00Z", "gpt-4o-mini", 900_000, 99_999)
        try await post(at: "2026-03-17T09:00:00Z", [second] + images + souths + [flat], accepted: 8, duplicates: 14)
        // The clocks went forward on the 29th: midnight in Berlin is at 22:00 UTC. One event before it, one after.
        let last = completion("c-5", "north", "2026-03-31T23:59:59.999999+02:00", "gpt-4o", 1_900_000, 500_123)
        let next = completion("c-6", "north", "2026-04-01T00:00:00+02:00", "gpt-4o-mini", 3, 4)
        try await post(at: "2026-03-31T21:59:59.999999Z", [last, next], accepted: 2)
    }

    // MARK: - Then

    private struct UpcomingInvoice: Decodable {
        struct Period: Decodable, Equatable {
            let start: String
            let end: String
        }
        struct Line: Decodable {
            let kind: String
            let fee: String?
            let feature: String?
            let quantity: String?
            let amount: String
            let amountUnrounded: String

            var summary: String { "\(fee ?? feature ?? "") \(quantity ?? "-") \(amount) \(amountUnrounded)" }
        }
        let period: Period
        let lines: [Line]
        let total: String
    }

    private static func expectMarch(_ north: TestClient, _ south: TestClient) async throws {
        let northern = try await north.get("/api/v1/tenants/north/upcoming-invoice").decoded(UpcomingInvoice.self)
        #expect(northern.period == .init(start: "2026-02-28T23:00:00.000000Z", end: "2026-03-31T22:00:00.000000Z"))
        // Chat tokens: 800,000 + 2,300,000 + 2,400,123 = 5,500,123. The first million is free, four million at 0.000002
        // make 8.00, entering the last tier costs 1.50, and 500,123 at 0.000001 make 0.500123: 10.000123.
        // Premium output: 200,000 + 500,123 = 700,123 at 0.00003 = 21.00369.
        // Images: 13 made, one taken back, 12 at 0.04 = 0.48.
        #expect(
            northern.lines.map(\.summary) == [
                "support - 10.00 10.000000000000",
                "platform - 49.00 49.000000000000",
                "chat-tokens 5500123 10.00 10.000123000000",
                "premium-output 700123 21.00 21.003690000000",
                "images 12 0.48 0.480000000000",
            ]
        )
        // 10.00 + 49.00 + 10.00 + 21.00 + 0.48.
        #expect(northern.total == "90.48")
        try await expectQuota(north, "north", used: "5500123", remaining: "499877")

        let southern = try await south.get("/api/v1/tenants/south/upcoming-invoice").decoded(UpcomingInvoice.self)
        #expect(southern.period == .init(start: "2026-03-11T00:00:00.000000Z", end: "2026-04-11T00:00:00.000000Z"))
        // 999,999 tokens are within the free million; 7 images at 0.04 = 0.28; 10.00 + 49.00 + 0.28.
        let usage = southern.lines.filter { $0.kind == "usage" && $0.amount != "0.00" }.map(\.summary)
        #expect(usage == ["images 7 0.28 0.280000000000"])
        #expect(southern.total == "59.28")
        try await expectQuota(south, "south", used: "999999", remaining: "5000001")
    }

    private static func expectQuota(
        _ portal: TestClient,
        _ tenant: String,
        used: String,
        remaining: String
    ) async throws {
        // A quota of a subscription that starts later comes into force by a worker, within a second or so.
        let path = "/api/v1/tenants/\(tenant)/quotas/chat-tokens"
        let isInForce = try await eventually { try await portal.get(path).status == 200 }
        #expect(isInForce)
        let quota = try await portal.get(path).expecting(200).json
        #expect(quota["limit"]?.string == "6000000")
        #expect(quota["used"]?.string == used)
        #expect(quota["remaining"]?.string == remaining)
    }

    private static func expectPortalsStayAtHome(_ portal: TestClient, _ gateway: TestClient) async throws {
        #expect(try await portal.get("/api/v1/tenants/south/upcoming-invoice").status == 404)
        #expect(try await portal.post("/api/v1/events", "[]").status == 403)
        #expect(try await gateway.get("/api/v1/tenants/north/upcoming-invoice").status == 403)
    }
}
