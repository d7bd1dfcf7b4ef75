import BillingCore
import Postgres
import TestSupport
import Testing
import Web

/// What limits on charges count of usage that others were charged, that was stored before they could, or that is voided
/// when the limit has changed.
@Suite struct ChargedUseTests {
    private static let perSecond = #"{"charges":[{"feature":"seconds","price":{"model":"per_unit","unit_amount":"2"}}]"#

    private static func arrange(_ server: TestServer, _ aggregation: String = "sum", cap: Int? = nil) async throws {
        try await server.addTenant("acme")
        try await server.addFeature("seconds", aggregation)
        let cap = cap.map { #","spend_cap":{"amount":"\#($0)","mode":"hard"}"# } ?? ""
        try await server.publish("\(perSecond)\(cap)}")
    }

    /// A hundred seconds free, and 1 for each beyond.
    private static func arrangeFreeHundred(_ server: TestServer) async throws {
        try await server.addTenant("acme")
        try await server.addFeature("seconds")
        try await server.publish(
            """
            {"charges":[{"feature":"seconds","price":{"model":"graduated","tiers":[
              {"up_to":"100","unit_amount":"0"},{"up_to":null,"unit_amount":"1"}]}}]}
            """
        )
        try await server.subscribe(at: "2026-11-01T00:00:00Z")
    }

    private static func addBudget(_ server: TestServer, _ scope: String, _ more: String) async throws {
        try await server.ask(
            "POST",
            "/budgets",
            #"{"key":"budget","scope":\#(scope),"mode":"hard",\#(more)}"#,
            expecting: 201
        )
    }

    @Test("a budget on what one user is charged counts nothing of what others use in the same request")
    func othersInTheSameFlush() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            try await Self.addBudget(
                server,
                #"{"tenant":"acme","user":"u9"}"#,
                #""measure":"charge","amount":"25","currency":"USD","window":"month""#
            )
            _ = try await server.post([
                SentEvent("1", data: #"{"seconds":100,"user":"u8"}"#),
                SentEvent("2", data: #"{"seconds":1,"user":"u9"}"#),
                SentEvent("3", data: #"{"seconds":100,"user":"u8"}"#),
            ]).expecting(200)
            try await server.expectRows(["2 0 2"])
            #expect(try await server.ask("GET", "/alerts")["data"]?.elements == [])
        }
    }

    @Test("distinct values are charged in the windows of the events that bring them, in whatever order they come")
    func distinctValuesOfTwoMonths() async throws {
        let events = [
            SentEvent("1", time: "2026-10-31T23:00:00Z", data: #"{"seat":"ann"}"#),
            SentEvent("2", time: "2026-11-01T00:30:00Z", data: #"{"seat":"ben"}"#),
            SentEvent("3", time: "2026-10-31T23:30:00Z", data: #"{"seat":"ann"}"#),
            SentEvent("4", time: "2026-11-01T00:40:00Z", data: #"{"seat":"eve"}"#),
        ]
        for order in [events, events.reversed()] {
            try await TestServer.run(clock: TestClock("2026-10-30T08:00:00Z")) { server in
                try await server.addTenant("acme")
                try await server.addFeature("seats", "unique_count", of: "seat")
                try await server.publish(
                    """
                    {"charges":[{"feature":"seats","price":{"model":"per_unit","unit_amount":"10"}}],
                     "spend_cap":{"amount":"25","mode":"hard"}}
                    """
                )
                // Both events are of one billing period.
                try await server.subscribe(at: "2026-10-30T00:00:00Z")
                server.clock.set(try Instant(parsing: "2026-11-01T01:00:00Z"))
                _ = try await server.post(order).expecting(200)
                try await server.expectRows(["10 0 10", "20 0 20"])
                for event in ["1", "3", "2", "4"] { _ = try await server.void(event) }
                try await server.expectRows(["0 0 0", "0 0 0"])
                #expect(try await server.differences() == [])
            }
        }
    }

    @Test("usage of a month that is over, under a cap lowered since, leaves as much overshoot as is above the cap")
    func loweredCap() async throws {
        try await TestServer.run(clock: TestClock("2026-10-05T08:00:00Z")) { server in
            try await Self.arrange(server, cap: 100)
            try await server.subscribe(at: "2026-10-01T00:00:00Z")
            for (id, seconds) in [("1", "40"), ("2", "10")] {
                try await server.settle(try await server.admit(id, seconds: seconds), event: id, seconds: seconds)
            }
            try await server.expectRows(["100 0 0"])
            server.clock.set(try Instant(parsing: "2026-11-05T08:00:00Z"))
            try await server.publish(#"\#(Self.perSecond),"spend_cap":{"amount":"50","mode":"hard"}}"#, as: "max")
            let id = try await server.ask("GET", "/subscriptions")["data"]?[0]?["id"]?.string ?? ""
            try await server.ask("POST", "/subscriptions/\(id)/change", #"{"plan":"max"}"#)
            _ = try await server.void("2", source: "gw")
            try await server.expectRows(["80 0 30"])
            try await server.ingest(SentEvent("3", time: "2026-10-06T08:00:00Z", data: #"{"seconds":5}"#))
            try await server.expectRows(["90 0 40"])
            #expect(try await server.brokenLimits() == [])
        }
    }

    @Test(
        "usage in a row that has not followed its lowered budget yet leaves as much overshoot as is above the budget",
        arguments: [true, false]
    )
    func rowsBehind(isVoided: Bool) async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            try await Self.addBudget(
                server,
                #"{"tenant":"*"}"#,
                #""measure":"charge","amount":"100","currency":"USD","window":"month""#
            )
            for (id, seconds) in [("1", "20"), ("2", "5")] {
                try await server.settle(try await server.admit(id, seconds: seconds), event: id, seconds: seconds)
            }
            try await server.expectRows(["50 0 0"])
            try await server.changeBudget("budget", #"{"amount":"30"}"#)
            try await server.expectRows(["50 0 20"])
            // As it is where very many rows follow after a while.
            try await server.database.run(
                "UPDATE limit_state SET limit_revision = limit_revision - 1, limit_amount = 100, overshoot = 0"
            )
            if isVoided {
                _ = try await server.void("2", source: "gw")
                try await server.expectRows(["40 0 10"])
            } else {
                try await server.ingest(SentEvent("3", data: #"{"seconds":5}"#))
                try await server.expectRows(["60 0 30"])
            }
            #expect(try await server.brokenLimits() == [])
        }
    }

    @Test("a quota of a tenant's own counts from where it began, whatever becomes of the subscription")
    func loweredQuota() async throws {
        try await TestServer.run(clock: TestClock("2026-11-10T08:00:00Z")) { server in
            try await Self.arrange(server)
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            let quota = "/tenants/acme/quotas/seconds?window=day"
            try await server.ask("PUT", quota, #"{"limit":"100"}"#)
            try await server.settle(try await server.admit("1", seconds: "80"), event: "1", seconds: "80")
            server.clock.set(try Instant(parsing: "2026-11-12T08:00:00Z"))
            try await server.ask("PUT", quota, #"{"limit":"40"}"#)
            let id = try await server.ask("GET", "/subscriptions")["data"]?[0]?["id"]?.string ?? ""
            try await server.ask("POST", "/subscriptions/\(id)/cancel", #"{"at":"period_end"}"#)
            try await server.expectRows(["80 0 0"])
            let told = try await server.ask("GET", "/alerts?kind=threshold_crossed")["data"]?.elements ?? []
            #expect(told.compactMap { $0["threshold"]?.string }.sorted() == ["50", "80"])
            #expect(try await server.brokenLimits() == [])
        }
    }

    @Test("what a month that is over has met of a limit lowered since is told by nothing that is voided or comes late")
    func loweredLater() async throws {
        try await TestServer.run(clock: TestClock("2026-10-05T08:00:00Z")) { server in
            try await server.addTenant("acme")
            let budget = #"{"key":"b","scope":{"tenant":"acme"},"measure":"requests","amount":"10","window":"month","#
            try await server.ask("POST", "/budgets", budget + #""mode":"soft"}"#, expecting: 201)
            for id in ["1", "2", "3"] { try await server.ingest(SentEvent(id)) }
            server.clock.set(try Instant(parsing: "2026-11-05T08:00:00Z"))
            try await server.changeBudget("b", #"{"amount":"4"}"#)
            func told() async throws -> [String] {
                let alerts = try await server.ask("GET", "/alerts?kind=threshold_crossed")["data"]?.elements ?? []
                return alerts.compactMap { $0["threshold"]?.string }.sorted()
            }
            _ = try await server.void("3")
            #expect(try await told() == [])
            // The late one is the third of four: 50 was met before it, and 80 is not yet.
            try await server.ingest(SentEvent("4", time: "2026-10-06T08:00:00Z"))
            #expect(try await told() == [])
            try await server.ingest(SentEvent("5", time: "2026-10-06T08:00:00Z"))
            #expect(try await told() == ["100", "80"])
        }
    }

    @Test("a cap that a scheduled change brings counts from its start, however late it is put in force")
    func scheduledCap() async throws {
        try await TestServer.run(clock: TestClock("2026-11-10T08:00:00Z")) { server in
            try await Self.arrange(server)
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            try await server.publish(#"\#(Self.perSecond),"spend_cap":{"amount":"100","mode":"hard"}}"#, as: "max")
            let id = try await server.ask("GET", "/subscriptions")["data"]?[0]?["id"]?.string ?? ""
            try await server.ask("POST", "/subscriptions/\(id)/change", #"{"plan":"max","at":"period_end"}"#)
            #expect(try await server.operatorClient.get("/api/v1/tenants/acme/spend-cap").status == 404)
            try await server.ask("PATCH", "/tenants/acme", #"{"timezone":"Europe/Berlin"}"#)
            server.clock.set(try Instant(parsing: "2026-12-01T00:30:00Z"))
            // Of the plan before, in the month in which the cap begins.
            try await server.ingest(SentEvent("0", time: "2026-11-30T23:30:00Z", data: #"{"seconds":7}"#))
            try await server.ingest(SentEvent("1", time: "2026-12-01T00:10:00Z", data: #"{"seconds":40}"#))
            let path = "/api/v1/tenants/acme/spend-cap"
            let isInForce = try await eventually { try await server.operatorClient.get(path).status == 200 }
            #expect(isInForce)
            let cap = try await server.ask("GET", "/tenants/acme/spend-cap")
            #expect(cap["used"]?.string == "80.00" && cap["remaining"]?.string == "20.00", "\(cap)")
        }
    }

    @Test("in a trial a limit on charges refuses no call for want of a price")
    func trial() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addFeature("seconds")
            let price = #"{"feature":"seconds","price":{"model":"cost_plus","markup_percent":"10"}}"#
            try await server.publish(
                #"{"charges":[\#(price)],"trial_days":14,"spend_cap":{"amount":"9","mode":"hard"}}"#
            )
            try await server.subscribe(at: "2026-11-20T00:00:00Z")
            let data = #","provider":"p","model":"unknown","input_tokens":1"#
            #expect(try await server.admit("1", data: data)["allowed"] == .bool(true))
            server.clock.set(try Instant(parsing: "2026-12-03T23:30:00Z"))
            let last = try await server.admit("last", more: #","ttl_seconds":900"#, data: data)
            let id = server.id(of: last)
            let beyond = #"{"ttl_seconds":7200}"#
            let refused = try await server.ask("POST", "/admissions/\(id)/extend", beyond, expecting: 409)
            #expect(refused["code"]?.string == "extends_beyond_window")
            server.clock.advance(seconds: 14 * 86_400)
            #expect(try await server.admit("2", data: data)["reason"]?.string == "unpriced_model")
        }
    }

    @Test("usage that counted in no budget, because no subscription covered it, is taken out of none")
    func beforeTheSubscription() async throws {
        for more in [
            #""measure":"charge","amount":"100","currency":"USD","window":"month""#,
            #""measure":"requests","amount":"100","window":"billing_period""#,
        ] {
            try await TestServer.run { server in
                try await Self.arrange(server)
                try await Self.addBudget(server, #"{"tenant":"acme"}"#, more)
                let report = try await server.post([SentEvent("1", data: #"{"seconds":40}"#)]).expecting(200).report
                #expect(report == "accepted 1, unsubscribed 1")
                server.clock.advance(seconds: 60)
                try await server.subscribe(at: "2026-11-01T00:00:00Z")
                _ = try await server.void("1")
                try await server.ingest(SentEvent("2", data: #"{"seconds":4}"#))
                try await server.expectRows([more.contains("charge") ? "8 0 8" : "1 0 1"])
            }
        }
    }

    @Test(
        "nor is usage of after a subscription's end, when that comes later or not at all",
        arguments: [
            "resume", "cancel",
        ]
    )
    func afterAnEndThatMoves(action: String) async throws {
        for more in [
            #""measure":"charge","amount":"100","currency":"USD","window":"month""#,
            #""measure":"requests","amount":"100","window":"billing_period""#,
        ] {
            try await TestServer.run { server in
                try await Self.arrange(server)
                try await Self.addBudget(server, #"{"tenant":"acme"}"#, more)
                try await server.subscribe(at: "2026-11-01T00:00:00Z")
                try await server.ingest(SentEvent("1", data: #"{"seconds":5}"#))
                let id = try await server.ask("GET", "/subscriptions?tenant=acme")["data"]?[0]?["id"]?.string ?? ""
                func moment(_ seconds: Int64) -> String { server.clock.now.adding(seconds: seconds).description }
                try await server.ask("POST", "/subscriptions/\(id)/cancel", #"{"at":"\#(moment(30))"}"#)
                let after = SentEvent("2", time: moment(60), data: #"{"seconds":45}"#)
                #expect(try await server.post([after]).expecting(200).report == "accepted 1, unsubscribed 1")
                let end = action == "cancel" ? #"{"at":"\#(moment(250))"}"# : ""
                try await server.ask("POST", "/subscriptions/\(id)/\(action)", end)
                // What comes from now on counts, and is taken out again.
                try await server.ingest(SentEvent("3", time: moment(90), data: #"{"seconds":7}"#))
                _ = try await server.void("2")
                try await server.expectRows([more.contains("charge") ? "24 0 24" : "2 0 2"])
                _ = try await server.void("3")
                try await server.expectRows([more.contains("charge") ? "10 0 10" : "1 0 1"])
            }
        }
    }

    @Test("usage that came before the subscription and was counted after it is taken out again")
    func replayedAfterTheSubscription() async throws {
        try await TestServer.run { server in
            try await Self.addBudget(
                server,
                #"{"tenant":"*"}"#,
                #""measure":"charge","amount":"100","currency":"USD","window":"month""#
            )
            try await server.addFeature("seconds")
            try await server.publish("\(Self.perSecond)}")
            let report = try await server.post([SentEvent("1", data: #"{"seconds":40}"#)]).expecting(200).report
            #expect(report == "accepted 0, unmatched 1" || report == "unmatched 1")
            server.clock.advance(seconds: 60)
            try await server.addTenant("acme")
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            _ = try await server.ask("POST", "/unmatched-events/replay", #"{"subject":"acme"}"#)
            try await server.expectRows(["80 0 80"])
            _ = try await server.void("1")
            try await server.expectRows(["0 0 0"])
        }
    }

    @Test("usage that was stored before a budget was made is not taken out of it, whatever its time")
    func beforeTheBudget() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            let time = server.clock.now.adding(seconds: 200).description
            try await server.ingest(SentEvent("1", time: time, data: #"{"seconds":40}"#))
            server.clock.advance(seconds: 60)
            let more = #""measure":"requests","amount":"100","window":"month""#
            try await Self.addBudget(server, #"{"tenant":"acme"}"#, more)
            try await server.ingest(SentEvent("2", data: #"{"seconds":4}"#))
            _ = try await server.void("1")
            try await server.expectRows(["1 0 1"])
        }
    }

    @Test("usage of before a budget counts nothing in it, and moves what it holds, because that follows the tiers")
    func tiersMovedFromBefore() async throws {
        try await TestServer.run { server in
            try await Self.arrangeFreeHundred(server)
            try await server.ingest(SentEvent("before", data: #"{"seconds":97}"#))
            server.clock.advance(seconds: 60)
            try await Self.addBudget(
                server,
                #"{"tenant":"acme"}"#,
                #""measure":"charge","amount":"50","currency":"USD","window":"day""#
            )
            try await server.admit("call", seconds: "5")
            try await server.expectRows(["0 2 0"])
            _ = try await server.void("before")
            try await server.expectRows(["0 0 0"])
            try await server.ingest(
                SentEvent("late", time: "2026-11-23T08:00:00Z", data: #"{"seconds":98}"#)
            )
            try await server.expectRows(["0 3 3"])
            _ = try await server.void("late")
            try await server.expectRows(["0 0 0"])
        }
    }

    @Test("what distinct values are charged counts in every budget on all charges")
    func distinctValues() async throws {
        for scope in ["{}", #"{"tenant":"*","plan":"*"}"#, #"{"tenant":"acme"}"#] {
            try await TestServer.run { server in
                try await server.addTenant("acme")
                try await server.addFeature("seats", "unique_count", of: "seat")
                try await server.publish(
                    #"{"charges":[{"feature":"seats","price":{"model":"per_unit","unit_amount":"3"}}]}"#
                )
                try await server.subscribe(at: "2026-11-01T00:00:00Z")
                let more = #""measure":"charge","amount":"10","currency":"USD","window":"month""#
                try await Self.addBudget(server, scope, more)
                _ = try await server.post([
                    SentEvent("1", data: #"{"seat":"ann"}"#), SentEvent("2", data: #"{"seat":"ben"}"#),
                    SentEvent("3", data: #"{"seat":"ann"}"#),
                ]).expecting(200)
                try await server.expectRows(["6 0 6"])
                _ = try await server.void("2")
                try await server.expectRows(["3 0 3"])
            }
        }
    }

    @Test("what is voided below nothing is no allowance")
    func belowNothing() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server, cap: 100)
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            try await server.ingest(SentEvent("1", data: #"{"seconds":40}"#))
            // As a row of an earlier release may be.
            _ = try await server.column("UPDATE limit_state SET used = -80 RETURNING ''")
            #expect(try await server.admit("1", seconds: "51")["reason"]?.string == "spend_cap_exceeded")
            #expect(try await server.admit("2", seconds: "50")["allowed"] == .bool(true))
        }
    }

    @Test("in a trial of months a changed quota is in force at once, alerts anew, and usage can be voided")
    func longTrial() async throws {
        try await TestServer.run(clock: TestClock("2026-11-01T08:00:00Z")) { server in
            try await server.addTenant("acme")
            try await server.addFeature("seconds")
            try await server.publish(
                """
                {"trial_days":700,
                 "quotas":[{"feature":"seconds","limit":"100","window":"billing_period","mode":"hard"}]}
                """
            )
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            let alerts = {
                let found = try await server.ask("GET", "/alerts")["data"]?.elements ?? []
                return found.map { $0["threshold"]?.string ?? "" }
            }
            try await server.ingest(SentEvent("1", data: #"{"seconds":85}"#))
            #expect(try await alerts().sorted() == ["50", "80"])
            server.clock.advance(seconds: 410 * 86_400)
            let path = "/tenants/acme/quotas/seconds?window=billing_period"
            try await server.ask("PUT", path, #"{"limit":"200"}"#)
            #expect(try await server.ask("GET", path)["limit"]?.string == "200")
            try await server.ingest(SentEvent("2", data: #"{"seconds":20}"#))
            #expect(try await alerts().sorted() == ["50", "50", "80"])
            _ = try await server.void("2")
            try await server.expectRows(["85 0 85"])
        }
    }

    @Test("usage of others that is voided leaves a narrow budget no allowance")
    func noAllowance() async throws {
        try await TestServer.run { server in
            try await Self.arrangeFreeHundred(server)
            try await Self.addBudget(
                server,
                #"{"tenant":"acme","user":"*"}"#,
                #""measure":"charge","amount":"50","currency":"USD","window":"day""#
            )
            func use(_ id: String, _ user: String, _ seconds: Int, reservation: String = "") async throws {
                let data = #"{"seconds":\#(seconds),"user":"\#(user)"}"#
                let event = """
                    {"specversion":"1.0","id":"\(id)","source":"gw","type":"job.done","subject":"acme",\
                    \(reservation)"data":\(data)}
                    """
                _ = try await server.operatorClient.post("/api/v1/events", event).expecting(200)
            }
            try await use("1", "a", 100)
            try await use("2", "b", 40)
            try await server.expectRows(["0 0 0", "40 0 40"])
            let open = try await server.admit("open", seconds: "50", data: #","user":"a""#)
            // What b was charged falls, which only the sum tells.
            _ = try await server.void("1")
            try await server.expectRows(["0 50 0", "40 0 40"])
            try await server.ask("POST", "/admissions/\(server.id(of: open))/release")
            try await use("3", "b", 60)
            let call = try await server.admit("4", seconds: "45", data: #","user":"a""#)
            let id = server.id(of: call)
            try await use("4", "a", 45, reservation: #""reservationid":"\#(id)","#)
            try await server.expectRows(["45 0 0", "40 0 40"])
            let refused = try await server.admit("5", seconds: "45", data: #","user":"a""#)
            #expect(refused["reason"]?.string == "budget_exceeded")
            #expect(try await server.brokenLimits() == [])
        }
    }

    @Test("what is held beyond a soft budget is no overshoot when what was charged falls below zero")
    func heldBeyondSoft() async throws {
        try await TestServer.run { server in
            try await Self.arrangeFreeHundred(server)
            let scope = #"{"tenant":"acme","user":"*"}"#
            let bound = #""measure":"charge","amount":"20","currency":"USD","window":"day","mode":"soft""#
            try await server.ask("POST", "/budgets", #"{"key":"soft","scope":\#(scope),\#(bound)}"#, expecting: 201)
            try await server.ingest(SentEvent("1", data: #"{"seconds":100,"user":"a"}"#))
            try await server.ingest(SentEvent("2", data: #"{"seconds":40,"user":"b"}"#))
            try await server.admit("open", seconds: "60", data: #","user":"a""#)
            _ = try await server.void("1")
            try await server.expectRows(["0 60 0", "40 0 40"])
        }
    }

    /// Ten units of user b on 23 November, and a budget on what each user is charged a day. Of the two of user a the
    /// first makes all cheaper, by 8.90, and the second is charged 10.
    private static func arrangeFall(_ server: TestServer, _ bound: String = "") async throws -> [SentEvent] {
        try await server.addTenant("acme")
        try await server.addFeature("seconds")
        try await server.publish(
            """
            {"charges":[{"feature":"seconds","price":{"model":"volume","tiers":[
              {"up_to":"10","unit_amount":"1"},{"up_to":null,"unit_amount":"0.1"}]}}]}
            """
        )
        try await server.subscribe(at: "2026-11-01T00:00:00Z")
        let daily = #""measure":"charge","amount":"50","currency":"USD","window":"day""# + bound
        try await addBudget(server, #"{"tenant":"acme","user":"*"}"#, daily)
        try await server.ingest(SentEvent("1", data: #"{"seconds":10,"user":"b"}"#))
        return [(2, 1), (3, 100)].map { id, seconds in
            let time = "2026-11-23T08:00:00Z"
            return SentEvent("\(id)", time: time, data: #"{"seconds":\#(seconds),"user":"a"}"#)
        }
    }

    @Test("a fall is no allowance to what comes in the same request either", arguments: [false, true])
    func noAllowanceInOneRequest(isOneRequest: Bool) async throws {
        try await TestServer.run { server in
            let events = try await Self.arrangeFall(server)
            for request in isOneRequest ? [events] : events.map({ [$0] }) {
                _ = try await server.post(request).expecting(200)
            }
            try await server.expectRows(["10 0 10", "10 0 10"])
            #expect(try await server.brokenLimits() == [])
        }
    }

    @Test("nor does it hide what a window that is over comes to by late usage of one request")
    func alertAfterAFall() async throws {
        try await TestServer.run { server in
            let events = try await Self.arrangeFall(server, #","thresholds":[15]"#)
            server.clock.advance(seconds: 86_400)
            _ = try await server.post(events).expecting(200)
            let alerts = try await server.ask("GET", "/alerts?kind=threshold_crossed")["data"]?.elements ?? []
            #expect(Set(alerts.compactMap { $0["scope_value"]?.string }) == ["a", "b"])
        }
    }

    @Test("nor does a tenant's budget on all its charges have one when what it was charged falls")
    func noAllowanceInAll() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server, "latest")
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            try await server.ingest(SentEvent("1", data: #"{"seconds":100}"#))
            server.clock.advance(seconds: 86_400)
            let bound = #""measure":"charge","amount":"50","currency":"USD","window":"day""#
            try await Self.addBudget(server, #"{"tenant":"acme"}"#, bound)
            // From 200 to 20, and to 40.
            try await server.ingest(SentEvent("2", data: #"{"seconds":10}"#))
            try await server.expectRows(["0 0 0"])
            // Voiding that, nothing was charged on this day.
            _ = try await server.void("2")
            try await server.expectRows(["0 0 0"])
            try await server.ingest(SentEvent("2b", data: #"{"seconds":10}"#))
            try await server.ingest(SentEvent("3", data: #"{"seconds":20}"#))
            try await server.expectRows(["20 0 20"])
            try await server.ingest(SentEvent("4", data: #"{"seconds":36}"#))
            #expect(try await server.admit("5", seconds: "1")["reason"]?.string == "budget_exceeded")
            try await server.expectRows(["52 0 52"])
            #expect(try await server.brokenLimits() == [])
        }
    }

    @Test("a last value that falls leaves who reported it no allowance")
    func fallingLastValue() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server, "latest")
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            let bound = #""measure":"charge","amount":"500","currency":"USD","window":"day""#
            try await Self.addBudget(server, #"{"tenant":"acme","user":"*"}"#, bound)
            for (id, seconds, user) in [("1", "100", "a"), ("2", "10", "b"), ("3", "60", "b")] {
                try await server.ingest(SentEvent(id, data: #"{"seconds":\#(seconds),"user":"\#(user)"}"#))
            }
            // From 200 to 20, and to 120: what b reported last is 100 dearer than before.
            try await server.expectRows(["200 0 200", "100 0 100"])
        }
    }
}
