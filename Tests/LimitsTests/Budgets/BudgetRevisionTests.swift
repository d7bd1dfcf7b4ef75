import BillingCore
import Catalog
import Postgres
import TestSupport
import Testing
import Web

@testable import Limits

/// How the rows of a budget follow its change.
@Suite struct BudgetRevisionTests {
    private static func make(_ server: TestServer, _ bound: String) async throws {
        try await server.addTenant("acme")
        try await server.addMeter("jobs")
        let scope = #"{"tenant":"*","user":"*"}"#
        try await server.ask("POST", "/budgets", #"{"key":"users","scope":\#(scope),\#(bound)}"#, expecting: 201)
    }

    /// A budget of each tenant over its billing period, and a plan to subscribe to.
    private static func makeOfPeriod(_ server: TestServer) async throws {
        try await server.addTenant("acme")
        try await server.addFeature("seconds")
        try await server.publish("{}")
        let period = #""measure":"requests","amount":"100","window":"billing_period","thresholds":[50]"#
        let each = #"{"key":"each","scope":{"tenant":"*"},\#(period)}"#
        try await server.ask("POST", "/budgets", each, expecting: 201)
    }

    private static func followAll(_ server: TestServer) async throws {
        try await server.withPool { pool in
            let clock = server.clock.clock
            let catalog = Catalog(pool: pool, clock: clock)
            try await catalog.reload()
            let ids = IDSource.random(clock)
            try await BudgetRevisionWorker(pool: pool, catalog: catalog, ids: ids, clock: clock, logger: .silent)
                .followAll()
        }
    }

    /// How many budgets have rows that are still to follow.
    private static func changes(_ server: TestServer) async throws -> Int {
        try await server.column("SELECT limit_id::text FROM budget_change").count
    }

    @Test("of very many rows one that somebody has locked delays no change: it is brought to all, with its alerts")
    func pieces() async throws {
        try await TestServer.run { server in
            try await Self.make(server, #""measure":"requests","amount":"100","window":"day","thresholds":[50]"#)
            try await server.database.run(
                """
                INSERT INTO limit_state (
                    tenant_id, limit_id, scope_value, window_start, window_end, used, held, overshoot, limit_amount,
                    limit_revision
                )
                SELECT tenant.tenant_id, limit_id, 'u' || number, '2026-11-23Z', '2026-11-24Z', 30, 0, 0, 100,
                    budget.revision
                FROM tenant, budget, generate_series(1001, 2200) AS number
                """
            )
            func followed() async throws -> String? {
                try await server.column(
                    """
                    SELECT concat_ws(' ', count(*) FILTER (WHERE limit_revision = 2 AND limit_amount = 60),
                        (SELECT count(*) FROM alert WHERE threshold = 50),
                        (SELECT count(*) FROM budget_change))
                    FROM limit_state
                    """
                ).first ?? nil
            }
            try await server.whileLocked(by: "SELECT FROM limit_state WHERE scope_value = 'u1200' FOR UPDATE") {
                try await server.ask("PATCH", "/budgets/users", #"{"amount":"60"}"#)
                let rows = try await server.column(
                    """
                    SELECT limit_revision::text FROM limit_state
                    WHERE scope_value IN ('u1200', 'u2200') ORDER BY scope_value DESC
                    """
                )
                #expect(rows == ["2", "1"], "the first rows have followed with the change")
            }
            #expect(try await eventually { try await followed() == "1200 1200 0" })
        }
    }

    @Test("a row that was being made while its budget was lowered follows, and tells what it has met by that")
    func madeMeanwhile() async throws {
        try await TestServer.run { server in
            try await Self.make(server, #""measure":"requests","amount":"100","window":"day","thresholds":[1,50]"#)
            let first: @Sendable () async throws -> Void = {
                try await server.ingest(SentEvent("1", data: #"{"user":"ann"}"#))
            }
            // It has made its row, and has an alert to tell.
            try await server.whileCommitWaits(afterInsertsInto: "alert", of: first, check: { #expect($0) }) {
                try await server.ask("PATCH", "/budgets/users", #"{"amount":"2"}"#)
                try await Self.followAll(server)
                #expect(try await Self.changes(server) == 1, "a row is still being made")
            }
            try await server.rowsFollowBudgets()
            let told = try await server.column(
                "SELECT trim_scale(threshold)::text FROM alert ORDER BY threshold"
            )
            #expect(told == ["1", "50"])
            #expect(try await server.column("SELECT trim_scale(limit_amount)::text FROM limit_state") == ["2"])
        }
    }

    @Test("a row that is made by what began before the change was committed, and ends after it, follows too")
    func begunMeanwhile() async throws {
        try await TestServer.run { server in
            try await Self.make(server, #""measure":"requests","amount":"100","window":"day","thresholds":[1,50]"#)
            try await server.withPool { pool in
                func hold(_ table: String) async throws -> Task<Void, Never> {
                    let holding = Task { () -> Void in try? await pool.holdTable(table) }
                    #expect(try await server.comesToHave("AccessExclusiveLock", on: table))
                    return holding
                }
                let noting = try await hold("budget_change")
                let change = Task { _ = try await server.ask("PATCH", "/budgets/users", #"{"amount":"2"}"#) }
                #expect(try await server.comesToWait(for: "RowExclusiveLock", on: "budget_change"))
                let alert = try await hold("alert")
                let use = Task { _ = try await server.ingest(SentEvent("1", data: #"{"user":"ann"}"#)) }
                #expect(try await server.comesToWait(for: "RowExclusiveLock", on: "alert"))
                noting.cancel()
                try await change.value
                try await Self.followAll(server)
                #expect(try await Self.changes(server) == 1, "a row is still being made")
                alert.cancel()
                try await use.value
            }
            try await server.rowsFollowBudgets()
            let told = try await server.column("SELECT trim_scale(threshold)::text FROM alert ORDER BY threshold")
            #expect(told == ["1", "50"])
        }
    }

    @Test("what is held beyond a soft amount between a change and the round that follows it is no overshoot")
    func heldMeanwhile() async throws {
        try await TestServer.run { server in
            let soft = #""measure":"requests","amount":"1","window":"day","mode":"soft""#
            try await Self.make(server, soft)
            func admit(_ id: String) async throws {
                let call = #"{"subject":"acme","type":"job.done","source":"gw","id":"\#(id)","data":{"user":"ann"}}"#
                #expect(try await server.ask("POST", "/admissions", call)["allowed"] == .bool(true))
            }
            try await admit("1")
            try await server.ask("PATCH", "/budgets/users", #"{"thresholds":[10]}"#)
            try await admit("2")
            try await server.rowsFollowBudgets()
            try await Self.followAll(server)
            let rows = try await server.column(
                "SELECT concat_ws(' ', trim_scale(held), trim_scale(overshoot), limit_revision) FROM limit_state"
            )
            #expect(rows == ["2 0 2"])
        }
    }

    @Test("a forecast is told once where the changed budget is still heading for it, whoever comes to the row first")
    func forecastMeanwhile() async throws {
        try await TestServer.run { server in
            let half =
                #""measure":"requests","amount":"4","window":"day","mode":"soft","forecast":true,"thresholds":[]"#
            try await Self.make(server, half)
            server.clock.advance(seconds: 4 * 3_600)
            for id in 1...2 { try await server.ingest(SentEvent("\(id)", data: #"{"user":"ann"}"#)) }
            #expect(try await server.column("SELECT kind FROM alert") == ["forecast"])
            // The row can't follow at once: it is used first.
            try await server.whileLocked(by: "SELECT FROM limit_state FOR UPDATE") {
                try await server.ask("PATCH", "/budgets/users", #"{"thresholds":[1000]}"#)
            }
            try await server.ingest(SentEvent("3", data: #"{"user":"ann"}"#))
            try await server.rowsFollowBudgets()
            #expect(try await server.column("SELECT kind FROM alert") == ["forecast"])
        }
    }

    @Test("a change tells nothing of the billing period of a subscription that was ended, and of the present one all")
    func endedPeriods() async throws {
        try await TestServer.run { server in
            try await Self.makeOfPeriod(server)
            let ended = try await server.subscribe(at: "2026-11-10T12:00:00Z")
            for id in 1...20 { try await server.ingest(SentEvent("\(id)")) }
            server.clock.advance(seconds: 60)
            try await server.ask("POST", "/subscriptions/\(ended)/cancel", #"{"at":"now"}"#)
            server.clock.advance(seconds: 60)
            try await server.subscribe(at: "2026-11-23T08:01:30Z")
            for id in 21...50 { try await server.ingest(SentEvent("\(id)")) }
            try await server.ask("PATCH", "/budgets/each", #"{"amount":"25"}"#)
            try await server.rowsFollowBudgets()
            let rows = try await server.column(
                """
                SELECT concat_ws(' ', trim_scale(used), trim_scale(limit_amount)) FROM limit_state
                ORDER BY window_start
                """
            )
            #expect(rows == ["20 100", "30 25"])
            let told = try await server.ask("GET", "/alerts?kind=threshold_crossed")["data"]?.elements ?? []
            #expect(told.map { $0["detail"]?["used"]?.string } == ["30"])
        }
    }

    @Test("of rows in past billing periods no piece reads more than of others, and present ones do not wait for them")
    func pastPeriods() async throws {
        try await TestServer.run { server in
            try await Self.makeOfPeriod(server)
            try await server.subscribe(at: "2026-11-10T12:00:00Z")
            try await server.ingest(SentEvent("1"))
            try await server.database.run(
                """
                INSERT INTO limit_state (
                    tenant_id, limit_id, scope_value, window_start, window_end, used, held, overshoot, limit_amount,
                    limit_revision
                )
                SELECT tenant_id, limit_id, '', start, start + interval '1 hour', 1, 0, 0, 100, limit_revision
                FROM limit_state, generate_series('2026-01-01Z', '2026-02-19T15:00:00Z', interval '1 hour') AS start
                """
            )
            try await server.ask("PATCH", "/budgets/each", #"{"amount":"50"}"#)
            let followed: SQL = "SELECT trim_scale(limit_amount)::text FROM limit_state WHERE limit_revision = 2"
            #expect(try await server.column(followed) == ["50"], "the present row has followed with the change")

            let id = try #require(try await server.column("SELECT limit_id::text FROM budget").first.flatMap { $0 })
            let budget = LimitID(try #require(Int64(id)))
            try await server.withPool { pool in
                var pages: [Instant] = []
                var last: LimitRow?
                repeat {
                    let statement = LimitStateStore.lastOfNext(
                        500,
                        of: budget,
                        .billingPeriod,
                        after: last,
                        at: server.clock.now
                    )
                    last = try await pool.transaction(.worker) { try $0.first(statement, LimitRow.decode) }
                    if let last { pages.append(last.windowStart) }
                } while last != nil
                let ends = try [Instant(parsing: "2026-01-29T21:00:00Z"), Instant(parsing: "2026-01-09T01:00:00Z")]
                #expect(pages == ends)
            }
        }
    }

    @Test("transactions of others on the same server hold up a change for a minute at most")
    func heldUpByOthers() async throws {
        try await TestServer.run { server in
            try await Self.make(server, #""measure":"requests","amount":"100","window":"day""#)
            try await server.database.run(
                """
                INSERT INTO budget_change (tenant_id, limit_id, changed_at, horizon)
                SELECT tenant_id, limit_id, '\(server.clock.now)', '9223372036854775807' FROM budget
                """
            )
            server.clock.advance(seconds: 60)
            try await Self.followAll(server)
            #expect(try await Self.changes(server) == 1)
            server.clock.advance(seconds: 1)
            try await Self.followAll(server)
            #expect(try await Self.changes(server) == 0)
        }
    }

    @Test("of very many rows of a rate all come to the pace in force")
    func rates() async throws {
        try await TestServer.run { server in
            try await Self.make(server, #""measure":"requests","rate":{"limit":10,"period":"minute"}"#)
            try await server.database.run(
                """
                INSERT INTO rate_state (tenant_id, limit_id, scope_value, arrival, unit_interval)
                SELECT tenant.tenant_id, limit_id, 'u' || number, 0, 6000000
                FROM tenant, budget, generate_series(1001, 2200) AS number
                """
            )
            try await server.whileLocked(by: "SELECT FROM rate_state WHERE scope_value = 'u1200' FOR UPDATE") {
                try await server.ask("PATCH", "/budgets/users", #"{"rate":{"limit":20}}"#)
            }
            let isFollowed = try await eventually {
                let paces = try await server.column(
                    "SELECT concat_ws(' ', trim_scale(unit_interval), count(*)) FROM rate_state GROUP BY unit_interval"
                )
                return paces == ["3000000 1200"]
            }
            #expect(isFollowed)
        }
    }
}
