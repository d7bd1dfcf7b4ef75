import BillingCore
import Postgres
import TestSupport
import Testing
import Web

/// What calls hold of the time after a change that happens while they are open.
@Suite struct LaterPriceTests {
    /// A tenant whose seconds cost 0.1 each, and 10 on another plan from noon on, with a hard budget on what each user
    /// is charged.
    private static func arrange(
        _ server: TestServer,
        amount: Int,
        window: String = "month",
        change time: String = "2026-11-23T12:00:00Z"
    ) async throws {
        try await server.addTenant("acme")
        try await subscribe(server, changes: [("max", time)])
        try await addBudget(server, amount: amount, window: window)
    }

    /// Seconds cost 0.1 each, on another plan 10.
    private static func subscribe(
        _ server: TestServer,
        from start: String = "2026-11-01T00:00:00Z",
        changes: [(plan: String, time: String)]
    ) async throws {
        try await server.addFeature("seconds")
        for (plan, price) in [("pro", "0.1"), ("max", "10")] {
            try await server.publish(
                #"{"charges":[{"feature":"seconds","price":{"model":"per_unit","unit_amount":"\#(price)"}}]}"#,
                as: plan
            )
        }
        try await server.subscribe(at: start)
        try await change(server, changes)
    }

    private static func change(_ server: TestServer, _ changes: [(plan: String, time: String)]) async throws {
        let id = try await server.ask("GET", "/subscriptions")["data"]?[0]?["id"]?.string ?? ""
        for (plan, time) in changes {
            try await server.ask("POST", "/subscriptions/\(id)/change", #"{"plan":"\#(plan)","at":"\#(time)"}"#)
        }
    }

    private static func addBudget(_ server: TestServer, amount: Int, window: String = "month") async throws {
        try await server.ask(
            "POST",
            "/budgets",
            """
            {"key":"users","scope":{"tenant":"acme","user":"*"},"measure":"charge","amount":"\(amount)",\
            "currency":"USD","window":"\(window)","mode":"hard"}
            """,
            expecting: 201
        )
    }

    private static let user = #","user":"u1""#

    @Test("a call that can be settled after a change of plan holds the higher price, in narrow budgets too")
    func changeOfPlan() async throws {
        try await TestServer.run(clock: TestClock("2026-11-23T11:00:00Z")) { server in
            try await Self.arrange(server, amount: 120)
            try await server.admit("before", seconds: "10", more: #","ttl_seconds":900"#, data: Self.user)
            try await server.expectRows(["0 1 0"])
            server.clock.set(try Instant(parsing: "2026-11-23T11:50:00Z"))
            let over = try await server.admit("1", seconds: "10", more: #","ttl_seconds":900"#, data: Self.user)
            try await server.expectRows(["0 101 0"])
            let refused = try await server.admit("2", seconds: "10", more: #","ttl_seconds":900"#, data: Self.user)
            #expect(refused["reason"]?.string == "budget_exceeded")
            server.clock.set(try Instant(parsing: "2026-11-23T12:01:00Z"))
            let id = server.id(of: over)
            let event = """
                {"specversion":"1.0","id":"e","source":"gw","type":"job.done","subject":"acme",\
                "reservationid":"\(id)","data":{"seconds":10\(Self.user)}}
                """
            _ = try await server.operatorClient.post("/api/v1/events", event).expecting(200)
            try await server.expectRows(["100 1 0"])
        }
    }

    @Test("one that is extended over the change holds what it costs more then, once, or is not extended")
    func extended() async throws {
        try await TestServer.run(clock: TestClock("2026-11-23T11:00:00Z")) { server in
            try await Self.arrange(server, amount: 120)
            var paths: [String] = []
            for id in ["1", "2"] {
                let call = try await server.admit(id, seconds: "10", more: #","ttl_seconds":900"#, data: Self.user)
                paths.append("/admissions/\(server.id(of: call))")
            }
            try await server.expectRows(["0 2 0"])
            for seconds in [1_800, 7_200, 10_800] {
                try await server.ask("POST", "\(paths[0])/extend", #"{"ttl_seconds":\#(seconds)}"#)
                try await server.expectRows([seconds == 1_800 ? "0 2 0" : "0 101 0"])
            }
            try await server.ask("POST", "\(paths[1])/extend", #"{"ttl_seconds":7200}"#, expecting: 409)
            try await server.ask("POST", "\(paths[0])/release")
            try await server.expectRows(["0 1 0"])
        }
    }

    @Test("one that is extended over the change holds nothing of a budget that is newer, in a window that it is in")
    func newerBudgets() async throws {
        try await TestServer.run(clock: TestClock("2026-11-23T11:00:00Z")) { server in
            try await Self.arrange(server, amount: 120)
            let call = try await server.admit("1", seconds: "10", more: #","ttl_seconds":900"#, data: Self.user)
            server.clock.advance(seconds: 1)
            for (key, scope) in [("narrow", #"{"tenant":"acme","user":"*"}"#), ("wide", #"{"tenant":"acme"}"#)] {
                try await server.ask(
                    "POST",
                    "/budgets",
                    """
                    {"key":"\(key)","scope":\(scope),"measure":"charge","amount":"50","currency":"USD",\
                    "window":"month","mode":"hard"}
                    """,
                    expecting: 201
                )
            }
            try await server.extend(call, seconds: 7_200)
            try await server.expectRows(["0 100 0"])
        }
    }

    @Test("one that is extended into a plan holds in a budget on that plan, in the window of its admission too")
    func extendedIntoThePlan() async throws {
        try await TestServer.run(clock: TestClock("2026-11-23T11:00:00Z")) { server in
            try await Self.arrange(server, amount: 1_000)
            try await server.ask(
                "POST",
                "/budgets",
                """
                {"key":"max","scope":{"tenant":"acme","user":"*","plan":"max"},"measure":"charge","amount":"150",\
                "currency":"USD","window":"month","mode":"hard"}
                """,
                expecting: 201
            )
            var paths: [String] = []
            for id in ["1", "2"] {
                let call = try await server.admit(id, seconds: "10", more: #","ttl_seconds":1800"#, data: Self.user)
                paths.append("/admissions/\(server.id(of: call))/extend")
            }
            try await server.expectRows(["0 2 0"])
            try await server.ask("POST", paths[0], #"{"ttl_seconds":5400}"#)
            try await server.expectRows(["0 101 0", "0 100 0"])
            try await server.ask("POST", paths[1], #"{"ttl_seconds":5400}"#, expecting: 409)
            try await server.expectRows(["0 101 0", "0 100 0"])
        }
    }

    @Test("over a price that falls and rises again an extended call holds what it held")
    func extendedOverTheFall() async throws {
        try await TestServer.run(clock: TestClock("2026-11-23T11:00:00Z")) { server in
            try await server.addTenant("acme")
            try await server.addFeature("seconds")
            for (plan, price) in [("pro", "10"), ("low", "5"), ("max", "11")] {
                try await server.publish(
                    #"{"charges":[{"feature":"seconds","price":{"model":"per_unit","unit_amount":"\#(price)"}}]}"#,
                    as: plan
                )
            }
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            let id = try await server.ask("GET", "/subscriptions")["data"]?[0]?["id"]?.string ?? ""
            for (plan, minute) in [("low", 20), ("max", 40)] {
                let change = #"{"plan":"\#(plan)","at":"2026-11-23T11:\#(minute):00Z"}"#
                try await server.ask("POST", "/subscriptions/\(id)/change", change)
            }
            try await Self.addBudget(server, amount: 100)
            let call = try await server.admit("1", seconds: "4", more: #","ttl_seconds":600"#, data: Self.user)
            let path = "/admissions/\(server.id(of: call))"
            for (seconds, row) in [(1_800, "0 40 0"), (3_000, "0 44 0"), (3_600, "0 44 0")] {
                try await server.ask("POST", "\(path)/extend", #"{"ttl_seconds":\#(seconds)}"#)
                try await server.expectRows([row])
            }
            try await server.ask("POST", "\(path)/release")
            try await server.expectRows(["0 0 0"])
        }
    }

    @Test("a replica that has not heard of a segment's first usage frees a reservation no less exactly")
    func replicas() async throws {
        let clock = TestClock()
        try await TestServer.run(clock: clock) { first in
            try await TestServer.run(on: first.database, clock: clock) { second in
                try await first.addTenant("acme")
                try await first.addFeature("seconds")
                let version = """
                    {"charges":[{"feature":"seconds","price":{"model":"graduated","tiers":[
                      {"up_to":"10","unit_amount":"0"},{"up_to":null,"unit_amount":"2"}]}}],
                     "spend_cap":{"amount":"20","mode":"hard"}}
                    """
                for plan in ["pro", "max"] { try await first.publish(version, as: plan) }
                try await first.subscribe(at: "2026-11-01T00:00:00Z")
                var paths: [String] = []
                for (id, seconds) in [("0", "1"), ("1", "7"), ("2", "1")] {
                    let call = try await first.admit(id, seconds: seconds)
                    paths.append("/admissions/\(first.id(of: call))/release")
                }
                let id = try await first.ask("GET", "/subscriptions")["data"]?[0]?["id"]?.string ?? ""
                clock.advance(seconds: 60)
                try await first.ask("POST", "/subscriptions/\(id)/change", #"{"plan":"max"}"#)
                // The second one reads the tenant, under the plan of now, before anything was used under it.
                try await second.ask("POST", paths[0])
                try await first.ingest(SentEvent("a", data: #"{"seconds":10}"#))
                let held: SQL = "SELECT trim_scale(held)::text FROM limit_state WHERE scope_value = ''"
                #expect(try await first.column(held) == ["16"])
                try await second.ask("POST", paths[2])
                #expect(try await first.column(held) == ["14"])
            }
        }
    }

    @Test("a plan that begins and ends while a call is open is held at too")
    func shortPlan() async throws {
        try await TestServer.run(clock: TestClock("2026-11-23T11:00:00Z")) { server in
            try await Self.arrange(server, amount: 120)
            let id = try await server.ask("GET", "/subscriptions")["data"]?[0]?["id"]?.string ?? ""
            let back = #"{"plan":"pro","at":"2026-11-23T12:04:00Z"}"#
            try await server.ask("POST", "/subscriptions/\(id)/change", back)
            server.clock.set(try Instant(parsing: "2026-11-23T11:50:00Z"))
            try await server.admit("1", seconds: "10", more: #","ttl_seconds":900"#, data: Self.user)
            try await server.expectRows(["0 100 0"])
        }
    }

    @Test("what an extension takes of one row at several moments is looked at together")
    func severalMoments() async throws {
        // Before noon it is charged 1, and 100 after it, as is the other call: both where all charges count.
        let amounts = [
            (#"{"tenant":"acme"}"#, "201.5", "202"), (#"{"tenant":"acme","user":"*"}"#, "199.5", "200"),
        ]
        for (scope, tooLittle, enough) in amounts {
            for (amount, isRoom) in [(tooLittle, false), (enough, true)] {
                try await TestServer.run(clock: TestClock("2026-11-22T23:30:00Z")) { server in
                    try await Self.arrange(server, amount: 1_000)
                    let budget = """
                        {"key":"day","scope":\(scope),"measure":"charge","amount":"\(amount)","currency":"USD",\
                        "window":"day","mode":"hard"}
                        """
                    try await server.ask("POST", "/budgets", budget, expecting: 201)
                    try await server.admit("0", seconds: "10", more: #","ttl_seconds":54000"#, data: Self.user)
                    let call = try await server.admit("1", seconds: "10", more: #","ttl_seconds":900"#, data: Self.user)
                    let path = "/admissions/\(server.id(of: call))/extend"
                    let status = isRoom ? 200 : 409
                    try await server.ask("POST", path, #"{"ttl_seconds":85800}"#, expecting: status)
                    #expect(try await server.brokenLimits() == [])
                }
            }
        }
    }

    @Test("a narrow budget holds what others' units cost more when the use makes the whole volume dearer")
    func risingVolume() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addFeature("seconds")
            try await server.publish(
                """
                {"charges":[{"feature":"seconds","price":{"model":"volume","tiers":[
                  {"up_to":"1000","unit_amount":"0.01"},{"up_to":null,"unit_amount":"1"}]}}]}
                """
            )
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            try await Self.addBudget(server, amount: 1_000)
            try await server.ingest(SentEvent("others", data: #"{"seconds":998,"user":"u2"}"#))
            let call = try await server.admit("1", seconds: "5", data: Self.user)
            #expect(call["limits"]?[0]?["held"]?.string == "995.00")
            try await server.settle(call, event: "e", seconds: "5", data: Self.user)
            try await server.expectRows(["993.02 0 0", "9.98 0 9.98"])
        }
    }

    @Test(
        "a window that begins while the dearer plan still lasts is held at that, admitted or extended",
        arguments: [false, true]
    )
    func cheaperPlanWithinTheNextWindow(isExtended: Bool) async throws {
        try await TestServer.run(clock: TestClock("2026-11-23T23:00:00Z")) { server in
            try await Self.arrange(server, amount: 120, window: "day", change: "2026-11-23T23:30:00Z")
            let id = try await server.ask("GET", "/subscriptions")["data"]?[0]?["id"]?.string ?? ""
            server.clock.set(try Instant(parsing: "2026-11-23T23:40:00Z"))
            try await server.plansComeIntoForce()
            let change = #"{"plan":"pro","at":"2026-11-24T02:00:00Z"}"#
            try await server.ask("POST", "/subscriptions/\(id)/change", change)
            let life = isExtended ? 60 : 10_800
            let call = try await server.admit("1", seconds: "10", more: #","ttl_seconds":\#(life)"#, data: Self.user)
            if isExtended { try await server.extend(call, seconds: 10_800) }
            try await server.expectRows(["0 100 0", "0 100 0"])
            server.clock.set(try Instant(parsing: "2026-11-24T00:30:00Z"))
            let refused = try await server.admit("2", seconds: "3", data: Self.user)
            #expect(refused["reason"]?.string == "budget_exceeded")
            try await server.settle(call, event: "e", seconds: "10", data: Self.user)
            try await server.expectRows(["0 0 0", "100 0 0"])
        }
    }

    @Test("the day after the next is held at the dearer plan that ends in it, beyond a day of 23 hours")
    func cheaperPlanWithinTheThirdDay() async throws {
        try await TestServer.run(clock: TestClock("2026-03-28T22:00:00Z")) { server in
            try await server.addTenant("acme", zone: "Europe/Berlin")
            try await Self.subscribe(server, from: "2026-03-01T00:00:00Z", changes: [("max", "2026-03-28T22:20:00Z")])
            try await Self.addBudget(server, amount: 120, window: "day")
            server.clock.set(try Instant(parsing: "2026-03-28T22:30:00Z"))
            try await server.plansComeIntoForce()
            try await Self.change(server, [("pro", "2026-03-29T22:15:00Z")])
            try await server.admit("1", seconds: "10", more: #","ttl_seconds":86400"#, data: Self.user)
            try await server.expectRows(["0 100 0", "0 100 0", "0 100 0"])
        }
    }

    @Test("a limit in which a call counts only from a later moment on is held in the windows behind it, too")
    func windowsBehindTheFirstCharge() async throws {
        try await TestServer.run(clock: TestClock("2026-11-23T22:00:00Z")) { server in
            try await server.addTenant("acme")
            // A tenant without a subscription is charged nothing until half past eleven.
            let changes = [("max", "2026-11-23T23:40:00Z"), ("pro", "2026-11-24T02:00:00Z")]
            try await Self.subscribe(server, from: "2026-11-23T23:30:00Z", changes: changes)
            try await Self.addBudget(server, amount: 120, window: "day")
            try await server.admit("1", seconds: "10", more: #","ttl_seconds":18000"#, data: Self.user)
            try await server.expectRows(["0 100 0", "0 100 0"])
        }
    }

    @Test("a window of all charges that begins before the billing period ends is held in both periods")
    func windowWithTwoPeriods() async throws {
        try await TestServer.run(clock: TestClock("2026-11-30T18:05:00Z")) { server in
            try await server.addTenant("acme", zone: "Asia/Kathmandu")
            try await server.addFeature("seconds")
            try await server.publish(
                """
                {"charges":[{"feature":"seconds","price":{"model":"per_unit","unit_amount":"1.5"}}],
                "spend_cap":{"amount":"53","mode":"hard"}}
                """
            )
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            // There December begins at 18:15, the second billing period at midnight, UTC.
            try await server.admit("1", more: #","ttl_seconds":43201"#)
            try await server.expectRows(["0 1.5 0", "0 3 0"])
        }
    }

    @Test("a call of 24 hours holds on the day of 23 or 22 that lies in between, admitted or extended")
    func shortDays() async throws {
        for isExtended in [true, false] {
            try await Self.shortDay("Europe/Berlin", isExtended: isExtended)
            try await Self.shortDay("Antarctica/Troll", isExtended: isExtended)
        }
    }

    private static func shortDay(_ zone: String, isExtended: Bool) async throws {
        try await TestServer.run(clock: TestClock("2026-03-28T22:30:00Z")) { server in
            try await server.addTenant("acme", zone: zone)
            try await server.addFeature("seconds")
            try await server.publish(
                #"{"quotas":[{"feature":"seconds","limit":"10","window":"day","mode":"hard"}]}"#
            )
            try await server.subscribe(at: "2026-03-01T00:00:00Z")
            let life = isExtended ? 60 : 86_400
            let call = try await server.admit("1", seconds: "8", more: #","ttl_seconds":\#(life)"#)
            if isExtended {
                let path = "/admissions/\(server.id(of: call))/extend"
                try await server.ask("POST", path, #"{"ttl_seconds":86400}"#)
            }
            try await server.expectRows(["0 8 0", "0 8 0", "0 8 0"])
            server.clock.set(try Instant(parsing: "2026-03-29T10:00:00Z"))
            #expect(try await server.admit("2", seconds: "3")["reason"]?.string == "quota_exceeded")
            try await server.settle(call, event: "e", seconds: "8")
            try await server.expectRows(["0 0 0", "8 0 0", "0 0 0"])
        }
    }

    @Test(
        "an hour in which the plan changes holds the higher price of it, of an extended call too",
        arguments: [false, true]
    )
    func changeWithinAnHour(isExtended: Bool) async throws {
        try await TestServer.run(clock: TestClock("2026-11-23T12:20:00Z")) { server in
            try await Self.arrange(server, amount: 120, window: "hour", change: "2026-11-23T12:30:00Z")
            let life = #","ttl_seconds":\#(isExtended ? 60 : 900)"#
            let call = try await server.admit("1", seconds: "10", more: life, data: Self.user)
            let path = "/admissions/\(server.id(of: call))/extend"
            if isExtended { try await server.ask("POST", path, #"{"ttl_seconds":900}"#) }
            try await server.expectRows(["0 100 0"])
            let refused = try await server.admit("2", seconds: "10", more: #","ttl_seconds":900"#, data: Self.user)
            #expect(refused["reason"]?.string == "budget_exceeded")
            // One that ends before is what it is now; one that reaches the next hour holds nothing of that.
            try await server.admit("3", seconds: "10", more: #","ttl_seconds":60"#, data: Self.user)
            try await server.expectRows(["0 101 0"])
        }
    }

    @Test(
        "a provider's price, or an exchange rate, that begins while a call is open is held at",
        arguments: ["cost", "charge"]
    )
    func laterProviderPrice(measure: String) async throws {
        try await Self.whileProvidersRaise(measure) { server in
            _ = try await Self.ask("1", for: 60, server)
            try await server.expectRows(["0 4 0", "0 4 0"])
            // From twelve on it costs five times as much, and five minutes later twice that in euros.
            let later = try await Self.ask("2", for: 480, server)
            try await server.expectRows(["0 24 0", "0 24 0"])
            #expect(later["allowed"] == .bool(true))
            #expect(try await Self.ask("3", for: 900, server)["reason"]?.string == "budget_exceeded")
            try await server.expectRows(["0 24 0", "0 24 0"])
        }
    }

    @Test(
        "a call that is extended beyond the beginning of a provider's price is held at that, in a counter that it held",
        arguments: ["cost", "charge"]
    )
    func extendedBeyondAPrice(measure: String) async throws {
        try await Self.whileProvidersRaise(measure) { server in
            let call = try await Self.ask("1", for: 60, server)
            try await server.expectRows(["0 4 0", "0 4 0"])
            let path = "/admissions/\(server.id(of: call))"
            for seconds in [480, 490] {
                try await server.ask("POST", "\(path)/extend", #"{"ttl_seconds":\#(seconds)}"#)
                try await server.expectRows(["0 20 0", "0 20 0"])
            }
            #expect(try await server.unbalancedHolds() == [])
            try await server.ask("POST", "\(path)/release")
            try await server.expectRows(["0 0 0", "0 0 0"])
        }
    }

    /// At noon, five minutes ahead, output tokens come to cost five times as much in dollars, and five minutes later
    /// dollars twice as much in euros. Two budgets bound what that is.
    private static func whileProvidersRaise(
        _ measure: String,
        _ body: (TestServer) async throws -> Void
    ) async throws {
        try await TestServer.run(clock: TestClock("2026-11-23T11:55:00Z")) { server in
            try await server.addTenant("acme", currency: "EUR")
            for (amount, start) in [("0.01", "2026-01-01T00:00:00Z"), ("0.05", "2026-11-23T12:00:00Z")] {
                try await server.price("output", amount, from: start)
            }
            for (rate, start) in [("1", "2026-01-01T00:00:00Z"), ("2", "2026-11-23T12:05:00Z")] {
                let body = #"{"from":"USD","to":"EUR","rate":"\#(rate)","effective_from":"\#(start)"}"#
                try await server.ask("POST", "/fx-rates", body, expecting: 201)
            }
            try await server.addFeature("output", of: "output_tokens", type: "llm.completion")
            let version = #"{"charges":[{"feature":"output","price":{"model":"cost_plus","markup_percent":"0"}}]}"#
            try await server.publish(version, currency: "EUR")
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            let (amount, currency) = measure == "cost" ? ("40", "USD") : ("50", "EUR")
            for scope in [#"{"tenant":"acme"}"#, #"{"tenant":"acme","user":"*"}"#] {
                let budget = """
                    {"key":"b\(scope.count)","scope":\(scope),"measure":"\(measure)","amount":"\(amount)",\
                    "currency":"\(currency)","window":"day","mode":"hard"}
                    """
                try await server.ask("POST", "/budgets", budget, expecting: 201)
            }
            try await body(server)
        }
    }

    private static func ask(_ id: String, for seconds: Int, _ server: TestServer) async throws -> JSONValue {
        try await server.ask(
            "POST",
            "/admissions",
            """
            {"subject":"acme","type":"llm.completion","source":"gw","id":"\(id)","ttl_seconds":\(seconds),\
            "data":{"provider":"openai","model":"gpt-4o","user":"u1","output_tokens":400}}
            """
        )
    }
}
