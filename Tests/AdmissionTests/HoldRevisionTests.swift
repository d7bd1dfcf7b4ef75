import Admission
import BillingCore
import Postgres
import TestSupport
import Testing
import TurnpikeServer
import Web

/// What open calls come to hold when a plan or a price is changed after their admission.
@Suite struct HoldRevisionTests {
    private static let user = #","user":"u1""#

    /// Two plans at 1 and at 3 a second, both with a hard spend cap of 100, a hard budget of 100 on what each user is
    /// charged, and a tenant on the first.
    /// - Returns: the subscription's id.
    private static func arrange(_ server: TestServer, first plan: String = "low") async throws -> String {
        try await server.addTenant("acme")
        try await server.addFeature("seconds")
        for (plan, price) in [("low", "1"), ("high", "3")] {
            let charge = #"{"feature":"seconds","price":{"model":"per_unit","unit_amount":"\#(price)"}}"#
            let version = #"{"charges":[\#(charge)],"spend_cap":{"amount":"100","mode":"hard"}}"#
            try await server.publish(version, as: plan)
        }
        let id = try await server.subscribe(to: plan, at: "2026-11-01T00:00:00Z")
        let scope = #"{"tenant":"acme","user":"*"}"#
        let bound = #""measure":"charge","amount":"100","currency":"USD","window":"month","mode":"hard""#
        try await server.ask("POST", "/budgets", #"{"key":"users","scope":\#(scope),\#(bound)}"#, expecting: 201)
        return id
    }

    private static func change(_ id: String, to plan: String, _ server: TestServer) async throws {
        server.clock.advance(seconds: 1)
        try await server.ask("POST", "/subscriptions/\(id)/change", #"{"plan":"\#(plan)"}"#)
        try await server.holdsFollow()
    }

    /// Enters what the provider charges for an input token, and waits until open calls have followed.
    private static func enter(_ amount: String, from start: String, _ server: TestServer) async throws {
        try await server.price("input", amount, model: "m", from: start)
        try await server.holdsFollow()
    }

    private static func expectSound(_ server: TestServer) async throws {
        #expect(try await server.brokenLimits() == [])
        #expect(try await server.unbalancedHolds() == [])
        #expect(try await server.differences() == [])
    }

    @Test("after a change to a dearer plan an open call holds its price there, and what exceeds is overshoot")
    func dearerPlan() async throws {
        try await TestServer.run { server in
            let id = try await Self.arrange(server)
            let open = try await server.admit("1", seconds: "40", data: Self.user)
            try await server.expectRows(["0 40 0", "0 40 0"])
            try await Self.change(id, to: "high", server)
            try await server.expectRows(["0 120 20", "0 120 20"])
            #expect(try await server.admit("2", seconds: "1", data: Self.user)["allowed"] == .bool(false))
            try await Self.expectSound(server)
            try await server.settle(open, event: "e", seconds: "40", data: Self.user)
            try await server.expectRows(["120 0 20", "120 0 20"])
            try await Self.expectSound(server)
        }
    }

    @Test("what of it is released again is free")
    func released() async throws {
        try await TestServer.run { server in
            let id = try await Self.arrange(server)
            let open = try await server.admit("1", seconds: "20", data: Self.user)
            for plan in ["high", "low", "high"] { try await Self.change(id, to: plan, server) }
            try await server.expectRows(["0 60 0", "0 60 0"])
            #expect(try await server.admit("2", seconds: "14", data: Self.user)["allowed"] == .bool(false))
            try await server.ask("POST", "/admissions/\(server.id(of: open))/release")
            try await server.expectRows(["0 0 0", "0 0 0"])
            try await Self.expectSound(server)
            #expect(try await server.admit("3", seconds: "33", data: Self.user)["allowed"] == .bool(true))
        }
    }

    @Test("after a change to a cheaper plan it holds what it held, extended or not", arguments: [false, true])
    func cheaperPlan(isExtended: Bool) async throws {
        try await TestServer.run { server in
            let id = try await Self.arrange(server, first: "high")
            let open = try await server.admit("1", seconds: "20", data: Self.user)
            try await Self.change(id, to: "low", server)
            if isExtended { try await server.extend(open, seconds: 3_000) }
            try await server.expectRows(["0 60 0", "0 60 0"])
            try await server.settle(open, event: "e", seconds: "20", data: Self.user)
            try await server.expectRows(["20 0 0", "20 0 0"])
            try await Self.expectSound(server)
        }
    }

    @Test("of a call that is settled in part the rest of a limit on all charges is held at the new price")
    func settledInPart() async throws {
        try await TestServer.run { server in
            let id = try await Self.arrange(server)
            let open = try await server.admit("1", seconds: "20", data: Self.user)
            try await server.settle(open, event: "a", seconds: "15", data: Self.user, partial: true)
            try await server.expectRows(["15 5 0", "15 5 0"])
            try await Self.change(id, to: "high", server)
            try await server.expectRows(["15 15 0", "15 15 0"])
            try await server.settle(open, event: "b", seconds: "5", data: Self.user)
            try await server.expectRows(["30 0 0", "30 0 0"])
            try await Self.expectSound(server)
        }
    }

    @Test("of a call of which all is settled, and that is open still, nothing is held")
    func settledWhole() async throws {
        try await TestServer.run { server in
            let id = try await Self.arrange(server)
            let open = try await server.admit("1", seconds: "20", data: Self.user)
            try await server.settle(open, event: "a", seconds: "20", data: Self.user, partial: true)
            try await Self.change(id, to: "high", server)
            try await server.expectRows(["20 0 0", "20 0 0"])
        }
    }

    @Test("the rest of a call that is settled in part is held by what the new price looks at")
    func otherParts() async throws {
        try await TestServer.run { server in
            let id = try await Self.arrange(server)
            let open = try await server.admit("1", seconds: "20", data: Self.user)
            try await server.settle(open, event: "a", seconds: "15", data: Self.user, partial: true)
            let price = #"{"model":"percentage","percent":"10","fixed_amount":"30"}"#
            try await server.publish(
                #"{"charges":[{"feature":"seconds","price":\#(price)}],"spend_cap":{"amount":"100","mode":"hard"}}"#,
                as: "fee"
            )
            try await Self.change(id, to: "fee", server)
            // A tenth of the five seconds that are left, and the fee of one event.
            #expect(try await server.limitRows().first == "15 30.5 0")
            try await Self.expectSound(server)
        }
    }

    @Test("a budget of the new plan that is older than the call holds it, a newer one does not")
    func budgetOfThePlan() async throws {
        try await TestServer.run { server in
            let id = try await Self.arrange(server)
            func add(_ key: String) async throws {
                let bound = #""measure":"charge","amount":"50","currency":"USD","window":"month","mode":"hard""#
                let body = #"{"key":"\#(key)","scope":{"tenant":"acme","plan":"high"},\#(bound)}"#
                try await server.ask("POST", "/budgets", body, expecting: 201)
            }
            try await add("older")
            server.clock.advance(seconds: 1)
            try await server.admit("1", seconds: "15", data: Self.user)
            server.clock.advance(seconds: 1)
            try await add("newer")
            try await Self.change(id, to: "high", server)
            try await server.expectRows(["0 45 0", "0 45 0", "0 45 0"])
            #expect(try await server.admit("2", seconds: "2", data: Self.user)["allowed"] == .bool(false))
        }
    }

    @Test("a quota that only the new plan has says nothing of how much of a call is left")
    func quotaOfThePlan() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addFeature("seconds")
            for (plan, price, quota) in [
                ("low", "1", ""), ("high", "3", #","quotas":[{"feature":"seconds","limit":"99","window":"month"}]"#),
            ] {
                let charge = #"{"feature":"seconds","price":{"model":"per_unit","unit_amount":"\#(price)"}}"#
                try await server.publish(#"{"charges":[\#(charge)]\#(quota)}"#, as: plan)
            }
            let id = try await server.subscribe(to: "low", at: "2026-11-01T00:00:00Z")
            let scope = #"{"tenant":"acme","user":"*"}"#
            let bound = #""measure":"charge","amount":"100","currency":"USD","window":"month","mode":"hard""#
            try await server.ask("POST", "/budgets", #"{"key":"users","scope":\#(scope),\#(bound)}"#, expecting: 201)
            try await server.admit("1", seconds: "20", data: Self.user)
            try await Self.change(id, to: "high", server)
            #expect(try await server.limitRows().contains("0 60 0"))
        }
    }

    /// A plan without limits at 1 a second, one at 3 with a hard quota of 30 and a hard spend cap of 100, and a tenant
    /// on the first.
    private static func arrangeLimits(_ server: TestServer) async throws -> String {
        try await server.addTenant("acme")
        try await server.addFeature("seconds")
        let quota = #"{"feature":"seconds","limit":"30","window":"month","mode":"hard","overage":"denied"}"#
        let limits = #","quotas":[\#(quota)],"spend_cap":{"amount":"100","mode":"hard"}"#
        for (plan, price, limits) in [("free", "1", ""), ("pro", "3", limits)] {
            let charge = #"{"feature":"seconds","price":{"model":"per_unit","unit_amount":"\#(price)"}}"#
            try await server.publish(#"{"charges":[\#(charge)]\#(limits)}"#, as: plan)
        }
        return try await server.subscribe(to: "free", at: "2026-11-01T00:00:00Z")
    }

    @Test("a quota and a spend cap that only the new plan has hold what is open", arguments: [false, true])
    func limitsOfThePlan(isScheduled: Bool) async throws {
        try await TestServer.run { server in
            let id = try await Self.arrangeLimits(server)
            server.clock.advance(seconds: 1)
            let open = try await server.admit("1", seconds: "20")
            try await server.expectRows([])
            if isScheduled {
                let start = server.clock.now.adding(seconds: 60)
                let change = #"{"plan":"pro","at":"\#(start)"}"#
                try await server.ask("POST", "/subscriptions/\(id)/change", change)
                server.clock.advance(seconds: 61)
                let isHeld = try await eventually(within: .seconds(30)) {
                    try await server.limitRows().sorted() == ["0 20 0", "0 60 0"]
                }
                #expect(isHeld)
            } else {
                try await Self.change(id, to: "pro", server)
                try await server.expectRows(["0 20 0", "0 60 0"])
            }
            let second = try await server.admit("2", seconds: "20")
            #expect(second["allowed"] == .bool(false))
            try await Self.expectSound(server)
            try await server.settle(open, event: "e", seconds: "20", data: Self.user)
            #expect(try await server.limitRows().sorted() == ["20 0 0", "60 0 0"])
            try await Self.expectSound(server)
        }
    }

    @Test(
        "of a call that is settled in part a quota that comes into force holds the rest, and of one that is whole, none"
    )
    func restInNewLimits() async throws {
        try await TestServer.run { server in
            let id = try await Self.arrangeLimits(server)
            let bound = #""measure":"units","amount":"90","window":"month","mode":"hard""#
            let scope = #"{"tenant":"acme","user":"*","feature":"seconds"}"#
            try await server.ask("POST", "/budgets", #"{"key":"users","scope":\#(scope),\#(bound)}"#, expecting: 201)
            server.clock.advance(seconds: 1)
            for (call, parts) in [("1", [15]), ("2", [15, 5])] {
                let open = try await server.admit(call, seconds: "20", data: Self.user)
                for part in parts {
                    let event = "\(call)-\(part)"
                    try await server.settle(open, event: event, seconds: "\(part)", data: Self.user, partial: true)
                }
            }
            try await server.expectRows(["35 5 0"])
            // Twice: what the first time has written tells as much.
            for plan in ["pro", "free", "pro"] { try await Self.change(id, to: plan, server) }
            try await server.expectRows(["35 5 0", "35 5 35", "0 15 0"])
            try await Self.expectSound(server)
        }
    }

    @Test("a spend cap that comes into force holds what is open together, though each call alone would be free")
    func freeOneByOne() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addFeature("seconds")
            let tiers = #"[{"up_to":"10","unit_amount":"0"},{"up_to":null,"unit_amount":"2"}]"#
            let charge = #"{"feature":"seconds","price":{"model":"graduated","tiers":\#(tiers)}}"#
            for (plan, cap) in [("open", ""), ("capped", #","spend_cap":{"amount":"5","mode":"hard"}"#)] {
                try await server.publish(#"{"charges":[\#(charge)]\#(cap)}"#, as: plan)
            }
            let id = try await server.subscribe(to: "open", at: "2026-11-01T00:00:00Z")
            server.clock.advance(seconds: 1)
            let calls = [try await server.admit("1", seconds: "7"), try await server.admit("2", seconds: "7")]
            try await Self.change(id, to: "capped", server)
            try await server.expectRows(["0 8 3"])
            #expect(try await server.admit("3", seconds: "3")["reason"]?.string == "spend_cap_exceeded")
            try await Self.expectSound(server)
            for call in calls { try await server.ask("POST", "/admissions/\(server.id(of: call))/release") }
            #expect(try await server.limitRows().first?.hasPrefix("0 0 ") == true)
            #expect(try await server.unbalancedHolds() == [])
        }
    }

    @Test("what is settled of a call is told by a quota that went out of force with its plan, too")
    func restOfOldQuota() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addFeature("seconds")
            for window in ["month", "day"] {
                let quota = #"{"feature":"seconds","limit":"15","window":"\#(window)","mode":"hard"}"#
                try await server.publish(#"{"quotas":[\#(quota)]}"#, as: window)
            }
            let id = try await server.subscribe(to: "month", at: "2026-11-01T00:00:00Z")
            server.clock.advance(seconds: 1)
            let open = try await server.admit("1", seconds: "10", data: Self.user)
            try await server.settle(open, event: "a", seconds: "9", data: Self.user, partial: true)
            try await server.expectRows(["9 1 0"])
            try await Self.change(id, to: "day", server)
            #expect(try await server.limitRows().last?.hasPrefix("9 1 ") == true)
            try await server.settle(open, event: "b", seconds: "1", data: Self.user, partial: true)
            for plan in ["month", "day"] { try await Self.change(id, to: plan, server) }
            #expect(try await server.limitRows().allSatisfy { $0.hasPrefix("10 0 ") })
            try await Self.expectSound(server)
        }
    }

    @Test("a quota of the tenant's own and a spend cap in place of the plan's hold what is open")
    func ownLimits() async throws {
        try await TestServer.run { server in
            let id = try await Self.arrangeLimits(server)
            server.clock.advance(seconds: 1)
            try await server.admit("1", seconds: "20")
            server.clock.advance(seconds: 1)
            let quota = #"{"limit":"25","mode":"hard","overage":"denied"}"#
            try await server.ask("PUT", "/tenants/acme/quotas/seconds?window=day", quota)
            try await server.holdsFollow()
            try await server.expectRows(["0 20 0"])
            let overrides = #"{"spend_cap":{"amount":"30","mode":"hard"}}"#
            let change = #"{"plan":"free","overrides":\#(overrides)}"#
            server.clock.advance(seconds: 1)
            try await server.ask("POST", "/subscriptions/\(id)/change", change)
            try await server.holdsFollow()
            try await server.expectRows(["0 20 0", "0 20 0"])
            #expect(try await server.admit("2", seconds: "11")["allowed"] == .bool(false))
            try await Self.expectSound(server)
        }
    }

    @Test("a call that was open before there was a subscription is held by its prices")
    func newSubscription() async throws {
        try await TestServer.run { server in
            _ = try await Self.arrange(server)
            try await server.addTenant("beta")
            let scope = #"{"tenant":"beta","user":"*"}"#
            let bound = #""measure":"charge","amount":"50","currency":"USD","window":"month","mode":"hard""#
            try await server.ask("POST", "/budgets", #"{"key":"users","scope":\#(scope),\#(bound)}"#, expecting: 201)
            server.clock.advance(seconds: 1)
            try await server.admit("1", seconds: "40", data: Self.user, subject: "beta")
            try await server.expectRows([])
            server.clock.advance(seconds: 1)
            try await server.subscribe("beta", to: "low")
            try await server.holdsFollow()
            #expect(try await server.limitRows().contains("0 40 0"))
            let second = try await server.admit("2", seconds: "40", data: Self.user, subject: "beta")
            #expect(second["reason"]?.string == "budget_exceeded")
        }
    }

    @Test("a provider's price that is entered after the admission, and begins before its end, is held")
    func providerPrice() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await Self.enter("1", from: "2026-01-01T00:00:00Z", server)
            let bound = #""measure":"cost","amount":"100","currency":"USD","window":"day","mode":"hard""#
            try await server.ask(
                "POST",
                "/budgets",
                #"{"key":"costs","scope":{"tenant":"acme"},\#(bound)}"#,
                expecting: 201
            )
            let data = #","provider":"openai","model":"m","input_tokens":40"#
            try await server.admit("1", data: data)
            try await server.expectRows(["0 40 0"])
            try await Self.enter("3", from: "2026-11-23T08:10:00Z", server)
            try await server.expectRows(["0 120 20"])
            #expect(try await server.admit("2", data: data)["reason"]?.string == "budget_exceeded")
            try await Self.expectSound(server)
        }
    }

    @Test("a call that has nothing to follow is left as it is, also where it takes nothing of one of its features")
    func nothingToFollow() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            for feature in ["seconds", "pages"] { try await server.addFeature(feature, of: feature) }
            let charges = ["seconds", "pages"].map { feature in
                #"{"feature":"\#(feature)","price":{"model":"per_unit","unit_amount":"1"}}"#
            }
            let cap = #""spend_cap":{"amount":"100","mode":"hard"}"#
            try await server.publish(#"{"charges":[\#(charges.joined(separator: ","))],\#(cap)}"#, as: "low")
            try await server.subscribe(to: "low", at: "2026-11-01T00:00:00Z")
            try await server.admit("1", seconds: "40", data: #","pages":0"#)
            try await server.expectRows(["0 40 0"])
            let written: SQL = "SELECT xmin::text FROM reservation"
            let before = try await server.column(written)
            try await Self.enter("3", from: "2026-11-23T08:10:00Z", server)
            #expect(try await server.column(written) == before)
            try await server.expectRows(["0 40 0"])
            try await Self.expectSound(server)
        }
    }

    @Test("what is entered later is held in each window by what that held, also where the call was dearer before it")
    func laterWindows() async throws {
        try await TestServer.run(clock: TestClock("2026-11-23T23:00:00Z")) { server in
            try await server.addTenant("acme")
            try await Self.enter("1", from: "2026-01-01T00:00:00Z", server)
            try await Self.enter("0.5", from: "2026-11-24T00:00:00Z", server)
            let bound = #""measure":"cost","amount":"15","currency":"USD","window":"day","mode":"hard""#
            let budget = #"{"key":"costs","scope":{"tenant":"acme"},\#(bound)}"#
            try await server.ask("POST", "/budgets", budget, expecting: 201)
            let data = #","provider":"openai","model":"m","input_tokens":10"#
            try await server.admit("1", more: #","ttl_seconds":10800"#, data: data)
            try await server.expectRows(["0 10 0", "0 5 0"])
            try await Self.enter("0.8", from: "2026-11-24T01:00:00Z", server)
            try await server.expectRows(["0 10 0", "0 8 0"])
            // For before the admission, too.
            try await Self.enter("1.2", from: "2026-11-23T22:00:00Z", server)
            try await server.expectRows(["0 12 0", "0 8 0"])
            try await Self.expectSound(server)
        }
    }

    @Test("a call at a cost that a trusted source said is held at a dearer price of the book that is entered later")
    func reportedCost() async throws {
        try await TestServer.run(configure: { $0.trustedCostSources = ["gw"] }) { server in
            try await server.addTenant("acme")
            let bound = #""measure":"cost","amount":"50","currency":"USD","window":"day","mode":"hard""#
            let budget = #"{"key":"costs","scope":{"tenant":"acme"},\#(bound)}"#
            try await server.ask("POST", "/budgets", budget, expecting: 201)
            try await server.admit("1", data: #","provider":"openai","model":"m","input_tokens":20,"cost":10"#)
            try await server.expectRows(["0 10 0"])
            try await Self.enter("3", from: "2026-11-23T08:10:00Z", server)
            try await server.expectRows(["0 60 10"])
            try await Self.expectSound(server)
        }
    }

    @Test("where only money is held, a call that is settled in part is held whole at the new price, and no more")
    func moneyAlone() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await Self.enter("1", from: "2026-01-01T00:00:00Z", server)
            let bound = #""measure":"cost","amount":"500","currency":"USD","window":"day","mode":"hard""#
            let budget = #"{"key":"costs","scope":{"tenant":"acme"},\#(bound)}"#
            try await server.ask("POST", "/budgets", budget, expecting: 201)
            let open = try await server.admit("1", data: #","provider":"openai","model":"m","input_tokens":40"#)
            let id = server.id(of: open)
            let part = """
                {"specversion":"1.0","id":"e","source":"gw","type":"job.done","subject":"acme",\
                "reservationid":"\(id)","reservationpartial":true,\
                "data":{"provider":"openai","model":"m","input_tokens":10}}
                """
            _ = try await server.operatorClient.post("/api/v1/events", part).expecting(200)
            try await server.expectRows(["10 30 0"])
            try await Self.enter("3", from: "2026-11-23T08:10:00Z", server)
            try await server.expectRows(["10 120 0"])
            try await Self.enter("9", from: "2030-01-01T00:00:00Z", server)
            try await server.expectRows(["10 120 0"])
            try await Self.expectSound(server)
        }
    }

    @Test("what is charged by what providers charge is held at their new price, on all charges too")
    func costPlus() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addFeature("tokens", of: "input_tokens")
            let price = #"{"model":"cost_plus","markup_percent":"0"}"#
            try await server.publish(
                #"{"charges":[{"feature":"tokens","price":\#(price)}],"spend_cap":{"amount":"100","mode":"hard"}}"#
            )
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            try await Self.enter("1", from: "2026-01-01T00:00:00Z", server)
            try await server.admit("1", data: #","provider":"openai","model":"m","input_tokens":20"#)
            try await server.expectRows(["0 20 0"])
            try await Self.enter("4", from: "2026-11-23T08:10:00Z", server)
            try await server.expectRows(["0 80 0"])
            try await Self.enter("9", from: "2030-01-01T00:00:00Z", server)
            try await server.expectRows(["0 80 0"])
            try await Self.expectSound(server)
        }
    }

    @Test("a first price takes the place of the fallback once it is more, and soft limits without one hold it too")
    func firstPrice() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addFeature("tokens", of: "input_tokens")
            let price = #"{"model":"cost_plus","markup_percent":"0"}"#
            try await server.publish(#"{"charges":[{"feature":"tokens","price":\#(price)}]}"#)
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            for (key, scope, measure, mode, fallback) in [
                ("all", "", "charge", "hard", #","fallback_unit_amount":"3""#),
                ("user", #","user":"*""#, "charge", "hard", #","fallback_unit_amount":"3""#),
                ("soft", "", "charge", "soft", ""), ("costs", "", "cost", "soft", ""),
            ] {
                let bound =
                    #""measure":"\#(measure)","amount":"100","currency":"USD","window":"month","mode":"\#(mode)""#
                let body = #"{"key":"\#(key)","scope":{"tenant":"acme"\#(scope)},\#(bound)\#(fallback)}"#
                try await server.ask("POST", "/budgets", body, expecting: 201)
            }
            let model = #","provider":"openai","model":"m""#
            let open = try await server.admit("1", data: model + #","input_tokens":20"# + Self.user)
            try await server.expectRows(["0 60 0", "0 60 0"])
            try await Self.enter("1", from: "2026-11-23T08:10:00Z", server)
            try await server.expectRows(["0 60 0", "0 60 0", "0 20 0", "0 20 0"])
            try await Self.enter("4", from: "2026-11-23T08:12:00Z", server)
            try await server.expectRows(["0 80 0", "0 80 0", "0 80 0", "0 80 0"])
            let second = try await server.admit("2", data: model + #","input_tokens":5"# + Self.user)
            #expect(second["allowed"] == .bool(true))
            for call in [open, second] { try await server.ask("POST", "/admissions/\(server.id(of: call))/release") }
            try await server.expectRows(["0 0 0", "0 0 0", "0 0 0", "0 0 0"])
            try await Self.expectSound(server)
        }
    }

    @Test("a call whose time is over holds in no window that began since")
    func inSuspense() async throws {
        try await TestServer.run { server in
            let id = try await Self.arrange(server)
            let bound = #""measure":"requests","amount":"1","window":"day","mode":"hard""#
            let body = #"{"key":"calls","scope":{"tenant":"acme"},\#(bound)}"#
            try await server.ask("POST", "/budgets", body, expecting: 201)
            server.clock.set(try Instant(parsing: "2026-11-23T23:30:00Z"))
            try await server.admit("1", seconds: "1", data: Self.user)
            server.clock.set(try Instant(parsing: "2026-11-24T00:05:00Z"))
            try await Self.change(id, to: "high", server)
            let second = try await server.admit("2", seconds: "1", data: Self.user)
            #expect(second["allowed"] == .bool(true))
        }
    }

    @Test("a row that somebody has locked keeps no other tenant's calls from following")
    func lockedRow() async throws {
        try await TestServer.run { server in
            let id = try await Self.arrange(server)
            try await server.addTenant("beta")
            let other = try await server.subscribe("beta", to: "low", at: "2026-11-01T00:00:00Z")
            try await server.admit("1", seconds: "10", data: Self.user)
            try await server.admit("1", seconds: "20", subject: "beta")
            let caps: SQL =
                "SELECT trim_scale(held)::text FROM limit_state WHERE scope_value = '' AND held IN (20, 60)"
            try await server.whileLocked(by: "SELECT FROM limit_state WHERE scope_value = 'u1' FOR UPDATE") {
                server.clock.advance(seconds: 1)
                for subscription in [id, other] {
                    try await server.ask("POST", "/subscriptions/\(subscription)/change", #"{"plan":"high"}"#)
                }
                #expect(try await eventually { try await server.column(caps) == ["60"] })
            }
            let follows = try await eventually(within: .seconds(30)) {
                try await server.limitRows() == ["0 30 0", "0 30 0", "0 60 0"]
            }
            #expect(follows)
        }
    }

    @Test("a call that is extended before it has followed a change does so first, and holds once")
    func extendedFirst() async throws {
        try await TestServer.run { server in
            let id = try await Self.arrange(server)
            try await server.admit("1", seconds: "1", data: #","user":"u2""#)
            let open = try await server.admit("2", seconds: "20", data: Self.user)
            let rows = ["0 21 0", "0 20 0", "0 1 0"]
            #expect(try await server.limitRows() == rows)
            // Keeps the worker, which leaves the tenant's other calls until later.
            try await server.whileLocked(by: "SELECT FROM limit_state WHERE scope_value = 'u2' FOR UPDATE") {
                server.clock.advance(seconds: 1)
                try await server.ask("POST", "/subscriptions/\(id)/change", #"{"plan":"high"}"#)
                try await server.extend(open, seconds: 3_000)
                #expect(try await server.limitRows() == ["0 61 0", "0 60 0", "0 1 0"])
            }
            let follows = try await eventually(within: .seconds(30)) {
                try await server.limitRows() == ["0 63 0", "0 60 0", "0 3 0"]
            }
            #expect(follows)
            try await Self.expectSound(server)
            try await server.settle(open, event: "e", seconds: "20", data: Self.user)
            try await server.expectRows(["60 3 0", "60 0 0", "0 3 0"])
        }
    }

    @Test("calls of several tenants follow together, also more than are looked at at once")
    func manyCalls() async throws {
        try await TestServer.run(configure: { $0.admission.deadlineMilliseconds = 10_000 }) { server in
            var ids = [try await Self.arrange(server)]
            try await server.addTenant("beta")
            ids.append(try await server.subscribe("beta", to: "low", at: "2026-11-01T00:00:00Z"))
            for subject in ["acme", "beta"] {
                for first in [0, 100, 200] {
                    let calls = (first..<first + 100).map { id in
                        """
                        {"subject":"\(subject)","type":"job.done","source":"gw","id":"\(id)",\
                        "data":{"seconds":0.1}}
                        """
                    }
                    try await server.ask("POST", "/admissions", "[\(calls.joined(separator: ","))]")
                }
            }
            try await server.expectRows(["0 30 0", "0 30 0"])
            server.clock.advance(seconds: 1)
            for id in ids {
                try await server.ask("POST", "/subscriptions/\(id)/change", #"{"plan":"high"}"#)
            }
            try await server.holdsFollow()
            try await server.expectRows(["0 90 0", "0 90 0"])
            try await Self.expectSound(server)
        }
    }

    @Test("calls of others stay as they are")
    func others() async throws {
        try await TestServer.run { server in
            let id = try await Self.arrange(server)
            try await server.addTenant("beta")
            try await server.subscribe("beta", to: "low", at: "2026-11-01T00:00:00Z")
            try await server.admit("1", seconds: "20", subject: "beta")
            try await Self.change(id, to: "high", server)
            try await server.expectRows(["0 20 0"])
        }
    }
}
