import BillingCore
import Postgres
import TestSupport
import Testing
import Web

/// Limits on money, and several limits at once.
@Suite struct MoneyLimitTests {
    /// Ten seconds are free, every further one costs 2.
    private static let tiers = """
        {"feature":"seconds","price":{"model":"graduated","tiers":[
          {"up_to":"10","unit_amount":"0"},{"up_to":null,"unit_amount":"2"}]}}
        """

    private static let graduated = #"{"charges":[\#(tiers)],"spend_cap":{"amount":"20","mode":"hard"}}"#

    private static func arrange(_ server: TestServer, _ version: String = graduated) async throws {
        try await server.addTenant("acme")
        try await server.addFeature("seconds")
        try await server.publish(version)
        try await server.subscribe(at: "2026-11-01T00:00:00Z")
    }

    /// Changes the only subscription to the plan `max` a minute from now.
    private static func changePlan(_ server: TestServer) async throws {
        let id = try await server.ask("GET", "/subscriptions")["data"]?[0]?["id"]?.string ?? ""
        server.clock.advance(seconds: 60)
        try await server.ask("POST", "/subscriptions/\(id)/change", #"{"plan":"max"}"#)
    }

    /// A hard budget on what is charged in a month.
    private static func addChargeBudget(
        _ server: TestServer,
        _ key: String,
        scope: String,
        amount: Int,
        fallback: String? = nil
    ) async throws {
        let more = fallback.map { #","fallback_unit_amount":"\#($0)""# } ?? ""
        try await server.ask(
            "POST",
            "/budgets",
            """
            {"key":"\(key)","scope":\(scope),"measure":"charge","amount":"\(amount)","currency":"USD",\
            "window":"month","mode":"hard"\(more)}
            """,
            expecting: 201
        )
    }

    @Test("a spend cap over a free first tier holds what all that is held can cost together")
    func freeTier() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            // Each alone would be free; two reach the second tier, and the cap allows ten seconds of that.
            var admitted: [JSONValue] = []
            for index in 1...4 {
                let answer = try await server.admit("\(index)", seconds: "7")
                if answer["allowed"] == .bool(true) { admitted.append(answer) }
                if index == 2 { #expect(answer["limits"]?[0]?["held"]?.string == "8.00") }
                if index == 3 { #expect(answer["reason"]?.string == "spend_cap_exceeded") }
            }
            #expect(admitted.count == 2)
            try await server.expectRows(["0 8 0"])
            try await server.settle(admitted[0], event: "a", seconds: "7")
            try await server.expectRows(["0 8 0"])
            try await server.settle(admitted[1], event: "b", seconds: "5")
            try await server.expectRows(["4 0 0"])
            #expect(try await server.brokenLimits() == [])
        }
    }

    @Test("use that nothing reserved raises what is held when it fills the free tier, and is overshoot")
    func unreservedUse() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            let admission = try await server.admit("1", seconds: "10")
            try await server.expectRows(["0 0 0"])
            try await server.ingest(SentEvent("other", data: #"{"seconds":15}"#))
            try await server.expectRows(["10 20 30"])
            #expect(try await server.brokenLimits() == [])
            try await server.settle(admission, event: "a", seconds: "10")
            try await server.expectRows(["30 0 30"])
            _ = try await server.void("other")
            // Ten seconds are left of 25, and those are free.
            try await server.expectRows(["0 0 0"])
        }
    }

    @Test("the charges of a spend cap are those of the invoice, whatever the events' order in a batch")
    func chargesAddUp() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            let events = (1...6).map { SentEvent("\($0)", data: #"{"seconds":\#($0)}"#) }
            _ = try await server.post(events).expecting(200)
            #expect(try await server.invoiced() == ["seconds 21 = 22.00"])
            try await server.expectRows(["22 0 22"])
            #expect(try await server.admit("1", seconds: "1")["reason"]?.string == "spend_cap_exceeded")
        }
    }

    @Test("a released reservation frees what it held of a spend cap")
    func release() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            let admission = try await server.admit("1", seconds: "18")
            try await server.expectRows(["0 16 0"])
            try await server.ask("POST", "/admissions/\(server.id(of: admission))/release")
            try await server.expectRows(["0 0 0"])
        }
    }

    @Test("the tightest of user, tenant, provider and company decides, and a refused call leaves no trace on any")
    func hierarchy() async throws {
        try await TestServer.run { server in
            for tenant in ["acme", "beta", "gamma"] { try await server.addTenant(tenant) }
            let budgets = [
                ("company", "{}", "9"), ("openai", #"{"provider":"openai"}"#, "7"),
                ("tenants", #"{"tenant":"*"}"#, "5"), ("users", #"{"tenant":"*","user":"*"}"#, "3"),
            ]
            for (key, scope, amount) in budgets {
                try await server.ask(
                    "POST",
                    "/budgets",
                    """
                    {"key":"\(key)","scope":\(scope),"measure":"requests","amount":"\(amount)","window":"day",\
                    "mode":"hard"}
                    """,
                    expecting: 201
                )
            }
            // How many calls of a user fit, and what alone refuses the next one: at first the user's budget is the only
            // one that is full, then the tenant's, and so on.
            let users = [
                ("acme", "a", "openai", 3, "users"), ("acme", "b", "openai", 2, "tenants"),
                ("beta", "c", "openai", 2, "openai"), ("beta", "d", "azure", 2, "company"),
                ("gamma", "e", "azure", 0, "company"),
            ]
            for (tenant, user, provider, fitting, limit) in users {
                let data = #","provider":"\#(provider)","user":"\#(user)""#
                for index in 0..<fitting {
                    let answer = try await server.admit("\(user)-\(index)", data: data, subject: tenant)
                    #expect(answer["allowed"] == .bool(true), "\(answer)")
                }
                let before = try await server.limitRows()
                for index in 0..<2 {
                    let refused = try await server.admit("\(user)-more-\(index)", data: data, subject: tenant)
                    #expect(refused["reason"]?.string == "budget_exceeded")
                    #expect(refused["limits"]?.elements?.map { $0["key"]?.string } == [limit])
                    try await server.expectRows(before)
                }
            }
            // The company's, the provider's, acme's and those of its users, beta's and those of its.
            try await server.expectRows([
                "0 9 0", "0 7 0", "0 5 0", "0 3 0", "0 2 0", "0 4 0", "0 2 0", "0 2 0",
            ])
        }
    }

    @Test("a budget on provider costs counts what the price book says, and refuses a model without a price")
    func costs() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            for (unit, amount) in [("input", "0.01"), ("output", "0.02")] { try await server.price(unit, amount) }
            try await server.ask(
                "POST",
                "/budgets",
                """
                {"key":"company","scope":{},"measure":"cost","amount":"10","currency":"USD","window":"day",\
                "mode":"hard"}
                """,
                expecting: 201
            )
            func ask(_ id: String, model: String) async throws -> JSONValue {
                try await server.ask(
                    "POST",
                    "/admissions",
                    """
                    {"subject":"acme","type":"llm.completion","source":"gw","id":"\(id)",\
                    "data":{"provider":"openai","model":"\(model)","input_tokens":100,"output_tokens":200}}
                    """
                )
            }
            let first = try await ask("1", model: "gpt-4o")
            #expect(first["limits"]?[0]?["held"]?.string == "5.00")
            #expect(try await ask("2", model: "gpt-9")["reason"]?.string == "unpriced_model")
            #expect(try await ask("3", model: "gpt-4o")["allowed"] == .bool(true))
            #expect(try await ask("4", model: "gpt-4o")["reason"]?.string == "budget_exceeded")
            let own = try await server.client([.admissionsWrite], tenant: "acme")
            let seen = try await server.ask(
                "POST",
                "/admissions",
                """
                {"subject":"acme","type":"llm.completion","source":"gw","id":"5",\
                "data":{"provider":"openai","model":"gpt-4o","input_tokens":100,"output_tokens":200}}
                """,
                as: own
            )
            #expect(seen["reason"]?.string == "limit_exceeded")
            #expect(seen["limits"]?.text == "[]")
        }
    }

    @Test("a call without a price holds the fallback amount beside what tiers hold, and frees it again")
    func fallback() async throws {
        try await TestServer.run { server in
            let price = #"{"model":"cost_plus","markup_percent":"0"}"#
            try await Self.arrange(server, #"{"charges":[{"feature":"seconds","price":\#(price)}]}"#)
            try await Self.addChargeBudget(server, "all", scope: #"{"tenant":"acme"}"#, amount: 10, fallback: "0.01")
            func ask(_ id: String, tokens: Int) async throws -> JSONValue {
                let data = #","model":"unknown","input_tokens":\#(tokens)"#
                return try await server.admit(id, data: data)
            }
            let first = try await ask("1", tokens: 500)
            #expect(first["limits"]?[0]?["held"]?.string == "5.00")
            #expect(try await ask("2", tokens: 300)["limits"]?[0]?["held"]?.string == "8.00")
            #expect(try await ask("3", tokens: 300)["reason"]?.string == "budget_exceeded")
            try await server.ask("POST", "/admissions/\(server.id(of: first))/release")
            try await server.expectRows(["0 3 0"])
        }
    }

    @Test("where one of two features has no price a call holds what the other costs and the fallback amount")
    func fallbackBesideAPrice() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addFeature("seconds")
            try await server.addFeature("jobs", "count", of: nil)
            try await server.publish(
                #"{"charges":[{"feature":"seconds","price":{"model":"per_unit","unit_amount":"2"}}]}"#
            )
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            for (key, scope) in [("all", #"{"tenant":"acme"}"#), ("users", #"{"tenant":"acme","user":"*"}"#)] {
                try await Self.addChargeBudget(server, key, scope: scope, amount: 50, fallback: "0.01")
            }
            let data = #","user":"ann","output_tokens":300"#
            let first = try await server.admit("1", seconds: "20", data: data)
            #expect(first["limits"]?.elements?.compactMap { $0["held"]?.string } == ["43.00", "43.00"])
            #expect(try await server.admit("2", seconds: "20", data: data)["reason"]?.string == "budget_exceeded")
            try await server.ask("POST", "/admissions/\(server.id(of: first))/release")
            try await server.expectRows(["0 0 0", "0 0 0"])
        }
    }

    @Test("what a distinct value is charged counts in the window of its event, whatever else comes with it")
    func distinctValues() async throws {
        try await TestServer.run(clock: TestClock("2026-10-30T08:00:00Z")) { server in
            try await server.addTenant("acme")
            try await server.addFeature("seconds")
            try await server.addFeature("seats", "unique_count", of: "seat")
            try await server.publish(
                """
                {"charges":[{"feature":"seconds","price":{"model":"per_unit","unit_amount":"1"}},
                  {"feature":"seats","price":{"model":"per_unit","unit_amount":"3"}}],
                 "spend_cap":{"amount":"50","mode":"hard"}}
                """
            )
            try await server.subscribe(at: "2026-10-30T00:00:00Z")
            server.clock.set(try Instant(parsing: "2026-11-01T01:00:00Z"))
            let events = [
                SentEvent("new", time: "2026-11-01T00:30:00Z", data: #"{"seat":"ann"}"#),
                SentEvent("late", time: "2026-10-31T23:00:00Z", data: #"{"seconds":5}"#),
            ]
            _ = try await server.post(events).expecting(200)
            try await server.expectRows(["5 0 5", "3 0 3"])
        }
    }

    @Test("a budget on the charges of some usage holds nothing for distinct values, which it never counts")
    func distinctValuesOfSome() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addFeature("seconds")
            try await server.addFeature("seats", "unique_count", of: "user")
            try await server.publish(
                """
                {"charges":[{"feature":"seconds","price":{"model":"per_unit","unit_amount":"1"}},
                  {"feature":"seats","price":{"model":"per_unit","unit_amount":"3"}}]}
                """
            )
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            try await Self.addChargeBudget(server, "users", scope: #"{"tenant":"*","user":"*"}"#, amount: 2)
            // Nor is it anything to such a budget that nobody sells them.
            try await server.addFeature("unsold", "unique_count", of: "user")
            let unsold = try await server.admit("0", seconds: "0", data: #","user":"ben""#)
            #expect(unsold["allowed"] == .bool(true))
            try await server.ask("DELETE", "/features/unsold", expecting: 204)
            server.clock.advance(seconds: 1)
            try await Self.addChargeBudget(server, "all", scope: #"{"tenant":"acme"}"#, amount: 20)
            let data = #","user":"ann""#
            #expect(try await server.admit("1", data: data)["allowed"] == .bool(true))
            try await server.expectRows(["0 1 0", "0 0 0", "0 4 0"])
            try await server.admit("2", data: data)
            let refused = try await server.admit("3", data: data)
            #expect(refused["reason"]?.string == "budget_exceeded")
        }
    }

    @Test("a distinct value that was admitted is no overshoot, also where the plan changed within the period")
    func distinctValuesAfterChange() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addFeature("seats", "unique_count", of: "seat")
            for plan in ["pro", "max"] {
                let charge = #"{"feature":"seats","price":{"model":"per_unit","unit_amount":"3"}}"#
                try await server.publish(#"{"charges":[\#(charge)]}"#, as: plan)
            }
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            try await Self.addChargeBudget(server, "all", scope: "{}", amount: 20)
            try await server.ingest(SentEvent("0", data: #"{"seat":"zoe"}"#))
            try await server.expectRows(["3 0 3"])
            try await Self.changePlan(server)
            for (id, seat, used) in [("1", "ann", 6), ("2", "ann", 6), ("3", "ben", 9)] {
                let data = #","seat":"\#(seat)""#
                let admission = try await server.admit(id, data: data)
                #expect(admission["limits"]?[0]?["held"]?.string == "3.00")
                try await server.settle(admission, event: id, seconds: "1", data: data)
                try await server.expectRows(["\(used) 0 3"])
            }
            #expect(try await server.unbalancedHolds() == [])
        }
    }

    @Test("a void that gives back what another user was charged allows its own user no more than the budget")
    func voidedCharges() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            try await Self.addChargeBudget(server, "users", scope: #"{"tenant":"acme","user":"*"}"#, amount: 15)
            try await server.ingest(SentEvent("a", data: #"{"seconds":10,"user":"ann"}"#))
            try await server.ingest(SentEvent("b", data: #"{"seconds":10,"user":"ben"}"#))
            _ = try await server.void("a")
            // Ann's ten seconds were free, and now Ben's are, which Ann's row does not show.
            try await server.expectRows(["0 0 0", "0 0 0", "20 0 20"])
            let windows = try await server.ask("GET", "/budgets/users/status")["data"]
            #expect(windows?[1]?["used"]?.string == "0.00" && windows?[1]?["remaining"]?.string == "15.00")
            let data = #","user":"ann""#
            let refused = try await server.admit("1", seconds: "8", data: data)
            #expect(refused["reason"]?.string == "budget_exceeded")
            #expect(refused["limits"]?[0]?["remaining"]?.string == "15.00")
            #expect(try await server.admit("2", seconds: "7", data: data)["allowed"] == .bool(true))
        }
    }

    @Test("a budget on the charges of each plan refuses what goes beyond it")
    func eachPlan() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            try await Self.addChargeBudget(server, "plans", scope: #"{"tenant":"*","plan":"*"}"#, amount: 15)
            // Whatever is left of the free tier: it is held at the highest price.
            let first = try await server.admit("1", seconds: "5")
            #expect(first["allowed"] == .bool(true))
            #expect(try await server.admit("2", seconds: "5")["reason"]?.string == "budget_exceeded")
            try await server.expectRows(["0 0 0", "0 10 0"])
            try await server.settle(first, event: "a", seconds: "14")
            try await server.expectRows(["8 0 8", "8 0 0"])
        }
    }

    @Test("usage of two days that frees what is held of both locks the rows of limits in their order")
    func lockOrder() async throws {
        try await TestServer.run(clock: TestClock("2026-11-23T23:55:00Z")) { server in
            try await Self.arrange(
                server,
                #"{"charges":[\#(Self.tiers)],"quotas":[{"feature":"seconds","limit":"99","window":"day"}]}"#
            )
            let budget = """
                {"key":"day","scope":{"tenant":"acme"},"measure":"charge","amount":"90","currency":"USD",\
                "window":"day","mode":"hard"}
                """
            try await server.ask("POST", "/budgets", budget, expecting: 201)
            let admission = try await server.admit("1", seconds: "5")
            server.clock.advance(seconds: 600)
            let id = server.id(of: admission)
            let yesterday = #""time":"2026-11-23T23:56:00Z","reservationid":"\#(id)""#
            let events = [("a", yesterday), ("b", #""time":"2026-11-24T00:04:00Z""#)].map { id, more in
                """
                {"specversion":"1.0","id":"\(id)","source":"gw","type":"job.done","subject":"acme",\(more),\
                "data":{"seconds":5}}
                """
            }
            try await server.withPool { pool in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        // Of today's two rows the quota's comes first.
                        try await pool.transaction(.worker) { transaction in
                            try transaction.execute(
                                """
                                SELECT FROM limit_state
                                WHERE limit_id = (SELECT limit_id FROM usage_limit)
                                    AND window_start > '2026-11-23 12:00Z'
                                FOR UPDATE
                                """
                            )
                            try transaction.execute(TestServer.untilSomebodyWaits)
                            let free = try transaction.query(
                                """
                                SELECT limit_id FROM limit_state
                                WHERE limit_id = (SELECT limit_id FROM budget) AND scope_value = ''
                                    AND window_start > '2026-11-23 12:00Z'
                                FOR UPDATE SKIP LOCKED
                                """
                            ) { row throws(PostgresError) in try row.next(Int64.self) }
                            #expect(free.count == 1)
                        }
                    }
                    #expect(try await server.comesToHave("RowShareLock", on: "limit_state"))
                    let answer = try await server.operatorClient.post(
                        "/api/v1/events",
                        "[\(events.joined(separator: ","))]"
                    )
                    #expect(answer.status == 200, "\(answer)")
                    try await group.waitForAll()
                }
            }
            #expect(try await server.unbalancedHolds() == [])
        }
    }

    @Test("what was held of a cap that a change of plan put out of force, and is settled, is no overshoot")
    func withoutCap() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            try await server.publish(#"{"charges":[\#(Self.tiers)]}"#, as: "max")
            let admission = try await server.admit("1", seconds: "20")
            try await server.expectRows(["0 20 0"])
            try await Self.changePlan(server)
            try await server.settle(admission, event: "a", seconds: "20")
            try await server.expectRows(["20 0 0"])
        }
    }

    @Test("what is held of before a change of plan counts with what it does to the tiers of usage after it")
    func laterSegments() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            let before = try await server.admit("1", seconds: "7")
            try await server.publish(Self.graduated, as: "max")
            try await Self.changePlan(server)
            let changed = server.clock.now.adding(seconds: -60).description
            try await server.ingest(SentEvent("a", data: #"{"seconds":10}"#))
            // No reservation held what this use adds to what the first one can cost.
            try await server.expectRows(["0 14 14"])
            #expect(try await server.admit("2", seconds: "4")["reason"]?.string == "spend_cap_exceeded")
            let after = try await server.admit("3", seconds: "3")
            try await server.expectRows(["0 20 14"])
            try await server.settle(after, event: "after", seconds: "3")
            try await server.settle(before, event: "before", seconds: "7", time: changed)
            try await server.expectRows(["20 0 14"])
        }
    }

    @Test("a price for volume, which falls or rises for all units, holds what earlier holds can make of it")
    func volumeAfterAChange() async throws {
        let falling = #"{"up_to":"1000","unit_amount":"0.10"},{"up_to":null,"unit_amount":"0.05"}"#
        let rising = #"{"up_to":"1000","unit_amount":"0.01"},{"up_to":null,"unit_amount":"1"}"#
        let perUnit = #""model":"per_unit","unit_amount":"0.01""#
        // The first price and what is used at it, the second, the cap, and what of the last two calls fits.
        let cases: [(String, Int, String, Int, [(String, Bool)])] = [
            (perUnit, 1_000, falling, 100, [("1000", true), ("1600", false)]),
            (#""model":"volume","tiers":[\#(rising)]"#, 998, rising, 20, [("2", false)]),
        ]
        for (price, used, tiers, cap, calls) in cases {
            try await TestServer.run { server in
                let version = { (price: String) in
                    """
                    {"charges":[{"feature":"seconds","price":{\(price)}}],
                     "spend_cap":{"amount":"\(cap)","mode":"hard"}}
                    """
                }
                try await Self.arrange(server, version(price))
                try await server.ingest(SentEvent("a", data: #"{"seconds":\#(used)}"#))
                try await server.admit("before", seconds: "1")
                try await server.publish(version(#""model":"volume","tiers":[\#(tiers)]"#), as: "max")
                try await Self.changePlan(server)
                for (seconds, fits) in calls {
                    #expect(try await server.admit(seconds, seconds: seconds)["allowed"] == .bool(fits))
                }
            }
        }
    }

    @Test("after a change of plan a hold continues from what the period has used")
    func segments() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            try await server.ingest(SentEvent("a", data: #"{"seconds":15}"#))
            try await server.publish(Self.graduated.replacing("\"20\"", with: "\"40\""), as: "max")
            try await Self.changePlan(server)
            let admission = try await server.admit("1", seconds: "6")
            #expect(admission["limits"]?[0]?["held"]?.string == "12.00")
            try await server.settle(admission, event: "b", seconds: "6")
            try await server.expectRows(["22 0 10"])
            #expect(try await server.brokenLimits() == [])
            #expect(try await server.differences() == [])
        }
    }

    @Test("what is held from before a change of plan leaves less of the free tier to what is held after it")
    func holdsInTwoSegments() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            try await server.publish(Self.graduated, as: "max")
            let first = try await server.admit("1", seconds: "7")
            try await server.expectRows(["0 0 0"])
            try await Self.changePlan(server)
            let second = try await server.admit("2", seconds: "7")
            try await server.expectRows(["0 8 0"])
            #expect(try await server.admit("3", seconds: "7")["reason"]?.string == "spend_cap_exceeded")
            let before = "2026-11-23T08:00:30Z"
            try await server.settle(first, event: "a", seconds: "7", time: before)
            try await server.expectRows(["0 8 0"])
            try await server.settle(second, event: "b", seconds: "7")
            try await server.expectRows(["8 0 0"])
            #expect(try await server.differences() == [])
        }
    }

    @Test("where nothing is free a change of plan adds nothing to what is held")
    func holdsInTwoSegmentsWithoutTiers() async throws {
        try await TestServer.run { server in
            let version = """
                {"charges":[{"feature":"seconds","price":{"model":"per_unit","unit_amount":"2"}}],
                 "spend_cap":{"amount":"20","mode":"hard"}}
                """
            try await Self.arrange(server, version)
            try await server.publish(version, as: "max")
            try await server.admit("1", seconds: "5")
            try await Self.changePlan(server)
            #expect(try await server.admit("2", seconds: "5")["allowed"] == .bool(true))
            try await server.expectRows(["0 20 0"])
        }
    }

    @Test("a budget on one feature counts what that feature is charged, and each user's what its own events are")
    func narrowCharges() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addFeature("seconds")
            try await server.addFeature("jobs", "count", of: nil)
            try await server.publish(
                """
                {"charges":[{"feature":"seconds","price":{"model":"per_unit","unit_amount":"2"}},
                  {"feature":"jobs","price":{"model":"per_unit","unit_amount":"10"}}]}
                """
            )
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            for (key, scope) in [
                ("jobs", #"{"tenant":"acme","feature":"jobs"}"#), ("users", #"{"tenant":"acme","user":"*"}"#),
            ] {
                try await Self.addChargeBudget(server, key, scope: scope, amount: 50)
            }
            _ = try await server.post([
                SentEvent("1", data: #"{"seconds":3,"user":"a"}"#), SentEvent("2", data: #"{"seconds":1,"user":"b"}"#),
            ]).expecting(200)
            try await server.expectRows(["20 0 20", "16 0 16", "12 0 12"])
            _ = try await server.void("1")
            try await server.expectRows(["10 0 10", "0 0 0", "12 0 12"])
        }
    }
}
