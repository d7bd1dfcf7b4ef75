import Postgres
import TestSupport
import Testing
import Web

/// Reserving before a call and settling after it, against one quota.
@Suite struct AdmissionTests {
    @Test("a row beside which quantities are held stays when a call is refused, and counts on")
    func freeHoldsKeepTheirRow() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addFeature("seconds")
            try await server.publish(
                """
                {"charges":[{"feature":"seconds","price":{"model":"graduated","tiers":[
                  {"up_to":"10","unit_amount":"0"},{"up_to":null,"unit_amount":"2"}]}}]}
                """
            )
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            for budget in [
                """
                {"key":"all","scope":{"tenant":"acme"},"measure":"charge","amount":"20","currency":"USD",\
                "window":"lifetime","mode":"hard","thresholds":[50]}
                """,
                """
                {"key":"one","scope":{"tenant":"acme"},"measure":"requests","amount":"1","window":"day","mode":"hard"}
                """,
            ] {
                try await server.ask("POST", "/budgets", budget, expecting: 201)
            }
            let first = try await server.admit("1", seconds: "7")
            #expect(try await server.admit("2", seconds: "1")["reason"]?.string == "budget_exceeded")
            try await server.ask("POST", "/admissions/\(server.id(of: first))/release")
            let ends: SQL = "SELECT DISTINCT (window_end > '9000-01-01')::text FROM limit_state WHERE limit_amount = 20"
            #expect(try await server.column(ends) == ["true"])
            try await server.ingest(SentEvent("15", data: #"{"seconds":15}"#))
            let kinds = try await server.ask("GET", "/alerts")["data"]?.elements?.compactMap { $0["kind"]?.string }
            #expect(kinds?.contains("threshold_crossed") == true, "\(kinds ?? [])")
        }
    }

    @Test("a refused call leaves no row of any limit, also where its refusal is told")
    func refusedCallsLeaveNoRows() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            for budget in [
                """
                {"key":"acme","scope":{"tenant":"acme"},"measure":"requests","amount":"1","window":"day","mode":"hard"}
                """,
                """
                {"key":"users","scope":{"tenant":"*","user":"*"},"measure":"requests","amount":"3","window":"day",\
                "mode":"hard"}
                """,
                """
                {"key":"pace","scope":{"tenant":"*","user":"*"},"measure":"requests",\
                "rate":{"limit":60,"period":"minute","burst":60}}
                """,
            ] {
                try await server.ask("POST", "/budgets", budget, expecting: 201)
            }
            func rows() async throws -> [String?] {
                try await server.column(
                    """
                    SELECT scope_value FROM limit_state WHERE scope_value <> ''
                    UNION ALL SELECT 'rate of ' || scope_value FROM rate_state ORDER BY 1
                    """
                )
            }
            try await server.admit("1", data: #","user":"a""#)
            #expect(try await rows() == ["a", "rate of a"])
            #expect(try await server.admit("2", data: #","user":"c""#)["reason"]?.string == "budget_exceeded")
            try await server.admit("3", more: #","dry_run":true"#, data: #","user":"d""#)
            #expect(try await rows() == ["a", "rate of a"], "the alert of the refusal is committed, and nothing else")
            #expect(try await server.ask("GET", "/alerts")["data"]?.elements?.count == 1)
        }
    }

    @Test("an admission has the shape of the contract")
    func shape() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("10")
            try await server.ingest(SentEvent("before", data: #"{"seconds":3}"#))
            let answer = try await server.admit("1", seconds: "2")
            let id = server.id(of: answer)
            #expect(
                answer.text == """
                    {"allowed":true,"limits":[{"currency":null,"held":"2","key":"seconds","limit":"10",\
                    "measure":"units","mode":"hard",\
                    "operator_only":false,"origin":"quota","rate":null,"remaining":"5","scope_value":null,\
                    "unpriced":null,"used":"3","window":{"end":"2026-12-01T00:00:00.000000Z","kind":"month",\
                    "start":"2026-11-01T00:00:00.000000Z"}}],"max_output_tokens":null,"mitigation":null,"reason":null,\
                    "reservation":{"expires_at":"2026-11-23T08:15:00.000000Z","id":"\(id)","status":"held"},\
                    "retry_after":null,"warnings":[]}
                    """
            )
            let refused = try await server.admit("2", seconds: "6")
            #expect(refused["allowed"] == .bool(false))
            #expect(refused["reason"]?.string == "quota_exceeded")
            #expect(refused["retry_after"]?.number == "662400")
            #expect(refused["reservation"] == .null)
            try await server.expectRows(["3 2 3"])
        }
    }

    @Test("a settled reservation frees its whole hold, whether the event uses less, the same or more")
    func settlement() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("100")
            for (id, used) in [("less", "4"), ("same", "10"), ("more", "13")] {
                let admission = try await server.admit(id, seconds: "10")
                #expect(try await server.settle(admission, event: id, seconds: used) == "accepted 1")
            }
            try await server.expectRows(["27 0 3"])
            let again = try await server.admit("less", seconds: "10")
            #expect(again["reservation"]?["status"]?.string == "settled")
            #expect(again["allowed"] == .bool(false))
            #expect(again["reason"]?.string == "admission_closed")
        }
    }

    @Test("parts free what they use, and the last event the rest")
    func parts() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("100")
            let admission = try await server.admit("1", seconds: "10")
            try await server.settle(admission, event: "a", seconds: "4", partial: true)
            try await server.expectRows(["4 6 0"])
            try await server.settle(admission, event: "b", seconds: "8", partial: true)
            try await server.expectRows(["12 0 2"])
            try await server.settle(admission, event: "c", seconds: "1")
            try await server.expectRows(["13 0 3"])
            let shown = try await server.ask("GET", "/admissions/\(server.id(of: admission))")
            #expect(shown["status"]?.string == "settled")
        }
    }

    @Test("two holds of one row are one: parts free what they use, and the last event the rest of both")
    func twoHoldsOfOneRow() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("100")
            let admission = try await server.admit("1", seconds: "10")
            try await server.database.run(
                """
                UPDATE reservation
                SET holds = jsonb_build_array(jsonb_set(holds->0, '{4}', '"4"'), jsonb_set(holds->0, '{4}', '"6"'))
                """
            )
            try await server.settle(admission, event: "a", seconds: "5", partial: true)
            try await server.expectRows(["5 5 0"])
            try await server.settle(admission, event: "b", seconds: "2")
            try await server.expectRows(["7 0 0"])
        }
    }

    @Test("the worked example of docs/rules.md")
    func workedExample() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("100")
            var calls: [JSONValue] = []
            for id in ["1", "2", "3"] { calls.append(try await server.admit(id, seconds: "10")) }
            try await server.expectRows(["0 30 0"])
            try await server.settle(calls[0], event: "a", seconds: "4")
            try await server.expectRows(["4 20 0"])
            try await server.settle(calls[1], event: "b", seconds: "13")
            try await server.expectRows(["17 10 3"])
            try await server.settle(calls[2], event: "c", seconds: "4", partial: true)
            try await server.expectRows(["21 6 3"])
            try await server.settle(calls[2], event: "d", seconds: "3")
            try await server.expectRows(["24 0 3"])
            try await server.ingest(SentEvent("unasked", data: #"{"seconds":5}"#))
            try await server.expectRows(["29 0 8"])
            #expect(try await server.admit("4", seconds: "72")["allowed"] == .bool(false))
            #expect(try await server.admit("4", seconds: "71")["allowed"] == .bool(true))
            try await server.expectRows(["29 71 8"])
        }
    }

    @Test("a duplicate of a settling event settles nothing twice")
    func duplicates() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("100")
            let first = try await server.admit("1", seconds: "10")
            let second = try await server.admit("2", seconds: "10")
            try await server.settle(first, event: "a", seconds: "4")
            let again = try await server.settle(first, event: "a", seconds: "4")
            #expect(again.contains("duplicates 1"))
            try await server.expectRows(["4 10 0"])
            try await server.settle(second, event: "b", seconds: "1")
            try await server.expectRows(["5 0 0"])
        }
    }

    @Test("the same call is the same reservation, another under its id a conflict, and a dry run leaves no trace")
    func idempotency() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("10")
            let dry = try await server.admit("1", seconds: "4", more: #","dry_run":true"#)
            #expect(dry["allowed"] == .bool(true))
            #expect(dry["reservation"] == .null)
            try await server.expectRows([])
            let first = try await server.admit("1", seconds: "4")
            let again = try await server.admit("1", seconds: "4")
            #expect(again["reservation"]?["id"] == first["reservation"]?["id"])
            #expect(again["warnings"]?.text == #"["repeated"]"#)
            let problem = try await server.admit("1", seconds: "5", expecting: 409)
            #expect(problem["code"]?.string == "admission_conflict")
            // A trial is answered as the call would be.
            let trial = #","dry_run":true"#
            #expect(try await server.admit("1", seconds: "4", more: trial)["warnings"]?.text == #"["repeated"]"#)
            let other = try await server.admit("1", seconds: "5", more: trial, expecting: 409)
            #expect(other["code"]?.string == "admission_conflict")
            try await server.expectRows(["0 4 0"])
            try await server.settle(first, event: "a", seconds: "4")
            let closed = try await server.admit("1", seconds: "4", more: trial)
            #expect(closed["allowed"] == .bool(false) && closed["reason"]?.string == "admission_closed")
        }
    }

    @Test("releasing frees the hold once; what is settled can't be released")
    func release() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("10")
            let first = try await server.admit("1", seconds: "4")
            let path = "/admissions/\(server.id(of: first))"
            #expect(try await server.ask("POST", "\(path)/release")["status"]?.string == "released")
            #expect(try await server.ask("POST", "\(path)/release")["status"]?.string == "released")
            try await server.expectRows(["0 0 0"])
            try await server.settle(first, event: "late", seconds: "4")
            try await server.expectRows(["4 0 4"])
            let second = try await server.admit("2", seconds: "1")
            try await server.settle(second, event: "e", seconds: "1")
            let other = "/admissions/\(server.id(of: second))/release"
            #expect(try await server.ask("POST", other, expecting: 409)["code"]?.string == "admission_closed")
        }
    }

    @Test("what a part has used up of a hold is freed without a trace where the row is gone meanwhile")
    func usedUpHolds() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("10")
            let call = try await server.admit("1", seconds: "4")
            try await server.settle(call, event: "part", seconds: "4", partial: true)
            _ = try await server.void("part")
            try await server.expectRows(["0 0 0"])
            // Asking once more takes nothing, and a row in which nothing is left goes.
            try await server.admit("1", seconds: "4")
            try await server.expectRows([])
            try await server.ask("POST", "/admissions/\(server.id(of: call))/release")
            try await server.expectRows([])
        }
    }

    @Test("an event that names a reservation which is not held counts in full, and its sender is told so")
    func unsettled() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("40")
            let first = try await server.admit("1", seconds: "4")
            let part = try await server.settle(first, event: "part", seconds: "1", partial: true)
            #expect(part == "accepted 1")
            let reservation = server.id(of: first)
            let named = { (id: String, name: String) in
                """
                {"specversion":"1.0","id":"\(id)","source":"gw","type":"job.done","subject":"acme",\
                "reservationid":"\(name)","data":{"seconds":2}}
                """
            }
            // Two events of one request: the first one ends the reservation.
            let pair = "[\(named("rest", reservation)),\(named("more", reservation))]"
            let answer = try await server.operatorClient.post("/api/v1/events", pair).expecting(200)
            #expect(answer.report == "accepted 2, unsettled 1")
            #expect(answer.problems == ["unsettled more@1"])
            #expect(try await server.settle(first, event: "late", seconds: "2") == "accepted 1, unsettled 1")
            #expect(try await server.settle(first, event: "late", seconds: "2") == "duplicates 1")
            let unknown = named("unknown", "01a214fd-daa7-78d3-b04d-32dede44f7f3")
            let other = try await server.operatorClient.post("/api/v1/events", unknown).expecting(200)
            #expect(other.report == "accepted 1, unsettled 1")
            let partOfNone = """
                {"id":"none","source":"gw","type":"job.done","subject":"acme","reservationpartial":true,\
                "data":{"seconds":2}}
                """
            let none = try await server.operatorClient.post("/api/v1/events", partOfNone).expecting(200)
            #expect(none.report == "accepted 1, unsettled 1")
            let misplaced = """
                {"id":"misplaced","source":"gw","type":"job.done","subject":"acme",
                "data":{"seconds":0,"reservationid":"\(reservation)"}}
                """
            let inside = try await server.operatorClient.post("/api/v1/events", misplaced).expecting(200)
            #expect(inside.report == "accepted 1, unsettled 1")
            for (name, value, report) in [
                ("reservation_id", reservation, "accepted 1, unsettled 1"), ("reservationId", "table 5", "accepted 1"),
            ] {
                let event = """
                    {"id":"\(name)","source":"gw","type":"job.done","subject":"acme",
                    "data":{"seconds":0,"\(name)":"\(value)"}}
                    """
                let alike = try await server.operatorClient.post("/api/v1/events", event).expecting(200)
                #expect(alike.report == report, "\(name)")
            }
            try await server.expectRows(["11 0 8"])
            let quota = try await server.ask("GET", "/tenants/acme/quotas/seconds")
            #expect(quota["used"]?.string == "11" && quota["overshoot"]?.string == "8")
        }
    }

    @Test("several calls are decided one by one")
    func batch() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("10")
            let calls = (1...4).map { index in
                #"{"subject":"acme","type":"job.done","source":"gw","id":"\#(index)","data":{"seconds":4}}"#
            }
            let answer = try await server.ask("POST", "/admissions", "[\(calls.joined(separator: ","))]")
            let allowed = (0..<4).map { answer["data"]?[$0]?["allowed"] == .bool(true) }
            #expect(allowed == [true, true, false, false])
            try await server.expectRows(["0 8 0"])
        }
    }

    @Test("a call that may use fewer output tokens is admitted with as many as fit")
    func fewerTokens() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addFeature("tokens", of: "output_tokens", type: "llm.completion")
            try await server.publish(
                #"{"quotas":[{"feature":"tokens","limit":"1000","window":"month","mode":"hard"}]}"#
            )
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            func ask(_ id: String, _ tokens: Int, _ minimum: Int) async throws -> JSONValue {
                try await server.ask(
                    "POST",
                    "/admissions",
                    """
                    {"subject":"acme","type":"llm.completion","source":"gw","id":"\(id)",\
                    "min_output_tokens":\(minimum),\
                    "data":{"model":"gpt-4o","input_tokens":5,"output_tokens":\(tokens)}}
                    """
                )
            }
            #expect(try await ask("1", 700, 100)["max_output_tokens"]?.number == "700")
            #expect(try await ask("2", 700, 100)["max_output_tokens"]?.number == "300")
            #expect(try await ask("3", 700, 1)["allowed"] == .bool(false))
            // What all that was asked for would never have been given does not matter: the fewest might be.
            let refused = try await ask("4", 5_000, 1)
            #expect(refused["allowed"] == .bool(false))
            #expect(refused["retry_after"] != .null)
            try await server.expectRows(["0 1000 0"])
        }
    }

    /// Audio costs five times as much as text, and can be all of what is left.
    @Test(
        "fewer output tokens cost what they can at most: the dearest of what was asked for come first",
        arguments: [
            ("26", 100, "600"), ("26", 600, "600"), ("24", 100, "480"), ("3", 100, nil), ("3", 10, "60"),
        ]
    )
    func fewerTokensOfMedia(_ amount: String, _ minimum: Int, _ expected: String?) async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            for (tokenClass, price) in [("output", "0.01"), ("output_audio", "0.05"), ("reasoning", "0.001")] {
                try await server.price(tokenClass, price, model: "voice")
            }
            let budget = """
                {"key":"b","scope":{"tenant":"acme"},"measure":"cost","currency":"USD","amount":"\(amount)",\
                "window":"day","mode":"hard","fallback_unit_amount":"0.001"}
                """
            try await server.ask("POST", "/budgets", budget, expecting: 201)
            let answer = try await server.ask(
                "POST",
                "/admissions",
                """
                {"subject":"acme","type":"chat","source":"gw","id":"1","min_output_tokens":\(minimum),\
                "data":{"provider":"openai","model":"voice","output_tokens":1200,"output_audio_tokens":500,\
                "reasoning_tokens":200}}
                """
            )
            #expect(answer["max_output_tokens"]?.number == expected, "\(answer)")
        }
    }

    private static let free = #"{"model":"per_unit","unit_amount":"0"}"#
    private static let cent = #"{"model":"per_unit","unit_amount":"0.01"}"#
    private static let providerCost = #"{"model":"cost_plus","markup_percent":"0"}"#
    private static let centByClass = """
        {"model":"matrix","dimensions":["token_class"],"default":\(free),
         "cells":[{"match":{"token_class":"plain"},"price":\(cent)}]}
        """

    private static func capped(plain: String = free, tokens: String = free) -> String {
        """
        {"charges":[{"feature":"plain","price":\(plain)},{"feature":"thoughts","price":\(free)},
                    {"feature":"tokens","price":\(tokens)}],
         "spend_cap":{"amount":"1","mode":"hard"}}
        """
    }

    private static func quota(of feature: String) -> String {
        #"{"quotas":[{"feature":"\#(feature)","limit":"100","window":"month","mode":"hard"}]}"#
    }

    /// Thoughts cost nothing, or providers twice as much as the rest.
    @Test(
        "fewer output tokens count in each class what they can at most, and together what they are",
        arguments: [
            (capped(plain: cent), "0 1 0"), (capped(plain: providerCost), "0 1 0"),
            (capped(tokens: centByClass), "0 1 0"), (quota(of: "plain"), "0 100 0"), (quota(of: "tokens"), "0 100 0"),
        ]
    )
    func fewerTokensOfClasses(_ version: String, _ row: String) async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.price("output", "0.01")
            try await server.price("reasoning", "0.02")
            let meter = """
                {"key":"tokens","event_type":"chat","aggregation":"sum","class_dimension":"token_class",
                 "value":{"plain":"plain_output_tokens","thought":"reasoning_tokens"}}
                """
            try await server.ask("POST", "/meters", meter, expecting: 201)
            let classes = ["plain": #""plain""#, "thoughts": #""thought""#, "tokens": #""plain","thought""#]
            for (key, names) in classes {
                let filter = #"{"dimension":"token_class","in":[\#(names)]}"#
                let feature = #"{"key":"\#(key)","meter":"tokens","unit":"token","filters":[\#(filter)]}"#
                try await server.ask("POST", "/features", feature, expecting: 201)
            }
            try await server.publish(version)
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            let call = """
                {"subject":"acme","type":"chat","source":"gw","id":"1","min_output_tokens":1,\
                "data":{"provider":"openai","model":"gpt-4o","output_tokens":1000,"reasoning_tokens":500}}
                """
            let answer = try await server.ask("POST", "/admissions", call)
            #expect(answer["max_output_tokens"]?.number == "100", "\(answer)")
            try await server.expectRows([row])
        }
    }

    @Test("with fewer output tokens a call takes nothing of a limit that it doesn't touch as a whole")
    func fewerTokensTouchNothingElse() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addFeature("tokens", of: "output_tokens", type: "llm.completion")
            try await server.ask(
                "POST",
                "/meters",
                """
                {"key":"single","event_type":"llm.completion","aggregation":"count",
                 "filters":[{"property":"output_tokens","in":["1"]}]}
                """,
                expecting: 201
            )
            let single = #"{"key":"single","name":"Single","meter":"single","unit":"call"}"#
            try await server.ask("POST", "/features", single, expecting: 201)
            try await server.publish(
                """
                {"quotas":[{"feature":"tokens","limit":"1000","window":"month","mode":"hard"},
                           {"feature":"single","limit":"1","window":"month","mode":"hard"}]}
                """
            )
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            func use(_ id: String, _ tokens: Int) async throws {
                let data = #"{"model":"gpt-4o","input_tokens":5,"output_tokens":\#(tokens)}"#
                try await server.ingest(SentEvent(id, type: "llm.completion", data: data))
            }
            func ask(_ id: String) async throws -> JSONValue {
                let call = """
                    {"subject":"acme","type":"llm.completion","source":"gw","id":"\(id)","min_output_tokens":1,
                     "data":{"model":"gpt-4o","input_tokens":5,"output_tokens":500}}
                    """
                return try await server.ask("POST", "/admissions", call)
            }
            try await use("a", 1)
            try await use("b", 899)
            // The fewest would touch it, and more than these fit.
            let fitting = try await ask("1")
            #expect(fitting["max_output_tokens"]?.number == "100")
            try await server.ask("POST", "/admissions/\(server.id(of: fitting))/release")
            try await use("c", 99)
            #expect(try await ask("2")["allowed"] == .bool(false))
            try await server.expectRows(["999 0 999", "1 0 1"])
        }
    }

    @Test("who names nobody, or a suspended tenant, is refused; other faults name the field")
    func refusals() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("10")
            try await server.addTenant("beta")
            #expect(try await server.admit("1", subject: "nobody")["reason"]?.string == "unknown_subject")
            let own = try await server.client([.admissionsWrite], tenant: "beta")
            #expect(try await server.admit("1", as: own)["reason"]?.string == "unknown_subject")
            let fault = try await server.admit("1", more: #","tll":1"#, expecting: 400)
            #expect(fault["errors"]?[0]?["pointer"]?.string == "/tll")
            for member in [#""reservationid":"x""#, #""estimate":{"output_tokens":5}"#, #""dryRun":true"#] {
                let unknown = try await server.admit("1", more: ",\(member)", expecting: 400)["errors"]?.elements
                #expect(unknown?.map { $0["code"]?.string } == ["unknown_field"], "\(member)")
                #expect(unknown?[0]["detail"]?.string?.contains(#""dry_run", "id""#) == true, "\(member)")
            }
            let time = try await server.admit("1", more: #","time":"2026-11-23T08:00:00Z""#, expecting: 400)
            #expect(time["errors"]?[0]?["code"]?.string == "not_applicable")
            try await server.ask("POST", "/tenants/acme/suspend")
            #expect(try await server.admit("1")["reason"]?.string == "tenant_suspended")
        }
    }

    @Test("a credential that is narrowed to other models can't read, release or extend a reservation")
    func narrowing() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("10")
            let admission = try await server.admit("1", data: #","model":"gpt-4o""#)
            let body = #"{"name":"n","scopes":["admissions:write"],"models":["claude*"]}"#
            let key = try await server.ask("POST", "/api-keys", body, expecting: 201)["key"]?.string
            let narrow = server.anonymous.with(key: key)
            let path = "/admissions/\(server.id(of: admission))"
            for (method, path) in [("GET", path), ("POST", "\(path)/release"), ("POST", "\(path)/extend")] {
                let refused = try await server.ask(method, path, expecting: 403, as: narrow)
                #expect(refused["code"]?.string == "use_not_allowed")
            }
            try await server.expectRows(["0 1 0"])
            let check = ["X-Turnpike-Subject": "acme", "X-Turnpike-Model": "gpt-4o"]
            let refused = try await narrow.get("/api/v1/admissions/check?deny_with=403", headers: check).expecting(403)
            #expect(refused.header("X-Turnpike-Status") == "403")
            #expect(refused.header("X-Turnpike-Reason") == "use_not_allowed")
        }
    }

    @Test("a header field that is given twice, or is not UTF-8, says nothing for sure, and its call is not admitted")
    func ambiguousFields() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("10")
            let made = #"{"name":"n","scopes":["admissions:write"],"models":["gpt-4o*"]}"#
            let key = try #require(try await server.ask("POST", "/api-keys", made, expecting: 201)["key"]?.string)
            let head =
                "GET /api/v1/admissions/check HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer \(key)\r\n"
                + "X-Turnpike-Subject: acme\r\nX-Turnpike-Reserve: true\r\nX-Turnpike-Id: 1\r\n"
            let twice = head + "X-Turnpike-Model: gpt-4o-x\r\nX-Turnpike-Model: evil\r\n\r\n"
            let bytes = Array((head + "X-Turnpike-Model: gpt-4o\r\nX-Turnpike-User: caf").utf8) + [0xE9]
            for (request, code) in [
                (Array(twice.utf8), "repeated"), (bytes + Array("\r\n\r\n".utf8), "malformed"),
            ] {
                let connection = try RawConnection(port: server.port)
                try connection.send(request)
                let answer = await connection.answer(until: "}")
                #expect(answer.contains("HTTP/1.1 400") && answer.contains(code), "\(answer)")
            }
            try await server.expectRows([])
        }
    }

    @Test("a posted check may have a body of whatever kind, which is not read")
    func postedBody() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("10")
            let connection = try RawConnection(port: server.port)
            try connection.send(
                "POST /api/v1/admissions/check HTTP/1.1\r\nHost: a\r\nX-Turnpike-Subject: acme\r\n"
                    + "Authorization: Bearer \(server.operatorClient.key ?? "")\r\nContent-Length: 1\r\n\r\n{"
            )
            let answer = await connection.answer(until: "\r\n\r\n")
            #expect(answer.hasPrefix("HTTP/1.1 204"), "\(answer)")
        }
    }
}
