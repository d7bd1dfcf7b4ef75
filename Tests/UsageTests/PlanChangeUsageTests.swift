import BillingCore
import Postgres
import TestSupport
import Testing
import Web

/// Usage before, at and after a change of plan within a billing period: tiers continue, quotas go on, and nothing is
/// rated twice.
@Suite struct PlanChangeUsageTests {
    /// 1 each up to 10, then 3 at once and 0.5 each.
    private static let tiers = """
        {"model":"graduated","tiers":[{"up_to":"10","unit_amount":"1"},
          {"up_to":null,"unit_amount":"0.5","flat_amount":"3"}]}
        """

    private static func charges(_ seconds: String, unit: String) -> String {
        """
        {"charges":[{"feature":"seconds","price":\(seconds)},
          {"feature":"workers","price":{"model":"per_unit","unit_amount":"\(unit)"}},
          {"feature":"peak","price":{"model":"per_unit","unit_amount":"\(unit)"}},
          {"feature":"level","price":{"model":"per_unit","unit_amount":"\(unit)"}}],
         "quotas":[{"feature":"seconds","limit":"\(unit)00","window":"billing_period"},
          {"feature":"seconds","limit":"\(unit)0","window":"day"}]}
        """
    }

    private static func arrange(_ server: TestServer, start: String = "2026-11-01T00:00:00Z") async throws -> String {
        try await server.addTenant("acme", zone: "Europe/Berlin")
        try await server.addFeature("seconds")
        try await server.addFeature("workers", "unique_count", of: "worker")
        try await server.addFeature("peak", "max", of: "seconds")
        try await server.addFeature("level", "latest", of: "seconds")
        try await server.publish(charges(tiers, unit: "1"))
        try await server.publish(charges(#"{"model":"per_unit","unit_amount":"2"}"#, unit: "5"), as: "max")
        return try await server.subscribe(at: start)
    }

    private static func event(_ id: String, _ time: String, _ seconds: Int, worker: String = "w") -> SentEvent {
        SentEvent(id, time: time, data: #"{"seconds":\#(seconds),"worker":"\#(worker)"}"#)
    }

    private static func change(_ server: TestServer, _ id: String, to plan: String, at: String = "now") async throws {
        try await server.ask("POST", "/subscriptions/\(id)/change", #"{"plan":"\#(plan)","at":"\#(at)"}"#)
    }

    /// Feature, segment, quantity and charge of each counter.
    private static func counters(_ server: TestServer) async throws -> [String] {
        try await server.withPool { pool in
            try await pool.query(
                .worker,
                """
                SELECT feature.key, period.segment, counter.quantity, counter.charge
                FROM usage_counter AS counter
                JOIN billing_period AS period USING (tenant_id, billing_period_id)
                JOIN feature USING (feature_id)
                ORDER BY feature.key, period.period_index, period.segment
                """
            ) { row throws(PostgresError) in
                let key = try row.next(String.self)
                let segment = try row.next(Int32.self)
                let quantity = try row.next(FixedDecimal.self)
                return "\(key)[\(segment)] \(quantity) = \(try row.next(FixedDecimal.self))"
            }
        }
    }

    @Test func tiersContinueOverTheChange() async throws {
        try await TestServer.run { server in
            let id = try await Self.arrange(server)
            try await server.ingest(
                Self.event("a", "2026-11-20T00:00:00Z", 8, worker: "x"),
                Self.event("b", "2026-11-21T00:00:00Z", 4, worker: "y")
            )
            try await Self.change(server, id, to: "max")
            server.clock.advance(seconds: 3_600)
            try await server.ingest(
                Self.event("c", "2026-11-23T08:30:00Z", 6, worker: "y"),
                Self.event("d", "2026-11-23T08:40:00Z", 2, worker: "z")
            )
            // 12 seconds under `pro` are 10 + 3 + 1; the 8 after them are 2 each. `y` was seen before the change.
            #expect(
                try await Self.counters(server) == [
                    "level[0] 4 = 4", "level[1] 2 = -10", "peak[0] 8 = 8", "peak[1] 6 = 0", "seconds[0] 12 = 14",
                    "seconds[1] 8 = 16", "workers[0] 2 = 2", "workers[1] 2 = 5",
                ]
            )
            #expect(try await server.differences() == [])
        }
    }

    @Test func lateUsageOfTheEarlierSegmentMovesTheLaterOne() async throws {
        try await TestServer.run { server in
            let id = try await Self.arrange(server)
            try await server.ingest(Self.event("a", "2026-11-20T00:00:00Z", 2, worker: "x"))
            try await Self.change(server, id, to: "max")
            try await Self.change(server, id, to: "pro")
            server.clock.advance(seconds: 3_600)
            try await server.ingest(Self.event("c", "2026-11-23T08:30:00Z", 6, worker: "y"))
            // The two changes came at one instant: the second stands in place of the first.
            let before = try await Self.counters(server).filter { $0.hasPrefix("seconds") }
            #expect(before == ["seconds[0] 2 = 2", "seconds[1] 6 = 6"])
            // 5 more before the change leave room for 3 at the first tier's price: 3 x 1 + 3 + 3 x 0.5.
            let late = try await server.ingest(Self.event("late", "2026-11-22T00:00:00Z", 5, worker: "y"))
            #expect(late == "accepted 1")
            #expect(
                try await Self.counters(server) == [
                    "level[0] 5 = 5", "level[1] 6 = 1", "peak[0] 5 = 5", "peak[1] 6 = 1", "seconds[0] 7 = 7",
                    "seconds[1] 6 = 7.5", "workers[0] 2 = 2", "workers[1] 1 = 0",
                ]
            )
            #expect(try await server.differences() == [])
            _ = try await server.void("late")
            #expect(
                try await Self.counters(server) == [
                    "level[0] 2 = 2", "level[1] 6 = 4", "peak[0] 2 = 2", "peak[1] 6 = 4", "seconds[0] 2 = 2",
                    "seconds[1] 6 = 6", "workers[0] 1 = 1", "workers[1] 1 = 1",
                ]
            )
            #expect(try await server.differences() == [])
            _ = try await server.void("a")
            #expect(
                try await Self.counters(server).filter { $0.hasPrefix("seconds") } == [
                    "seconds[0] 0 = 0", "seconds[1] 6 = 6",
                ]
            )
            #expect(try await server.differences() == [])
        }
    }

    @Test func aChangeNeverTakesUsageThatIsRatedAlready() async throws {
        try await TestServer.run { server in
            let id = try await Self.arrange(server)
            try await server.ingest(Self.event("ahead", "2026-11-23T08:03:00Z", 2))
            let changed = try await server.ask("POST", "/subscriptions/\(id)/change", #"{"plan":"max"}"#)
            #expect(changed["scheduled_change"]?["starts_at"]?.string == "2026-11-23T08:03:00.000001Z")
            #expect(changed["plan"]?.string == "pro")
            try await server.ingest(Self.event("after", "2026-11-23T08:04:00Z", 3))
            #expect(
                try await Self.counters(server).filter { $0.hasPrefix("seconds") } == [
                    "seconds[0] 2 = 2", "seconds[1] 3 = 6",
                ]
            )
            #expect(try await server.differences() == [])
        }
    }

    @Test func quotasKeepWhatWasUsedAndTakeTheNewAmount() async throws {
        try await TestServer.run { server in
            let id = try await Self.arrange(server)
            try await server.ingest(Self.event("a", "2026-11-23T07:00:00Z", 8))
            try await Self.change(server, id, to: "max")
            server.clock.advance(seconds: 60)
            try await server.ingest(Self.event("b", "2026-11-23T08:00:30Z", 4))
            for (window, limit) in [("billing_period", "500"), ("day", "50")] {
                let quota = try await server.ask("GET", "/tenants/acme/quotas/seconds?window=\(window)")
                #expect(quota["used"]?.string == "12")
                #expect(quota["limit"]?.string == limit)
            }
            #expect(try await server.differences() == [])
        }
    }

    @Test func aQuotaThatBeginsWithAChangeCountsWhatItsWindowSaw() async throws {
        try await TestServer.run { server in
            let id = try await Self.arrange(server, start: "2026-10-01T00:00:00Z")
            try await server.publish(
                #"{"quotas":[{"feature":"seconds","limit":"9","window":"month"}]}"#,
                as: "quota"
            )
            try await server.ingest(
                Self.event("october", "2026-10-31T12:00:00Z", 1),
                Self.event("november", "2026-11-02T00:00:00Z", 2)
            )
            let before = try await Self.counters(server)
            try await Self.change(server, id, to: "quota")
            #expect(try await server.used("seconds", window: "month") == "2")
            #expect(try await Self.counters(server) == before)
            server.clock.advance(seconds: 60)
            try await server.ingest(
                Self.event("now", "2026-11-23T08:00:30Z", 4),
                Self.event("late", "2026-11-03T00:00:00Z", 8)
            )
            #expect(try await server.used("seconds", window: "month") == "14")
            // The plan has no price for it, and what it had under the other one stays charged.
            #expect(
                try await Self.counters(server).filter { $0.hasPrefix("seconds") } == [
                    "seconds[0] 1 = 1", "seconds[0] 10 = 10", "seconds[1] 4 = 0",
                ]
            )
            #expect(try await server.differences() == [])
        }
    }

    @Test func aScheduledChangeTakesForceWhenItsTimeComes() async throws {
        try await TestServer.run(clock: TestClock("2026-11-30T21:00:00Z")) { server in
            let id = try await Self.arrange(server, start: "2026-11-01T00:00:00+01:00")
            try await server.ingest(Self.event("a", "2026-11-30T20:00:00Z", 8))
            try await Self.change(server, id, to: "max", at: "period_end")
            #expect(try await server.ask("GET", "/tenants/acme/quotas/seconds?window=day")["limit"]?.string == "10")
            server.clock.set(try Instant(parsing: "2026-11-30T23:30:00Z"))
            let inForce = try await eventually {
                try await server.ask("GET", "/tenants/acme/quotas/seconds?window=day")["limit"]?.string == "50"
            }
            #expect(inForce)
            try await server.ingest(Self.event("b", "2026-11-30T23:10:00Z", 4))
            // The change came exactly at the end of the period, so no period is split.
            #expect(
                try await Self.counters(server).filter { $0.hasPrefix("seconds") } == [
                    "seconds[0] 8 = 8", "seconds[1] 4 = 8",
                ]
            )
            #expect(try await server.invoiced().first == "seconds 4 = 8.00")
            #expect(try await server.differences() == [])
        }
    }

    @Test func theInvoiceHasALinePerSegmentAndProratedFees() async throws {
        try await TestServer.run(clock: TestClock("2026-11-16T00:00:00Z")) { server in
            try await server.addTenant("acme")
            try await server.addFeature("seconds")
            for (plan, fee, unit) in [("pro", "20", "1"), ("max", "50", "2")] {
                try await server.publish(
                    """
                    {"fees":[{"key":"base","name":"Base","amount":"\(fee)","charged":"in_arrears"}],
                     "charges":[{"feature":"seconds","price":{"model":"per_unit","unit_amount":"\(unit)"}}]}
                    """,
                    as: plan
                )
            }
            let id = try await server.subscribe(at: "2026-11-01T00:00:00Z")
            try await server.ingest(Self.event("a", "2026-11-10T00:00:00Z", 3))
            try await Self.change(server, id, to: "max")
            server.clock.advance(seconds: 60)
            try await server.ingest(Self.event("b", "2026-11-16T00:00:30Z", 5))
            let invoice = try await server.ask("GET", "/tenants/acme/upcoming-invoice")
            let lines = (invoice["lines"]?.elements ?? []).map { line in
                "\(line["fee"]?.string ?? line["feature"]?.string ?? "?") \(line["amount"]?.string ?? "?")"
            }
            #expect(lines == ["base 10.00", "base 25.00", "seconds 3.00", "seconds 10.00"])
            #expect(try await server.differences() == [])
        }
    }
}
