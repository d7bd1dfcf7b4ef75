import Limits
import Postgres
import TestSupport
import Testing
import Web

/// Alerts are kept for a time, and one that was removed is not raised again.
@Suite struct AlertRetentionTests {
    private static let keptDays = 90

    private static func sweep(_ server: TestServer) async throws {
        try await server.withPool { pool in
            let clock = server.clock.clock
            try await AlertExpiryWorker(pool: pool, keptDays: keptDays, clock: clock, logger: .silent).sweep()
        }
    }

    private static func alerts(_ server: TestServer) async throws -> [String] {
        let alerts = try await server.ask("GET", "/alerts?limit=100")["data"]?.elements ?? []
        return alerts.map { "\($0["kind"]?.string ?? "") \($0["threshold"]?.string ?? "-")" }.sorted()
    }

    /// How many alerts were ever told to webhook endpoints.
    private static func told(_ server: TestServer) async throws -> String? {
        try await server.column(
            "SELECT count(*)::text FROM webhook_event WHERE event_type !~ '^(subscription|invoice)'"
        ).first ?? nil
    }

    @Test("an alert goes when its time is over, acknowledged or not, and its threshold does not fire again")
    func thresholds() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("10", window: "day")
            try await server.ingest(SentEvent("a", time: "2026-11-23T08:00:00Z", data: #"{"seconds":8}"#))
            try await server.ingest(SentEvent("b", subject: "nobody"))
            #expect(
                try await Self.alerts(server) == ["threshold_crossed 50", "threshold_crossed 80", "unmatched_usage -"]
            )
            let first = try await server.ask("GET", "/alerts?kind=threshold_crossed")["data"]?[0]?["id"]?.string ?? ""
            try await server.ask("POST", "/alerts/\(first)/acknowledge")
            // The window has ended on the 24th.
            server.clock.advance(seconds: 86_400 * Int64(Self.keptDays) + 1)
            try await Self.sweep(server)
            #expect(try await Self.alerts(server) == ["threshold_crossed 50", "threshold_crossed 80"])
            server.clock.advance(seconds: 86_400)
            try await Self.sweep(server)
            #expect(try await Self.alerts(server) == [])
            try await server.ask("GET", "/alerts/\(first)", expecting: 404)
            try await server.ingest(SentEvent("late", time: "2026-11-23T09:00:00Z", data: #"{"seconds":1}"#))
            #expect(try await Self.alerts(server) == [])
            try await server.ingest(SentEvent("later", time: "2026-11-23T09:00:00Z", data: #"{"seconds":1}"#))
            #expect(try await Self.alerts(server) == ["threshold_crossed 100"])
            #expect(try await Self.told(server) == "4")
        }
    }

    @Test("as long as a window goes on, its alerts stay: a limit that was reached is not told twice in it")
    func openWindow() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("5", window: "lifetime")
            try await server.ingest(SentEvent("used", data: #"{"seconds":2}"#))
            #expect(try await server.admit("a", seconds: "4")["allowed"] == .bool(false))
            server.clock.advance(seconds: 86_400 * 4 * Int64(Self.keptDays))
            try await Self.sweep(server)
            #expect(try await server.admit("b", seconds: "4")["allowed"] == .bool(false))
            #expect(try await Self.alerts(server) == ["limit_reached -"])
            #expect(try await Self.told(server) == "1")
        }
    }

    @Test("usage that a plan does not price is told once for its period, also when it is reported after the alert went")
    func unsold() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addFeature("seconds")
            try await server.publish("{}")
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            try await server.ingest(SentEvent("a", time: "2026-11-20T00:00:00Z"))
            let alert = try await server.ask("GET", "/alerts")["data"]?[0]
            #expect(alert?["detail"]?["reason"]?.string == "plan")
            let id = alert?["id"]?.string ?? ""
            server.clock.advance(seconds: 86_400 * Int64(Self.keptDays + 9))
            try await Self.sweep(server)
            #expect(try await Self.alerts(server) == [])
            try await server.ask("GET", "/alerts/\(id)", expecting: 404)
            try await server.ask("POST", "/alerts/\(id)/acknowledge", expecting: 404)
            try await server.ingest(SentEvent("late", time: "2026-11-20T00:00:00Z"))
            #expect(try await Self.alerts(server) == [])
            #expect(try await Self.told(server) == "1")
            #expect(try await server.column("SELECT detail::text FROM alert") == ["{}"])
        }
    }
}
