import BillingCore
import Postgres
import TestSupport
import Testing
import Web

/// Changes of plan in months of other lengths, over a change to daylight saving time, under a matrix, and taken back.
@Suite struct PlanChangePeriodTests {
    private static func arrange(_ server: TestServer, start: String, zone: String = "UTC") async throws -> String {
        try await server.addTenant("acme", zone: zone)
        try await server.addFeature("seconds")
        for (plan, fee, unit) in [("pro", "31", "1"), ("max", "62", "2")] {
            try await server.publish(
                """
                {"fees":[{"key":"base","name":"Base","amount":"\(fee)","charged":"in_arrears"}],
                 "charges":[{"feature":"seconds","price":{"model":"per_unit","unit_amount":"\(unit)"}}]}
                """,
                as: plan
            )
        }
        return try await server.subscribe(at: start)
    }

    private static func fractions(_ preview: JSONValue) -> [String] {
        (preview["period"]?["segments"]?.elements ?? []).map { part in
            let fraction = part["fraction"]
            return "\(fraction?["numerator"]?.number ?? "?")/\(fraction?["denominator"]?.number ?? "?")"
        }
    }

    private static func fees(_ invoice: JSONValue?) -> [String] {
        (invoice?["lines"]?.elements ?? []).compactMap { line in
            line["fee"] == nil ? nil : line["amount"]?.string
        }
    }

    @Test func anAnchorOnThe31stIsSplitWhereTheMonthIsShort() async throws {
        try await TestServer.run(clock: TestClock("2026-03-07T00:00:00Z")) { server in
            let id = try await Self.arrange(server, start: "2026-01-31T00:00:00Z")
            // The period is 28 February to 31 March, of 31 days, 7 of which have passed.
            let preview = try await server.ask(
                "POST",
                "/subscriptions/\(id)/change",
                #"{"plan":"max","dry_run":true}"#
            )
            #expect(preview["period"]?["start"]?.string == "2026-02-28T00:00:00.000000Z")
            #expect(Self.fractions(preview) == ["7/31", "24/31"])
            #expect(Self.fees(preview["upcoming_invoice"]?["before"]) == ["31.00"])
            #expect(Self.fees(preview["upcoming_invoice"]?["after"]) == ["7.00", "48.00"])
            let atEnd = try await server.ask(
                "POST",
                "/subscriptions/\(id)/change",
                #"{"plan":"max","at":"period_end","dry_run":true}"#
            )
            #expect(atEnd["effective_at"]?.string == "2026-03-31T00:00:00.000000Z")
            #expect(Self.fractions(atEnd) == ["1/1"])
            #expect(Self.fees(atEnd["upcoming_invoice"]?["after"]) == ["31.00"])
        }
    }

    @Test func aPeriodWithTheChangeToDaylightSavingTimeIsSplitByElapsedTime() async throws {
        try await TestServer.run(clock: TestClock("2026-03-29T12:00:00Z")) { server in
            let id = try await Self.arrange(server, start: "2026-03-01T00:00:00+01:00", zone: "Europe/Berlin")
            try await server.ingest(SentEvent("a", time: "2026-03-29T01:00:00Z", data: #"{"seconds":3}"#))
            let preview = try await server.ask(
                "POST",
                "/subscriptions/\(id)/change",
                #"{"plan":"max","at":"2026-03-30T00:00:00+02:00","dry_run":true}"#
            )
            // 29 days less an hour, then 2 days, of 743 hours.
            #expect(Self.fractions(preview) == ["695/743", "48/743"])
            try await server.ask("POST", "/subscriptions/\(id)/change", #"{"plan":"max"}"#)
            server.clock.advance(seconds: 60)
            try await server.ingest(SentEvent("b", time: "2026-03-29T12:00:30Z", data: #"{"seconds":4}"#))
            let invoice = try await server.ask("GET", "/tenants/acme/upcoming-invoice")
            // 685 of 743 hours at 31, 58 at 62, each rounded once.
            #expect(Self.fees(invoice) == ["28.58", "4.84"])
            #expect(try await server.invoiced() == ["seconds 3 = 3.00", "seconds 4 = 8.00"])
            #expect(try await server.differences() == [])
        }
    }

    @Test func resumingRatesWhatTheCancellationLeftOut() async throws {
        try await TestServer.run { server in
            let id = try await Self.arrange(server, start: "2026-11-01T00:00:00Z")
            try await server.ask("POST", "/subscriptions/\(id)/change", #"{"plan":"max","at":"2026-11-23T08:02:30Z"}"#)
            try await server.ask("POST", "/subscriptions/\(id)/cancel", #"{"at":"2026-11-23T08:01:00Z"}"#)
            let report = try await server.ingest(
                SentEvent("in", time: "2026-11-23T08:00:30Z", data: #"{"seconds":1}"#),
                SentEvent("out", time: "2026-11-23T08:02:00Z", data: #"{"seconds":2}"#),
                SentEvent("later", time: "2026-11-23T08:03:00Z", data: #"{"seconds":4}"#)
            )
            #expect(report == "accepted 3, unsubscribed 2")
            let resumed = try await server.ask("POST", "/subscriptions/\(id)/resume")
            #expect(resumed["ends_at"]?.isNull == true)
            // The change that was scheduled before the cancellation comes after all.
            #expect(try await server.invoiced() == ["seconds 3 = 3.00", "seconds 4 = 8.00"])
            let refused = try await server.ask("POST", "/subscriptions/\(id)/withdraw-changes", expecting: 409)
            #expect(refused["code"]?.string == "change_has_usage")
            #expect(try await server.differences() == [])
        }
    }

    /// Two plans with a matrix over the model: `big` in tiers, each other model at the unit amount.
    private static func arrangeMatrices(_ server: TestServer) async throws {
        try await server.addTenant("acme")
        let meter = """
            {"key":"calls","event_type":"job.done","aggregation":"sum","value":"seconds",
             "dimensions":{"model":"model"}}
            """
        try await server.ask("POST", "/meters", meter, expecting: 201)
        try await server.ask("POST", "/features", #"{"key":"calls","meter":"calls","unit":"s"}"#, expecting: 201)
        for (plan, unit) in [("pro", "1"), ("max", "2")] {
            try await server.publish(
                """
                {"charges":[{"feature":"calls","price":{"model":"matrix","dimensions":["model"],"cells":[
                   {"match":{"model":"big"},"price":{"model":"graduated","tiers":[
                     {"up_to":"10","unit_amount":"\(unit)"},{"up_to":null,"unit_amount":"0.5"}]}}],
                   "default":{"model":"per_unit","unit_amount":"\(unit)"}}}]}
                """,
                as: plan
            )
        }
    }

    @Test func cellsThatBothVersionsCountContinueTheirTiers() async throws {
        try await TestServer.run { server in
            try await Self.arrangeMatrices(server)
            let id = try await server.subscribe(at: "2026-11-01T00:00:00Z")
            func event(_ id: String, _ time: String, _ model: String, _ seconds: Int) -> SentEvent {
                SentEvent(id, time: time, data: #"{"seconds":\#(seconds),"model":"\#(model)"}"#)
            }
            try await server.ingest(
                event("a", "2026-11-20T00:00:00Z", "big", 8),
                event("b", "2026-11-20T00:00:00Z", "small", 3)
            )
            try await server.ask("POST", "/subscriptions/\(id)/change", #"{"plan":"max"}"#)
            server.clock.advance(seconds: 60)
            try await server.ingest(
                event("c", "2026-11-23T08:00:30Z", "big", 6),
                event("d", "2026-11-23T08:00:30Z", "new", 1)
            )
            // 8 at 1; then 2 at 2 and 4 at 0.5: the bound of 10 holds for the period. The rest is 3 at 1 and 1 at 2.
            #expect(
                try await server.invoiced().sorted() == [
                    "calls 1 = 2.00", "calls 3 = 3.00", "calls 6 = 6.00", "calls 8 = 8.00",
                ]
            )
            #expect(try await server.differences() == [])
            try await server.ingest(event("late", "2026-11-21T00:00:00Z", "big", 4))
            // Now 12 came before the change: 10 at 1 and 2 at 0.5; the 6 after it are all at 0.5.
            #expect(
                try await server.invoiced().sorted() == [
                    "calls 1 = 2.00", "calls 12 = 11.00", "calls 3 = 3.00", "calls 6 = 3.00",
                ]
            )
            #expect(try await server.differences() == [])
            _ = try await server.void("late")
            #expect(try await server.differences() == [])
            let pooled = try await server.withPool { pool in
                try await pool.query(
                    .worker,
                    """
                    SELECT period.segment, counter.charge FROM usage_counter AS counter
                    JOIN billing_period AS period USING (tenant_id, billing_period_id)
                    WHERE counter.cell = '' ORDER BY period.segment
                    """
                ) { row throws(PostgresError) in
                    "\(try row.next(Int32.self)) \(try row.next(FixedDecimal.self))"
                }
            }
            #expect(pooled == ["0 11", "1 8"])
        }
    }
}
