import Postgres
import TestSupport
import Testing
import Web

/// Budgets that stand in place of a default.
@Suite struct BudgetOverrideTests {
    private static let everyUser = """
        {"key":"users","scope":{"tenant":"*","user":"*"},"measure":"requests","amount":"2","window":"day","mode":"hard"}
        """

    @Test("a default is raised for a tenant, and lowered for one of its users; others stay under it")
    func tenantsAndUsers() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("1000")
            try await server.addTenant("beta")
            try await server.ask("POST", "/budgets", Self.everyUser, expecting: 201)
            let raised = try await server.override("users", #"{"tenant":"acme","user":"*"}"#, amount: "4", as: "more")
            #expect(raised["overrides"]?.string == "users")
            try await server.override("more", #"{"tenant":"acme","user":"low"}"#, amount: "1", as: "low")
            #expect(try await server.admitted(of: "u1") == 4)
            #expect(try await server.admitted(of: "low") == 1)
            #expect(try await server.admitted(of: "u1", tenant: "beta") == 2)
            let refused = try await server.admit("last", data: #","user":"low""#)
            #expect(refused["limits"]?.elements?.compactMap { $0["key"]?.string } == ["low"])
            let touched = try await server.admit("other", data: #","user":"u2""#)["limits"]?.elements ?? []
            #expect(touched.compactMap { $0["key"]?.string } == ["seconds", "more"])
            #expect(try await server.brokenLimits() == [])
            #expect(try await server.unbalancedHolds() == [])
        }
    }

    @Test("what a default counts goes on under an override, which alone alerts; archived, it bounds again")
    func archiving() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("1000")
            try await server.ask("POST", "/budgets", Self.everyUser, expecting: 201)
            try await server.override("users", #"{"tenant":"acme","user":"*"}"#, amount: "8", as: "users")
            for event in ["1", "2", "3", "4"] {
                try await server.ingest(SentEvent(event, data: #"{"seconds":1,"user":"u1"}"#))
            }
            #expect(try await server.brokenLimits() == [])
            #expect(try await server.admit("1", data: #","user":"u1""#)["allowed"] == .bool(true))
            let alerts = try await server.ask("GET", "/alerts?kind=threshold_crossed")["data"]?.elements ?? []
            #expect(alerts.compactMap { $0["threshold"]?.string } == ["50"], "\(alerts)")
            try await server.ask("DELETE", "/budgets/users?tenant=acme", expecting: 204)
            let refused = try await server.admit("2", data: #","user":"u1""#)
            #expect(refused["reason"]?.string == "budget_exceeded")
            #expect(refused["limits"]?[0]?["used"]?.string == "4")
            #expect(try await server.admitted(of: "u2") == 2)
            #expect(try await server.differences() == [])
        }
    }

    @Test("when an override is archived, calls that are open come to hold of the default")
    func openCalls() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("1000")
            try await server.ask("POST", "/budgets", Self.everyUser, expecting: 201)
            try await server.override("users", #"{"tenant":"acme","user":"*"}"#, amount: "100", as: "more")
            for id in 1...5 { try await server.admit("\(id)", data: #","user":"u1""#) }
            try await server.expectRows(["0 5 0", "0 5 0"])
            try await server.ask("DELETE", "/budgets/more?tenant=acme", expecting: 204)
            try await server.holdsFollow()
            let status = try await server.ask("GET", "/budgets/users")["status"]?["windows"]?[0]
            #expect(status?["held"]?.string == "5" && status?["overshoot"]?.string == "3", "\(status?.text ?? "")")
        }
    }

    @Test(
        "a default alerts nobody of rows that are overridden: not when changed, nor by usage of before the override"
    )
    func silence() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("1000")
            try await server.ask("POST", "/budgets", Self.everyUser, expecting: 201)
            server.clock.advance(seconds: 60)
            try await server.override("users", #"{"tenant":"acme","user":"*"}"#, amount: "100", as: "more")
            for event in ["1", "2", "3"] {
                try await server.ingest(SentEvent(event, data: #"{"seconds":1,"user":"u1"}"#))
            }
            let earlier = "2026-11-23T08:00:30Z"
            try await server.ingest(SentEvent("4", time: earlier, data: #"{"seconds":1,"user":"u1"}"#))
            _ = try await server.void("4")
            try await server.changeBudget("users", #"{"amount":"1"}"#)
            let alerts = try await server.ask("GET", "/alerts")["data"]?.elements ?? []
            #expect(alerts == [], "\(alerts)")
            // Of others it does.
            try await server.ingest(SentEvent("5", subject: "acme", data: #"{"seconds":1,"user":"u2"}"#))
            try await server.addTenant("beta")
            try await server.ingest(SentEvent("6", subject: "beta", data: #"{"seconds":1,"user":"u1"}"#))
            let others = try await server.ask("GET", "/alerts")["data"]?.elements ?? []
            let told = others.filter { $0["kind"]?.string == "threshold_crossed" }
            #expect(told.compactMap { $0["tenant"]?.string } == ["beta", "beta", "beta"], "\(others)")
        }
    }

    @Test("of two budgets of a key the tenant's own is overridden")
    func ownFirst() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("1000")
            try await server.ask("POST", "/budgets", Self.everyUser, expecting: 201)
            try await server.override("users", #"{"tenant":"acme","user":"*"}"#, amount: "3", as: "users")
            try await server.override("users", #"{"tenant":"acme","user":"vip"}"#, amount: "6", as: "vip")
            #expect(try await server.admitted(of: "u1") == 3)
            // The default over all tenants is not what it stands in place of.
            #expect(try await server.admitted(of: "vip") == 6)
        }
    }

    @Test("a rate is overridden by a rate, and a limit on all charges by one: holds follow the tiers of both")
    func ratesAndCharges() async throws {
        try await TestServer.run { server in
            try await server.arrangeTiers()
            let pace = #"{"key":"pace","scope":{"tenant":"*"},"measure":"requests","#
            let slow = #""rate":{"limit":2,"period":"hour","default_percent":100}"#
            let fast = #""rate":{"limit":5,"period":"hour","default_percent":100}"#
            try await server.ask("POST", "/budgets", "\(pace)\(slow)}", expecting: 201)
            let own = #"{"key":"pace","overrides":"pace","scope":{"tenant":"acme"},"measure":"requests","#
            try await server.ask("POST", "/budgets", "\(own)\(fast)}", expecting: 201)
            #expect(try await server.admitted(of: "u") == 5)
            server.clock.advance(seconds: 7_200)
            let charges = #""measure":"charge","currency":"USD","window":"lifetime","mode":"hard","#
            let all = #"{"key":"all","scope":{"tenant":"*"},\#(charges)"amount":"2"}"#
            try await server.ask("POST", "/budgets", all, expecting: 201)
            let wide = #"{"key":"wide","overrides":"all","scope":{"tenant":"acme"},\#(charges)"amount":"6"}"#
            try await server.ask("POST", "/budgets", wide, expecting: 201)
            // Ten seconds are free, three charged 2 each.
            let first = try await server.admit("first", seconds: "13")
            #expect(first["allowed"] == .bool(true))
            let second = try await server.admit("second")
            #expect(second["limits"]?.elements?.compactMap { $0["key"]?.string } == ["wide"])
            #expect(try await server.settle(first, event: "e", seconds: "12") == "accepted 1")
            #expect(try await server.brokenLimits() == [])
            #expect(try await server.unbalancedHolds() == [])
        }
    }

    @Test("it counts what the default counts for one value of it, and no tenant overrides what an operator made")
    func faults() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("1000")
            try await server.ask("POST", "/budgets", Self.everyUser, expecting: 201)
            let window = #""window":"day","mode":"hard""#
            let (rate, requests) = (#""rate":{"limit":2,"period":"hour"}"#, #""measure":"requests","amount":"1","#)
            let dollars = #""measure":"charge","amount":"1","currency":"USD",\#(window)"#
            let euros = dollars.replacing("USD", with: "EUR")
            let each = #"{"key":"each-dollar","scope":{"user":"*"},\#(dollars)}"#
            try await server.ask("POST", "/budgets", each, expecting: 201)
            let other = #"{"key":"k","overrides":"each-dollar","scope":{"user":"u9"},\#(euros)}"#
            let currencies = try await server.ask("POST", "/budgets", other, expecting: 400)["errors"]?[0]
            #expect(currencies?["pointer"]?.string == "/overrides")
            for (scope, rest) in [
                (#"{"tenant":"acme"}"#, requests + window),
                (#"{"tenant":"*","user":"*"}"#, requests + window),
                (#"{"tenant":"acme","user":"*","model":"x"}"#, requests + window),
                (#"{"user":"*"}"#, requests + window),
                (#"{"tenant":"acme","user":"*"}"#, #""measure":"requests",\#(rate)"#),
                (#"{"tenant":"acme","user":"*"}"#, dollars),
            ] {
                let body = #"{"key":"k","overrides":"users","scope":\#(scope),\#(rest)}"#
                let fault = try await server.ask("POST", "/budgets", body, expecting: 400)["errors"]?[0]
                #expect(fault?["pointer"]?.string == "/overrides", "\(body)")
                #expect(fault?["code"]?.string == "not_applicable", "\(body)")
            }
            let unknown = #"{"key":"k","overrides":"no","scope":{"tenant":"acme","user":"*"},\#(requests)\#(window)}"#
            let fault = try await server.ask("POST", "/budgets", unknown, expecting: 400)["errors"]?[0]
            #expect(fault?["code"]?.string == "unknown_budget")
            let own = try await server.client([.budgetsRead, .budgetsWrite], tenant: "acme")
            let evading = #"{"key":"k","overrides":"users","scope":{"user":"*"},\#(requests)\#(window)}"#
            let refused = try await server.ask("POST", "/budgets", evading, expecting: 400, as: own)["errors"]?[0]
            #expect(refused?["code"]?.string == "unknown_budget")
            let ownEach = #"{"key":"each","scope":{"user":"*"},\#(requests)\#(window)}"#
            try await server.ask("POST", "/budgets", ownEach, expecting: 201, as: own)
            let one = #"{"key":"one","overrides":"each","scope":{"user":"u9"},\#(requests)\#(window)}"#
            try await server.ask("POST", "/budgets", one, expecting: 201, as: own)
            let change = #"{"overrides":"users"}"#
            let patch = try await server.ask("PATCH", "/budgets/one", change, expecting: 400, as: own)
            #expect(patch["errors"]?[0]?["code"]?.string == "immutable")
        }
    }
}

extension TestServer {
    /// A hard budget on requests a day in place of another.
    @discardableResult
    fileprivate func override(
        _ overridden: String,
        _ scope: String,
        amount: String,
        as key: String
    ) async throws -> JSONValue {
        let body = """
            {"key":"\(key)","overrides":"\(overridden)","scope":\(scope),"measure":"requests","amount":"\(amount)",\
            "window":"day","mode":"hard"}
            """
        return try await ask("POST", "/budgets", body, expecting: 201)
    }

    /// How many of ten calls of a user are admitted.
    fileprivate func admitted(of user: String, tenant: String = "acme") async throws -> Int {
        var count = 0
        for index in 0..<10 {
            let answer = try await admit("\(tenant) \(user) \(index)", data: #","user":"\#(user)""#, subject: tenant)
            if answer["allowed"] == .bool(true) { count += 1 }
        }
        return count
    }
}
