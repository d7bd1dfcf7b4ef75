import BillingCore
import Foundation
import Limits
import Postgres
import TestSupport
import Testing
import Web

/// Windows of limits are kept for more than a year, and what holds nothing beside them for a day.
@Suite struct LimitRetentionTests {
    private static func sweep(_ server: TestServer) async throws {
        try await server.withPool { pool in
            try await LimitRetention(pool: pool, clock: server.clock.clock, logger: .silent).sweep()
        }
    }

    /// Of how many rows each kind is left.
    private static func rows(_ server: TestServer) async throws -> [String?] {
        try await server.column(
            """
            SELECT unnest(ARRAY[
                (SELECT count(*) FROM limit_state WHERE scope_value NOT LIKE '#%'),
                (SELECT count(*) FROM limit_state WHERE scope_value LIKE '#%'), (SELECT count(*) FROM rate_state)
            ])::text
            """
        )
    }

    @Test("what is over goes in its time, what is held stays, and verify finds no fault in what is left")
    func retention() async throws {
        try await TestServer.run { server in
            try await server.arrangeTiers()
            let budgets = [
                #"{"key":"ever","scope":{"tenant":"*"},"measure":"requests","amount":"9","window":"lifetime"}"#,
                #"{"key":"all","scope":{},"measure":"requests","amount":"99","window":"hour"}"#,
                #"{"key":"rpm","scope":{"tenant":"*"},"measure":"requests","rate":{"limit":60,"period":"minute"}}"#,
            ]
            for budget in budgets { try await server.ask("POST", "/budgets", budget, expecting: 201) }
            let first = try await server.admit("1", seconds: "3")
            try await server.settle(first, event: "a", seconds: "3")
            let second = try await server.admit("2", seconds: "2", more: #","ttl_seconds":86400"#)
            let path = "/admissions/\(server.id(of: second))"
            // Quota, cap, "ever" and "all"; the quantity that the cap holds; the rate.
            #expect(try await Self.rows(server) == ["4", "1", "1"])
            server.clock.advance(seconds: 3 * 86_400)
            #expect(try await eventually { try await server.ask("GET", path)["status"]?.string == "expired" })
            try await Self.sweep(server)
            // The rate is unused since; the cap's window goes on.
            #expect(try await Self.rows(server) == ["4", "1", "0"])
            server.clock.advance(seconds: 30 * 86_400)
            try await Self.sweep(server)
            #expect(try await Self.rows(server) == ["4", "0", "0"])
            #expect(try await server.differences() == [])
            server.clock.advance(seconds: 400 * 86_400)
            try await Self.sweep(server)
            // What has no end.
            #expect(try await Self.rows(server) == ["1", "0", "0"])
            #expect(try await server.differences() == [])
            #expect(try await server.ask("GET", "/budgets/ever")["status"]?["windows"]?[0]?["used"]?.string == "1")
        }
    }

    @Test("a row that is held is not removed, however old")
    func held() async throws {
        try await TestServer.run { server in
            try await server.arrangeTiers()
            try await server.admit("1", seconds: "3")
            _ = try await server.column(
                "UPDATE limit_state SET window_start = '2020-01-01Z', window_end = '2020-02-01Z' RETURNING ''"
            )
            try await Self.sweep(server)
            // The quota's row and that of the quantity; the cap's own holds nothing in the free tier.
            #expect(try await Self.rows(server) == ["1", "1", "0"])
        }
    }

    @Test("a migration gives windows without a length an end, or takes what never counted anything away")
    func emptyWindows() async throws {
        try await TestServer.run { server in
            try await server.arrangeTiers()
            for (key, window) in [("ever", "lifetime"), ("month", "month"), ("unused", "day")] {
                let bound = #""measure":"requests","amount":"9","window":"\#(window)""#
                try await server.ask(
                    "POST",
                    "/budgets",
                    #"{"key":"\#(key)","scope":{"tenant":"acme"},\#(bound)}"#,
                    expecting: 201
                )
            }
            try await server.settle(try await server.admit("1", seconds: "3"), event: "a", seconds: "3")
            try await server.database.run(
                """
                DELETE FROM limit_state WHERE limit_id NOT IN (SELECT limit_id FROM budget);
                UPDATE limit_state SET window_end = window_start;
                UPDATE limit_state SET used = 0 WHERE limit_id IN (SELECT limit_id FROM budget WHERE key = 'unused')
                """
            )
            let file = TestTools.packageRoot.appendingPathComponent("migrations/0060_limit_windows.sql")
            try await server.database.run(try String(contentsOf: file, encoding: .utf8))
            let ends = try await server.column(
                "SELECT (window_end AT TIME ZONE 'UTC')::text FROM limit_state ORDER BY window_end"
            )
            #expect(ends == ["2027-11-02 00:00:00", "9999-12-31 23:59:59.999999"])
        }
    }
}
