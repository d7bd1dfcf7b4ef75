import BillingCore
import Postgres
import TestSupport
import Testing
import Web

/// Usage in a trial is counted and not charged; periods and their tiers begin at the anchor.
@Suite struct TrialUsageTests {
    private static let plan = """
        {"trial_days":14,"fees":[{"key":"base","name":"Base","amount":"30"}],
         "charges":[{"feature":"seconds","price":{"model":"graduated","tiers":[
           {"up_to":"10","unit_amount":"1"},{"up_to":null,"unit_amount":"0.5"}]}}],
         "quotas":[{"feature":"seconds","limit":"100","window":"billing_period"},
          {"feature":"seconds","limit":"100","window":"lifetime"}]}
        """

    private static func arrange(_ server: TestServer) async throws -> String {
        try await server.addTenant("acme", zone: "Europe/Berlin")
        try await server.addFeature("seconds")
        try await server.publish(plan)
        return try await server.subscribe(at: "2026-11-10T00:00:00Z")
    }

    private static func event(_ id: String, _ time: String, _ seconds: Int) -> SentEvent {
        SentEvent(id, time: time, data: #"{"seconds":\#(seconds)}"#)
    }

    private static func counters(_ server: TestServer) async throws -> [String] {
        try await server.withPool { pool in
            try await pool.query(
                .worker,
                """
                SELECT period.period_index, period.segment, counter.quantity, counter.charge
                FROM usage_counter AS counter
                JOIN billing_period AS period USING (tenant_id, billing_period_id)
                ORDER BY period.period_index, period.segment
                """
            ) { row throws(PostgresError) in
                let place = "\(try row.next(Int32.self)).\(try row.next(Int32.self))"
                return "\(place): \(try row.next(FixedDecimal.self)) = \(try row.next(FixedDecimal.self))"
            }
        }
    }

    @Test func usageInTheTrialIsCountedAndNotCharged() async throws {
        try await TestServer.run { server in
            _ = try await Self.arrange(server)
            #expect(try await server.ingest(Self.event("a", "2026-11-20T00:00:00Z", 8)) == "accepted 1")
            #expect(try await Self.counters(server) == ["-1.0: 8 = 0"])
            let quota = try await server.ask("GET", "/tenants/acme/quotas/seconds?window=billing_period")
            #expect(quota["used"]?.string == "8")
            #expect(quota["window"]?["start"]?.string == "2026-11-10T00:00:00.000000Z")
            #expect(quota["window"]?["end"]?.string == "2026-11-24T00:00:00.000000Z")
            let invoice = try await server.ask("GET", "/tenants/acme/upcoming-invoice")
            #expect(invoice["invoice_kind"]?.string == "opening")
            #expect(invoice["total"]?.string == "30.00")
            #expect(try await server.differences() == [])

            server.clock.set(try Instant(parsing: "2026-11-24T01:00:00Z"))
            try await server.ingest(
                Self.event("last", "2026-11-23T23:59:59.999999Z", 1),
                Self.event("first", "2026-11-24T00:00:00Z", 4)
            )
            #expect(try await Self.counters(server) == ["-1.0: 9 = 0", "0.0: 4 = 4"])
            #expect(try await server.used("seconds", window: "billing_period") == "4")
            #expect(try await server.used("seconds", window: "lifetime") == "13")
            _ = try await server.void("a")
            #expect(try await Self.counters(server) == ["-1.0: 1 = 0", "0.0: 4 = 4"])
            #expect(try await server.differences() == [])
        }
    }

    @Test func usageBeforeTheSubscriptionFallsInItsTrialToo() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme", zone: "Europe/Berlin")
            try await server.addFeature("seconds")
            try await server.publish(Self.plan)
            try await server.ingest(
                Self.event("before", "2026-10-31T00:00:00Z", 1),
                Self.event("trial", "2026-11-02T00:00:00Z", 2),
                Self.event("billed", "2026-11-20T00:00:00Z", 4)
            )
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            #expect(try await Self.counters(server) == ["-1.0: 2 = 0", "0.0: 4 = 4"])
            #expect(try await server.differences() == [])
        }
    }

    @Test func aTrialThatIsCancelledCostsNothing() async throws {
        try await TestServer.run { server in
            let id = try await Self.arrange(server)
            try await server.ingest(Self.event("a", "2026-11-20T00:00:00Z", 8))
            let preview = try await server.ask(
                "POST",
                "/subscriptions/\(id)/cancel",
                #"{"at":"period_end","dry_run":true}"#
            )
            #expect(preview["effective_at"]?.string == "2026-11-24T00:00:00.000000Z")
            #expect(preview["upcoming_invoice"]?["before"]?["total"]?.string == "30.00")
            #expect(preview["upcoming_invoice"]?["after"]?["total"]?.string == "0.00")
            try await server.ask("POST", "/subscriptions/\(id)/cancel", #"{"at":"period_end"}"#)
            let invoice = try await server.ask("GET", "/tenants/acme/upcoming-invoice")
            #expect(invoice["lines"]?.elements?.count == 0)
            #expect(try await server.differences() == [])
        }
    }

    @Test func aChangeInTheTrialSplitsIt() async throws {
        try await TestServer.run { server in
            let id = try await Self.arrange(server)
            try await server.publish(#"{"charges":[]}"#, as: "free")
            try await server.ingest(Self.event("a", "2026-11-20T00:00:00Z", 8))
            try await server.ask("POST", "/subscriptions/\(id)/change", #"{"plan":"pro"}"#)
            server.clock.advance(seconds: 60)
            try await server.ingest(Self.event("b", "2026-11-23T08:00:30Z", 3))
            #expect(try await Self.counters(server) == ["-1.0: 8 = 0", "-1.1: 3 = 0"])
            #expect(try await server.used("seconds", window: "billing_period") == "11")
            #expect(try await server.differences() == [])
        }
    }
}
