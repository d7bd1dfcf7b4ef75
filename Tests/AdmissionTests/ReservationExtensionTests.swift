import BillingCore
import Catalog
import Limits
import Postgres
import TestSupport
import Testing
import TurnpikeServer
import Web

/// Reservations that are extended over the end of a window.
@Suite struct ReservationExtensionTests {
    @Test("what is extended into the next day holds there too, and is freed and counted there")
    func nextDay() async throws {
        try await Self.run(quota: "10", window: "day", at: "2026-11-23T23:00:00Z") { server in
            let admission = try await server.admit("1", seconds: "4", more: #","ttl_seconds":600"#)
            try await server.expectRows(["0 4 0"])
            #expect(try await server.extend(admission, seconds: 3_000)["status"]?.string == "held")
            try await server.expectRows(["0 4 0"])
            #expect(
                try await server.extend(admission, seconds: 3_660)["expires_at"]?.string
                    == "2026-11-24T00:01:00.000000Z"
            )
            try await server.expectRows(["0 4 0", "0 4 0"])
            // The day that it ends on by now holds it already.
            try await server.extend(admission, seconds: 7_200)
            try await server.expectRows(["0 4 0", "0 4 0"])
            #expect(try await server.unbalancedHolds() == [])
            server.clock.advance(seconds: 3_700)
            #expect(try await server.admit("2", seconds: "7")["reason"]?.string == "quota_exceeded")
            try await server.settle(admission, event: "a", seconds: "5")
            try await server.expectRows(["0 0 0", "5 0 1"])
        }
    }

    @Test("where the next window has no room the reservation ends as before, and nothing is held of any")
    func noRoom() async throws {
        try await Self.run(quota: "10", window: "day", at: "2026-11-23T23:58:00Z") { server in
            let first = try await server.admit("1", seconds: "4", more: #","ttl_seconds":60"#)
            server.clock.advance(seconds: 1)
            let budget = #"{"key":"calls","scope":{"tenant":"acme"},"measure":"requests","amount":"9","window":"day"}"#
            try await server.ask("POST", "/budgets", budget, expecting: 201)
            try await server.useTomorrow("7", at: "2026-11-24T00:01:00Z")
            try await server.expectRows(["0 4 0", "7 0 7", "1 0 1"])
            let refused = try await server.extend(first, seconds: 600, expecting: 409)
            #expect(refused["code"]?.string == "extends_beyond_window")
            #expect(refused["detail"]?.string?.contains("'seconds'") == true, "\(refused)")
            try await server.expectRows(["0 4 0", "7 0 7", "1 0 1"])
            let path = "/admissions/\(server.id(of: first))"
            #expect(try await server.ask("GET", path)["expires_at"]?.string == "2026-11-23T23:59:00.000000Z")
            try await server.extend(first, seconds: 118)
            #expect(try await server.unbalancedHolds() == [])
        }
    }

    @Test("a call that takes nothing of one of its features is extended within a spend cap that others have used up")
    func nothingMore() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addFeature("seconds")
            try await server.addFeature("jobs", "count", of: nil)
            let charges = [("seconds", "1"), ("jobs", "0.25")].map { feature, amount in
                #"{"feature":"\#(feature)","price":{"model":"per_unit","unit_amount":"\#(amount)"}}"#
            }
            try await server.publish(
                #"{"charges":[\#(charges.joined(separator: ","))],"spend_cap":{"amount":"4","mode":"hard"}}"#
            )
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            let open = try await server.admit("1", seconds: "0")
            try await server.ingest(SentEvent("a", data: #"{"seconds":5}"#))
            try await server.expectRows(["5.25 0.25 5.25"])
            try await server.extend(open, seconds: 7_200)
            try await server.expectRows(["5.25 0.25 5.25"])
            #expect(try await server.unbalancedHolds() == [])
        }
    }

    @Test("a release frees what was taken by extending, in every window")
    func release() async throws {
        try await Self.run(quota: "10", window: "day", at: "2026-11-23T23:00:00Z") { server in
            let admission = try await server.admit("1", seconds: "4", more: #","ttl_seconds":600"#)
            try await server.extend(admission, seconds: 7_200)
            server.clock.advance(seconds: 7_000)
            try await server.extend(admission, seconds: 86_400)
            try await server.expectRows(["0 4 0", "0 4 0", "0 4 0"])
            try await server.ask("POST", "/admissions/\(server.id(of: admission))/release")
            try await server.expectRows(["0 0 0", "0 0 0", "0 0 0"])
            #expect(
                try await server.extend(admission, seconds: 60, expecting: 409)["code"]?.string == "admission_closed"
            )
            #expect(try await server.storedCalls() == [0], "what was asked is forgotten")
        }
    }

    @Test("over a month's end a spend cap and a billing period's quota hold in the new period, by its tiers")
    func monthEnd() async throws {
        try await TestServer.run(clock: TestClock("2026-11-30T23:58:00Z")) { server in
            try await server.arrangeTiers()
            let first = try await server.admit("1", seconds: "14", more: #","ttl_seconds":60"#)
            let second = try await server.admit("2", seconds: "6", more: #","ttl_seconds":60"#)
            try await server.expectRows(["0 20 0", "0 20 0"])
            try await server.extend(first, seconds: 600)
            try await server.expectRows(["0 20 0", "0 14 0", "0 20 0", "0 8 0"])
            try await server.useTomorrow("4", at: "2026-12-01T00:01:00Z")
            try await server.expectRows(["0 20 0", "4 14 4", "0 20 0", "0 16 8"])
            // Alone it would be free in December too; beside the first it isn't, and the cap has no room.
            let refused = try await server.extend(second, seconds: 600, expecting: 409)
            #expect(refused["code"]?.string == "extends_beyond_window")
            try await server.expectRows(["0 20 0", "4 14 4", "0 20 0", "0 16 8"])
            server.clock.advance(seconds: 300)
            try await server.settle(first, event: "a", seconds: "12")
            try await server.settle(second, event: "b", seconds: "6", time: "2026-11-30T23:59:00Z")
            try await server.expectRows(["6 0 0", "16 0 4", "0 0 0", "12 0 8"])
            #expect(try await server.brokenLimits() == [])
            #expect(try await server.unbalancedHolds() == [])
        }
    }

    @Test("a call is extended within its window whatever limit on charges came since; it holds nothing of that")
    func laterLimit() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addFeature("seconds")
            let price = #"{"feature":"seconds","price":{"model":"per_unit","unit_amount":"2"}}"#
            try await server.publish(#"{"charges":[\#(price)]}"#)
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            let admission = try await server.admit("1", seconds: "5")
            server.clock.advance(seconds: 1)
            let budget = """
                {"key":"b","scope":{"tenant":"acme"},"measure":"charge","amount":"8","currency":"USD",\
                "window":"month","mode":"hard"}
                """
            try await server.ask("POST", "/budgets", budget, expecting: 201)
            try await server.extend(admission, seconds: 3_600)
            try await server.expectRows([])
            #expect(try await server.unbalancedHolds() == [])
        }
    }

    @Test("a call over midnight is extended within its new day whatever it is newer than, or takes nothing of")
    func reachedWindow() async throws {
        try await Self.run(quota: "10", window: "day", at: "2026-11-23T23:00:00Z") { server in
            let none = try await server.admit("1", seconds: "0", more: #","ttl_seconds":10800"#)
            server.clock.advance(seconds: 7_200)
            let scope = #""scope":{"tenant":"acme"},"window":"day","mode":"hard""#
            for budget in [
                #"{"key":"calls","measure":"requests","amount":"0",\#(scope)}"#,
                #"{"key":"money","measure":"charge","amount":"0","currency":"USD",\#(scope)}"#,
            ] {
                try await server.ask("POST", "/budgets", budget, expecting: 201)
            }
            try await server.useTomorrow("10", at: "2026-11-24T01:00:01Z")
            let rows = try await server.limitRows()
            let extended = try await server.extend(none, seconds: 10_800)
            #expect(extended["expires_at"]?.string == "2026-11-24T04:00:00.000000Z")
            #expect(try await server.limitRows() == rows)
            #expect(try await server.extend(none, seconds: 86_400, expecting: 409)["code"] != nil)
            try await server.ask("POST", "/tenants/acme/suspend")
            let suspended = try await server.extend(none, seconds: 11_000, expecting: 403)
            #expect(suspended["code"]?.string == "tenant_suspended")
        }
    }

    @Test("two that extend at once hold once")
    func race() async throws {
        try await Self.run(quota: "10", window: "day", at: "2026-11-23T23:00:00Z") { server in
            let admission = try await server.admit("1", seconds: "4", more: #","ttl_seconds":600"#)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for index in 0..<8 {
                    group.addTask { try await server.extend(admission, seconds: 7_200 + index) }
                }
                try await group.waitForAll()
            }
            try await server.expectRows(["0 4 0", "0 4 0"])
            #expect(try await server.unbalancedHolds() == [])
        }
    }

    @Test("a call that was admitted with fewer tokens holds those in the next window, not what it asked for")
    func fewerTokens() async throws {
        try await TestServer.run(clock: TestClock("2026-11-23T23:00:00Z")) { server in
            try await server.addTenant("acme")
            let budget = #"{"key":"t","scope":{"tenant":"acme"},"measure":"units","amount":"300","window":"day"}"#
            try await server.addFeature("tokens", of: "output_tokens", type: "llm.completion")
            let scoped = budget.replacing(#"{"tenant":"acme"}"#, with: #"{"tenant":"acme","feature":"tokens"}"#)
            try await server.ask("POST", "/budgets", scoped, expecting: 201)
            let call = """
                {"subject":"acme","type":"llm.completion","source":"gw","id":"1","min_output_tokens":100,\
                "ttl_seconds":60,"data":{"model":"gpt-4o","input_tokens":5,"output_tokens":700}}
                """
            let admission = try await server.ask("POST", "/admissions", call)
            #expect(admission["max_output_tokens"]?.number == "300")
            try await server.extend(admission, seconds: 7_200)
            try await server.expectRows(["0 300 0", "0 300 0"])
        }
    }

    @Test(
        "a cost that a trusted source said is held in the next window too, and no tenant can have its own believed",
        arguments: ["", #","fallback_unit_amount":"0.001""#]
    )
    func reportedCost(fallback: String) async throws {
        let clock = TestClock("2026-11-23T23:30:00Z")
        try await TestServer.run(clock: clock, configure: { $0.trustedCostSources = ["proxy"] }) { server in
            try await server.addTenant("acme")
            let budget = """
                {"key":"costs","scope":{"tenant":"acme"},"measure":"cost","amount":"25","currency":"USD",\
                "window":"day","mode":"hard"\(fallback)}
                """
            try await server.ask("POST", "/budgets", budget, expecting: 201)
            func call(_ id: String, _ more: String = "") -> String {
                """
                {"subject":"acme","type":"chat","source":"proxy","id":"\(id)","ttl_seconds":900,\
                "data":{"model":"m","output_tokens":1000,"cost":10}\(more)}
                """
            }
            let admission = try await server.ask("POST", "/admissions", call("1"))
            try await server.expectRows(["0 10 0"])
            server.clock.advance(seconds: 840)
            try await server.extend(admission, seconds: 1_800)
            try await server.expectRows(["0 10 0", "0 10 0"])
            let tenant = try await server.client([.admissionsWrite], tenant: "acme")
            try await server.ask(
                "POST",
                "/admissions",
                call("2", #","believes_cost":true"#),
                expecting: 400,
                as: tenant
            )
            let own = try await server.ask("POST", "/admissions", call("3"), as: tenant)
            #expect(own["allowed"] == .bool(!fallback.isEmpty))
        }
    }

    private static func run(
        quota: String,
        window: String,
        at time: String,
        _ body: (TestServer) async throws -> Void
    ) async throws {
        try await TestServer.run(clock: TestClock(time)) { server in
            try await server.arrangeQuota(quota, window: window)
            try await body(server)
        }
    }
}

extension TestServer {
    /// Usage that never asked, of the next day already: clocks of gateways may be fast.
    fileprivate func useTomorrow(_ seconds: String, at time: String) async throws {
        let body = """
            {"specversion":"1.0","id":"tomorrow","source":"gw","type":"job.done","subject":"acme","time":"\(time)",\
            "data":{"seconds":\(seconds)}}
            """
        #expect(try await operatorClient.post("/api/v1/events", body).expecting(200).report == "accepted 1")
    }

    fileprivate func storedCalls() async throws -> [Int64] {
        try await withPool { pool in
            try await pool.query(.worker, "SELECT count(call) FROM reservation") { row throws(PostgresError) in
                try row.next()
            }
        }
    }
}
