import Postgres
import TestSupport
import Testing
import TurnpikeServer
import Web

/// Usage that no feature counted when it came: counted later, once there is one.
@Suite struct UnmeteredReplayTests {
    private static let plan = """
        {"interval":"month","charges":[{"feature":"dome","price":{"model":"per_unit","unit_amount":"2"}}],
        "quotas":[{"feature":"dome","limit":"4","window":"month","mode":"hard","overage":"denied"}]}
        """

    /// A mistyped event type; the meter for it is made later.
    private static func event(_ id: String, _ seconds: Int = 1, subject: String = "acme", at time: String? = nil)
        -> SentEvent
    {
        SentEvent(id, type: "job.dome", subject: subject, time: time, data: #"{"seconds":\#(seconds)}"#)
    }

    private static func sell(_ server: TestServer, to tenants: [String] = ["acme"]) async throws {
        try await server.addFeature("dome", type: "job.dome")
        try await server.publish(plan)
        for tenant in tenants { try await server.subscribe(tenant, at: "2026-11-01T00:00:00Z") }
    }

    /// - Returns: how many were replayed and left, and whether there is more.
    @discardableResult
    private static func replay(_ server: TestServer, _ more: String = "") async throws -> String {
        let body = #"{"type":"job.dome"\#(more)}"#
        let report = try await server.ask("POST", "/unmetered-events/replay", body)
        let counts = ["replayed", "unmetered"].map { "\($0) \(report[$0]?.number ?? "?")" }.joined(separator: ", ")
        return report["next_cursor"] == .null ? counts : "\(counts), more"
    }

    @Test("usage is counted, charged and limited once a feature counts its type, and only once")
    func counted() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            let early = Self.event("a", 2, at: "2026-11-03T08:00:00Z")
            #expect(try await server.ingest(early, Self.event("b", 3)) == "accepted 2, unmetered 2")
            try await server.ingest(SentEvent("other", type: "job.done"))
            try await Self.sell(server)
            #expect(try await server.used("dome") == "0")

            #expect(try await Self.replay(server) == "replayed 2, unmetered 0")
            #expect(try await server.used("dome") == "5")
            #expect(try await server.ask("GET", "/tenants/acme/upcoming-invoice")["total"]?.string == "10.00")
            #expect(try await Self.replay(server) == "replayed 0, unmetered 0")
            #expect(try await server.ingest(early) == "duplicates 1")
            #expect(try await server.used("dome") == "5")
            #expect(try await server.differences() == [])

            let log = try await server.ask("GET", "/events?tenant=acme&source=gw&id=a")["data"]?.elements ?? []
            #expect(log.map { $0["reversal_of"]?.string } == [nil, "a", nil], "as counted, taken back, as it came")
            let counted = try await server.ask("GET", "/events?tenant=acme&feature=dome")["data"]?.elements ?? []
            #expect(counted.map { $0["quantity"]?.string } == ["3", "2"])
        }
    }

    @Test("what is replayed can be voided like any other event")
    func voided() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.ingest(Self.event("a", 2), Self.event("b", 3), Self.event("gone", 7))
            _ = try await server.void("gone")
            try await Self.sell(server)
            #expect(try await Self.replay(server) == "replayed 2, unmetered 0")
            #expect(try await server.used("dome") == "5")
            let void = #"{"source":"gw","id":"b","tenant":"acme"}"#
            for status in ["voided", "already_voided"] {
                #expect(try await server.ask("POST", "/events/void", void)["status"]?.string == status)
                #expect(try await server.used("dome") == "2")
            }
            #expect(try await Self.replay(server) == "replayed 0, unmetered 0")
            #expect(try await server.differences() == [])
        }
    }

    @Test("limits that had counted it without a feature count it no more often, and tell of nothing again")
    func limits() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            for (key, scope) in [("all", "{}"), ("domes", #"{"tenant":"acme","feature":"dome"}"#)] {
                if key == "domes" { try await Self.sell(server) }
                let budget = """
                    {"key":"\(key)","scope":\(scope),"measure":"requests","amount":"2","window":"month","mode":"hard",
                    "thresholds":[50,100]}
                    """
                try await server.ask("POST", "/budgets", budget, expecting: 201)
                if key == "all" {
                    try await server.ingest(Self.event("a"), Self.event("b"), Self.event("c"))
                }
            }
            func standing(_ key: String) async throws -> [String?] {
                let row = try await server.ask("GET", "/budgets/\(key)")["status"]?["windows"]?[0]
                return ["used", "overshoot"].map { row?[$0]?.string }
            }
            func alerts() async throws -> [String?] {
                try await server.column(
                    """
                    SELECT concat_ws(' ', detail ->> 'limit', detail ->> 'used') FROM alert
                    WHERE kind = 'threshold_crossed' AND detail ->> 'origin' = 'budget' ORDER BY 1
                    """
                )
            }
            let before = try await alerts()
            #expect(before == ["all 3", "all 3"])
            #expect(try await standing("all") == ["3", "3"])
            #expect(try await Self.replay(server) == "replayed 3, unmetered 0")
            #expect(try await standing("all") == ["3", "3"])
            #expect(try await standing("domes") == ["3", "3"], "a budget of before counts what is stored since")
            let after = try await alerts()
            #expect(after == before + ["domes 3", "domes 3"])
            #expect(try await server.differences() == [])
        }
    }

    @Test("a replay goes through all tenants in pieces, and through one alone where one is named")
    func pieces() async throws {
        try await TestServer.run { server in
            let tenants = ["acme", "beta", "gamma"]
            for tenant in tenants { try await server.addTenant(tenant) }
            for tenant in tenants {
                let events = (1...5).map {
                    Self.event("\(tenant)\($0)", subject: tenant, at: "2026-11-0\($0)T00:00:00Z")
                }
                try await server.post(events).expecting(200)
            }
            try await Self.sell(server, to: tenants)
            #expect(
                try await Self.replay(
                    server,
                    #","tenant":"beta","from":"2026-11-02T00:00:00Z","to":"2026-11-04T00:00:00Z""#
                )
                    == "replayed 2, unmetered 0"
            )
            var cursor = ""
            var replayed: [String] = []
            repeat {
                let body = #"{"type":"job.dome","limit":4\#(cursor)}"#
                let report = try await server.ask("POST", "/unmetered-events/replay", body)
                replayed.append(report["replayed"]?.number ?? "?")
                cursor = report["next_cursor"]?.string.map { #","cursor":"\#($0)""# } ?? ""
            } while !cursor.isEmpty && replayed.count < 9
            #expect(replayed == ["4", "4", "4", "1"])
            for tenant in tenants { #expect(try await server.used("dome", tenant: tenant) == "5") }
            #expect(try await server.differences() == [])
        }
    }

    @Test("what a feature can't count, and what belongs to another tenant by now, is left as it is")
    func left() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme", subjects: ["moved", "acme-prod"])
            try await server.addTenant("beta")
            let bad = SentEvent("bad", type: "job.dome", data: #"{"seconds":"abc"}"#)
            let none = SentEvent("none", type: "job.dome", data: "{}")
            try await server.ingest(bad, none, Self.event("moved", subject: "moved"), Self.event("good"))
            #expect(try await Self.replay(server) == "replayed 0, unmetered 4", "there is no feature yet")
            try await Self.sell(server)
            try await server.ask("PATCH", "/tenants/acme", #"{"subjects":["acme-prod"]}"#)
            try await server.ask("PATCH", "/tenants/beta", #"{"subjects":["moved"]}"#)
            #expect(try await Self.replay(server) == "replayed 1, unmetered 3")
            #expect(try await server.used("dome") == "1")
            #expect(try await server.differences() == [])
        }
    }

    @Test("what a reservation covered is no overshoot, and a window that is over tells of nothing it had counted")
    func coveredAndPast() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            let budget = """
                {"key":"all","scope":{},"measure":"requests","amount":"100","window":"month","mode":"hard",
                "thresholds":[100]}
                """
            try await server.ask("POST", "/budgets", budget, expecting: 201)
            let call = #"{"subject":"acme","type":"job.dome","source":"gw","id":"call","data":{"seconds":1}}"#
            let id = try await server.ask("POST", "/admissions", call)["reservation"]?["id"]?.string ?? ""
            let used = """
                {"specversion":"1.0","id":"a","source":"gw","type":"job.dome","subject":"acme","reservationid":"\(id)",
                "data":{"seconds":1}}
                """
            try await server.operatorClient.post("/api/v1/events", used).expecting(200)
            try await server.ingest(Self.event("b"), Self.event("c"))
            let rows: SQL = """
                SELECT concat_ws(' ', trim_scale(used), trim_scale(held), trim_scale(overshoot)) FROM limit_state
                WHERE tenant_id = 0 ORDER BY window_start
                """
            #expect(try await server.column(rows) == ["3 0 2"])
            server.clock.advance(seconds: 10 * 86_400)
            try await server.changeBudget("all", #"{"amount":"2"}"#)
            try await Self.sell(server)
            #expect(try await Self.replay(server) == "replayed 3, unmetered 0")
            #expect(try await server.column(rows) == ["3 0 2"])
            let told: SQL = "SELECT detail ->> 'limit' FROM alert WHERE kind = 'threshold_crossed'"
            #expect(try await server.column(told).contains("all") == false)
            #expect(try await server.differences() == [])
        }
    }

    @Test(
        "a replayed call costs what the price book says by now, and a report is believed where it was",
        arguments: [false, true]
    )
    func costs(isPriced: Bool) async throws {
        try await TestServer.run(configure: { $0.trustedCostSources = ["gw"] }) { server in
            try await server.addTenant("acme")
            let budget = """
                {"key":"cost","scope":{},"measure":"cost","currency":"USD","amount":"99","window":"month","mode":"soft"}
                """
            try await server.ask("POST", "/budgets", budget, expecting: 201)
            func call(_ id: String, cost: String) -> SentEvent {
                SentEvent(
                    id,
                    type: "job.dome",
                    data: #"{"seconds":1,"provider":"openai","model":"gpt-4o","input_tokens":10,"cost":"\#(cost)"}"#
                )
            }
            let own = try await server.client([.eventsWrite], tenant: "acme")
            #expect(try await server.post([call("own", cost: "9")], as: own).status == 200)
            try await server.ingest(call("gateway", cost: "3"))
            func unpriced() async throws -> String? {
                try await server.ask("GET", "/unpriced-usage")["data"]?[0]?["events"]?.number
            }
            func cost() async throws -> String? {
                try await server.ask("GET", "/budgets/cost")["status"]?["windows"]?[0]?["used"]?.string
            }
            #expect(try await [unpriced(), cost()] == ["1", "3.00"])
            let kinds: SQL = "SELECT kind FROM alert WHERE kind <> 'threshold_crossed' ORDER BY 1"
            let told = try await server.column(kinds)
            try await Self.sell(server)
            if isPriced {
                try await server.price("input", "0.1")
                #expect(try await eventually { try await unpriced() == nil })
                #expect(try await cost() == "4.00", "what had no cost has one, and what had keeps it")
            }
            #expect(try await Self.replay(server) == "replayed 2, unmetered 0")
            #expect(try await [unpriced(), cost()] == (isPriced ? [nil, "2.00"] : ["1", "3.00"]))
            #expect(try await server.column(kinds) == told)
            #expect(try await server.differences() == [])
        }
    }

    @Test("a report is believed at the replay where it was when it came, though its source is trusted no more")
    func believed() async throws {
        try await TestDatabase.with { database in
            try await TestServer.run(on: database, configure: { $0.trustedCostSources = ["gw"] }) { server in
                try await server.addTenant("acme")
                let data = #"{"seconds":1,"provider":"openai","model":"gpt-4o","input_tokens":10,"cost":"3"}"#
                try await server.ingest(SentEvent("a", type: "job.dome", data: data))
            }
            try await TestServer.run(on: database) { server in
                try await Self.sell(server)
                #expect(try await Self.replay(server) == "replayed 1, unmetered 0")
                let costs: SQL = "SELECT trim_scale(provider_cost)::text FROM usage_event ORDER BY ledger_seq"
                #expect(try await server.column(costs) == ["3", "3", "3"])
                #expect(try await server.differences() == [])
            }
        }
    }

    @Test("replays and voids of the same events at once count each at most once")
    func races() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            let events = (1...60).map { Self.event("\($0)") }
            try await server.post(events).expecting(200)
            try await Self.sell(server)
            let answers = try await withThrowingTaskGroup(of: TestResponse.self) { group in
                for index in 0..<12 {
                    group.addTask {
                        guard index % 3 != 0 else {
                            return try await server.operatorClient.post(
                                "/api/v1/events/void",
                                #"{"source":"gw","id":"\#(index + 1)","tenant":"acme"}"#
                            )
                        }
                        return try await server.operatorClient.post(
                            "/api/v1/unmetered-events/replay",
                            #"{"type":"job.dome"}"#
                        )
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(answers.allSatisfy { $0.status == 200 }, "\(answers.filter { $0.status != 200 })")
            #expect(try await server.used("dome") == "56", "four were voided, before they were replayed or after")
            #expect(try await server.differences() == [])
        }
    }

    @Test("a repetition under an Idempotency-Key replays nothing more")
    func repeated() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.ingest(Self.event("a"), Self.event("b"))
            try await Self.sell(server)
            for _ in 1...2 {
                let answer = try await server.operatorClient.post(
                    "/api/v1/unmetered-events/replay",
                    #"{"type":"job.dome","limit":1}"#,
                    headers: ["Idempotency-Key": "once", "Content-Type": "application/json"]
                )
                #expect(answer.json["replayed"]?.number == "1")
            }
            #expect(try await server.used("dome") == "1")
        }
    }

    @Test("what is asked wrongly is told, and a tenant's credential replays nothing")
    func refused() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            func pointers(_ body: String) async throws -> [String?] {
                let answer = try await server.operatorClient.post("/api/v1/unmetered-events/replay", body)
                return [String(answer.status)] + (answer.json["errors"]?.elements ?? []).map { $0["pointer"]?.string }
            }
            #expect(try await pointers("{}") == ["400", "/type"])
            #expect(
                try await pointers(#"{"type":"a","from":"2026-11-02T00:00:00Z","to":"2026-11-02T00:00:00Z","limit":0}"#)
                    == ["400", "/to", "/limit"]
            )
            #expect(try await pointers(#"{"type":"a","cursor":"abc"}"#) == ["400", "/cursor"])
            #expect(try await pointers(#"{"type":"a","tenant":"nobody"}"#) == ["404"])
            let bound = try await server.client([.eventsWrite], tenant: "acme")
            let answer = try await bound.post("/api/v1/unmetered-events/replay", #"{"type":"job.dome"}"#)
            #expect(answer.status == 403 && answer.json["code"]?.string == "operator_only")
        }
    }
}
