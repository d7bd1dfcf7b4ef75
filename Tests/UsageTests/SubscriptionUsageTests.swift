import BillingCore
import Postgres
import TestSupport
import Testing
import Web

/// Usage and the subscriptions it falls under, whichever came first.
@Suite struct SubscriptionUsageTests {
    private static let plan = """
        {"charges":[{"feature":"seconds","price":{"model":"graduated","tiers":[
           {"up_to":"10","unit_amount":"1"},{"up_to":null,"unit_amount":"0.5","flat_amount":"3"}]}},
          {"feature":"workers","price":{"model":"per_unit","unit_amount":"2"}},
          {"feature":"level","price":{"model":"per_unit","unit_amount":"1"}}],
         "quotas":[{"feature":"seconds","limit":"100","window":"billing_period"},
          {"feature":"seconds","limit":"100","window":"day"},{"feature":"seconds","limit":"100","window":"month"},
          {"feature":"seconds","limit":"100","window":"lifetime"}]}
        """

    private static func arrange(_ server: TestServer) async throws {
        try await server.addTenant("acme", zone: "Europe/Berlin")
        try await server.addFeature("seconds")
        try await server.addFeature("workers", "unique_count", of: "worker")
        try await server.addFeature("level", "latest", of: "seconds")
        try await server.publish(plan)
    }

    private static func event(_ id: String, _ time: String, _ seconds: Int, worker: String = "w") -> SentEvent {
        SentEvent(id, time: time, data: #"{"seconds":\#(seconds),"worker":"\#(worker)"}"#)
    }

    private static func used(_ server: TestServer) async throws -> [String?] {
        var used: [String?] = []
        for window in ["billing_period", "day", "month", "lifetime"] {
            used.append(try await server.used("seconds", window: window))
        }
        return used
    }

    private static func quotaCount(_ server: TestServer) async throws -> Int? {
        try await server.ask("GET", "/tenants/acme/quotas")["data"]?.elements?.count
    }

    @Test func usageBeforeTheSubscriptionIsRatedWhenItIsMade() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            let report = try await server.ingest(
                Self.event("october", "2026-10-31T22:59:59Z", 64),
                Self.event("before", "2026-11-22T23:00:00Z", 32),
                Self.event("a", "2026-11-23T06:00:00Z", 8, worker: "x"),
                Self.event("b", "2026-11-23T07:00:00Z", 16)
            )
            #expect(report == "accepted 4, unsubscribed 4")
            _ = try await server.void("b")
            try await server.ingest(Self.event("c", "2026-11-23T06:30:00Z", 4))
            try await server.subscribe(at: "2026-11-23T06:00:00Z")
            // The day and the month began before the subscription did; what was used in them counts.
            let rated = try await Self.used(server)
            #expect(rated == ["12", "44", "44", "108"])
            #expect(try await server.invoiced() == ["seconds 12 = 14.00", "workers 2 = 4.00", "level 4 = 4.00"])
            #expect(try await server.differences() == [])
            #expect(try await server.ingest(Self.event("d", "2026-11-23T06:10:00Z", 1)) == "accepted 1")
            let further = try await Self.used(server)
            #expect(further == ["13", "45", "45", "109"])
            _ = try await server.void("c")
            #expect(try await server.invoiced() == ["seconds 9 = 9.00", "workers 2 = 4.00", "level 1 = 1.00"])
            #expect(try await server.differences() == [])
        }
    }

    @Test func aFutureSubscriptionCountsFromItsStart() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            try await server.subscribe(at: "2026-11-23T08:02:00Z")
            let report = try await server.ingest(
                Self.event("now", "2026-11-23T08:00:00Z", 1),
                Self.event("ahead", "2026-11-23T08:02:00Z", 2)
            )
            #expect(report == "accepted 2, unsubscribed 1")
            #expect(try await server.differences() == [])
            server.clock.advance(seconds: 180)
            #expect(try await eventually { try await Self.quotaCount(server) == 4 })
            let before = try await Self.used(server)
            #expect(before == ["2", "3", "3", "3"])
            try await server.ingest(Self.event("later", "2026-11-23T08:02:30Z", 4))
            let used = try await Self.used(server)
            #expect(used == ["6", "7", "7", "7"])
            #expect(try await server.invoiced().first == "seconds 6 = 6.00")
            #expect(try await server.differences() == [])
        }
    }

    @Test func cancellingNowKeepsWhatIsRated() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            let id = try await server.subscribe(at: "2026-11-01T00:00:00Z")
            try await server.ingest(Self.event("ahead", "2026-11-23T08:03:00Z", 2))
            let cancelled = try await server.ask("POST", "/subscriptions/\(id)/cancel", #"{"at":"now"}"#)
            #expect(cancelled["ends_at"]?.string == "2026-11-23T08:03:00.000001Z")
            let report = try await server.ingest(
                Self.event("inside", "2026-11-23T08:02:59Z", 4),
                Self.event("outside", "2026-11-23T08:03:01Z", 8)
            )
            #expect(report == "accepted 2, unsubscribed 1")
            #expect(try await server.invoiced().first == "seconds 6 = 6.00")
            #expect(try await server.differences() == [])
        }
    }

    @Test func aLaterEndRatesWhatItReaches() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            let id = try await server.subscribe(at: "2026-11-01T00:00:00Z")
            try await server.ask("POST", "/subscriptions/\(id)/cancel", #"{"at":"2026-11-23T08:01:00Z"}"#)
            #expect(
                try await server.ingest(Self.event("after", "2026-11-23T08:02:00Z", 4)) == "accepted 1, unsubscribed 1"
            )
            try await server.ask("POST", "/subscriptions/\(id)/cancel", #"{"at":"2026-12-01T00:00:00Z"}"#)
            #expect(try await server.invoiced().first == "seconds 4 = 4.00")
            let used = try await Self.used(server)
            #expect(used == ["4", "4", "4", "4"])
            #expect(try await server.differences() == [])
        }
    }

    @Test func oneSubscriptionAfterAnotherKeepsWhatWasUsed() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            let first = try await server.subscribe(at: "2026-11-01T00:00:00Z")
            try await server.ingest(Self.event("1", "2026-11-23T07:00:00Z", 1))
            try await server.ask("POST", "/subscriptions/\(first)/cancel")
            server.clock.advance(seconds: 3_600)
            #expect(try await server.ingest(Self.event("2", "2026-11-23T08:30:00Z", 2)) == "accepted 1, unsubscribed 1")
            server.clock.advance(seconds: 3_600)
            try await server.subscribe(at: "2026-11-23T09:00:00Z")
            try await server.ingest(Self.event("3", "2026-11-23T09:30:00Z", 4))
            let used = try await Self.used(server)
            #expect(used == ["4", "7", "7", "7"])
            #expect(try await server.invoiced().first == "seconds 4 = 4.00")
            #expect(try await server.differences() == [])
        }
    }

    @Test func windowsFollowTheLocalCalendar() async throws {
        try await TestServer.run(clock: TestClock("2026-10-25T22:30:00Z")) { server in
            try await Self.arrange(server)
            try await server.subscribe(at: "2026-10-01T00:00:00Z")
            // The day on which summer time ends has 25 hours: 22:00Z on the 24th to 23:00Z on the 25th.
            try await server.ingest(
                Self.event("before", "2026-10-24T21:59:59Z", 1),
                Self.event("first", "2026-10-24T22:00:00Z", 2),
                Self.event("last", "2026-10-25T22:30:00Z", 4)
            )
            #expect(try await server.used("seconds", window: "day") == "6")
            let quota = try await server.ask("GET", "/tenants/acme/quotas/seconds?window=day")
            #expect(quota["window"]?["start"]?.string == "2026-10-24T22:00:00.000000Z")
            #expect(quota["window"]?["end"]?.string == "2026-10-25T23:00:00.000000Z")
            server.clock.advance(seconds: 1_800)
            #expect(try await server.used("seconds", window: "day") == "0")
            #expect(try await server.differences() == [])
        }
    }
}
