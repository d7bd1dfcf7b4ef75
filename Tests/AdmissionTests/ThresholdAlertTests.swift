import Postgres
import TestSupport
import Testing
import Web

/// Each threshold of a limit and window is told once, in the transaction that crossed it.
@Suite struct ThresholdAlertTests {
    /// Limit and threshold of each, in the order of their texts: the clock stands still, so they have no order in time.
    private static func alerts(_ server: TestServer, kind: String = "threshold_crossed") async throws -> [String] {
        let alerts = try await server.ask("GET", "/alerts?kind=\(kind)&limit=100")["data"]?.elements ?? []
        return alerts.map { alert in
            "\(alert["detail"]?["limit"]?.string ?? "") \(alert["threshold"]?.string ?? "-")"
        }.sorted()
    }

    /// How many events of alerts wait for webhook endpoints.
    private static func told(_ server: TestServer) async throws -> [String] {
        try await server.withPool { pool in
            try await pool.query(
                .worker,
                """
                SELECT event_type || ' ' || count(*) FROM webhook_event
                WHERE event_type LIKE 'budget.%' OR event_type LIKE 'limit.%' GROUP BY event_type ORDER BY event_type
                """
            ) { row throws(PostgresError) in try row.next(String.self) }
        }
    }

    @Test("concurrent requests that cross thresholds together raise one alert for each")
    func concurrent() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("100")
            try await withThrowingTaskGroup(of: Void.self) { group in
                for index in 0..<40 {
                    group.addTask { try await server.ingest(SentEvent("\(index)", data: #"{"seconds":3}"#)) }
                }
                try await group.waitForAll()
            }
            #expect(try await Self.alerts(server) == ["seconds 100", "seconds 50", "seconds 80"])
            #expect(try await Self.told(server) == ["budget.threshold_crossed 3"])
        }
    }

    @Test("use that falls and rises again tells nothing again; another window does")
    func noRearming() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("10", window: "day")
            try await server.ingest(SentEvent("a", data: #"{"seconds":6}"#))
            _ = try await server.void("a")
            try await server.ingest(SentEvent("b", data: #"{"seconds":7}"#))
            #expect(try await Self.alerts(server) == ["seconds 50"])
            server.clock.advance(seconds: 86_400)
            try await server.ingest(SentEvent("c", data: #"{"seconds":6}"#))
            #expect(try await Self.alerts(server) == ["seconds 50", "seconds 50"])
        }
    }

    @Test("a changed quota tells what is newly met at once, and keeps what was told and is met still")
    func revision() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("100")
            try await server.ingest(SentEvent("a", data: #"{"seconds":55}"#))
            let path = "/tenants/acme/quotas/seconds?window=month"
            try await server.ask("PUT", path, #"{"limit":"60","mode":"hard"}"#)
            #expect(try await Self.alerts(server) == ["seconds 50", "seconds 80"])
            try await server.expectRows(["55 0 55"])
            try await server.ask("PUT", path, #"{"limit":"200","mode":"hard"}"#)
            #expect(try await Self.alerts(server).count == 2)
            try await server.ingest(SentEvent("b", data: #"{"seconds":50}"#))
            #expect(try await Self.alerts(server) == ["seconds 50", "seconds 50", "seconds 80"])
        }
    }

    @Test("a plan that is taken over usage tells at once what that has met")
    func earlierUsage() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addFeature("seconds")
            try await server.publish(#"{"quotas":[{"feature":"seconds","limit":"10","window":"month","mode":"hard"}]}"#)
            try await server.ingest(SentEvent("a", data: #"{"seconds":9}"#))
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            #expect(try await Self.alerts(server) == ["seconds 50", "seconds 80"])
        }
    }

    @Test("a budget that is heading for its amount says so once, before it is reached")
    func forecast() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            server.clock.advance(seconds: 1)
            try await server.ask(
                "POST",
                "/budgets",
                """
                {"key":"day","scope":{"tenant":"acme"},"measure":"requests","amount":"100","window":"day",\
                "mode":"soft",\
                "thresholds":[100],"forecast":true}
                """,
                expecting: 201
            )
            server.clock.advance(seconds: 3_600)
            for index in 0..<20 { try await server.ingest(SentEvent("\(index)")) }
            #expect(try await Self.alerts(server, kind: "forecast") == ["day -"])
            let told = try await server.ask("GET", "/alerts?kind=forecast")["data"]?[0]?["detail"]
            // An hour is over of 57,599 seconds.
            #expect(told?["used"]?.string == "7" && told?["projected"]?.string == "111.998055555555")
            #expect(try await Self.alerts(server) == [])
            // A change that it heads for no less is none to tell of; one after which it does not is forgotten.
            for (amount, events, expected) in [("90", 0, 1), ("1000", 0, 1), ("1000", 80, 2)] {
                try await server.changeBudget("day", #"{"amount":"\#(amount)"}"#)
                for index in 0..<events { try await server.ingest(SentEvent("\(amount)-\(index)")) }
                #expect(try await Self.alerts(server, kind: "forecast").count == expected, "\(amount) \(events)")
            }
        }
    }

    @Test("what a threshold of a charge budget tells to be held is what is held when its call is settled")
    func heldWhenSettled() async throws {
        try await TestServer.run { server in
            try await server.arrangeTiers()
            let admission = try await server.admit("1", seconds: "18")
            try await server.settle(admission, event: "a", seconds: "18")
            let alerts = try await server.ask("GET", "/alerts?kind=threshold_crossed")["data"]?.elements ?? []
            let caps = alerts.filter { $0["detail"]?["origin"]?.string == "spend_cap" }
            #expect(caps.map { $0["detail"]?["used"]?.string } == ["16.00", "16.00"])
            #expect(caps.map { $0["detail"]?["held"]?.string } == ["0.00", "0.00"])
        }
    }

    @Test("usage that waits for a change of its budget is judged by the thresholds of after it")
    func changedThresholds() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            let budget = #"{"key":"all","scope":{},"measure":"requests","amount":"2","window":"month","mode":"soft","#
            try await server.ask("POST", "/budgets", budget + #""thresholds":[100]}"#, expecting: 201)
            try await server.ingest(SentEvent("a"))
            try await server.withPool { pool in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        // As a change does it, which is committed while the usage waits for the row.
                        try await pool.transaction(.worker) { transaction in
                            try transaction.execute("UPDATE limit_state SET limit_revision = limit_revision + 1")
                            transaction.enqueue("UPDATE budget SET thresholds = '{50,75,100}', revision = revision + 1")
                            try transaction.execute("UPDATE catalog_version SET version = version + 1")
                            try transaction.execute(TestServer.untilSomebodyWaits)
                        }
                    }
                    #expect(try await server.comesToHave("RowExclusiveLock", on: "catalog_version"))
                    try await server.ingest(SentEvent("b"))
                    try await group.waitForAll()
                }
            }
            #expect(try await Self.alerts(server) == ["all 100", "all 50", "all 75"])
        }
    }

    @Test("thresholds that are changed again and again tell each once, and a row notes a hundred of them at most")
    func manyThresholds() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addFeature("seconds")
            let budget = """
                {"key":"s","scope":{"tenant":"acme","feature":"seconds"},"measure":"units","amount":"100",\
                "window":"month","mode":"soft","thresholds":[150]}
                """
            try await server.ask("POST", "/budgets", budget, expecting: 201)
            try await server.ingest(SentEvent("a", data: #"{"seconds":200}"#))
            for first in stride(from: 1, to: 120, by: 10) {
                let thresholds = (first..<first + 10).map(String.init).joined(separator: ",")
                try await server.changeBudget("s", #"{"thresholds":[\#(thresholds)]}"#)
            }
            // The last ones are met still.
            try await server.changeBudget("s", #"{"amount":"110"}"#)
            let told: SQL = "SELECT count(*)::text FROM alert WHERE kind = 'threshold_crossed'"
            #expect(try await server.column(told) == ["121"])
            let noted: SQL = "SELECT cardinality(thresholds_fired)::text FROM limit_state"
            #expect(try await server.column(noted) == ["100"])
        }
    }

    @Test("where nothing is used any more, a change to an amount of nothing lets every threshold fire again")
    func nothingAllowed() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.ask(
                "POST",
                "/budgets",
                """
                {"key":"all","scope":{"tenant":"acme"},"measure":"requests","amount":"1","window":"month",\
                "mode":"soft","thresholds":[100]}
                """,
                expecting: 201
            )
            try await server.ingest(SentEvent("a"))
            _ = try await server.void("a")
            try await server.changeBudget("all", #"{"amount":"0"}"#)
            #expect(try await Self.alerts(server) == ["all 100"])
            try await server.ingest(SentEvent("b"))
            #expect(try await Self.alerts(server) == ["all 100", "all 100"])
            // It does not help to wait for another window.
            try await server.changeBudget("all", #"{"mode":"hard"}"#)
            let refused = try await server.admit("1")
            #expect(refused["reason"]?.string == "budget_exceeded" && refused["retry_after"] == .null)
        }
    }

    @Test("a limit that refuses calls is told once, however often it refuses, and not for a call that never fits")
    func limitReached() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("5")
            let large = try await server.admit("large", seconds: "6")
            #expect(large["reason"]?.string == "quota_exceeded")
            #expect(large["retry_after"] == .null)
            #expect(try await Self.alerts(server, kind: "limit_reached") == [])
            try await server.admit("first", seconds: "2")
            for index in 0..<5 {
                let refused = try await server.admit("\(index)", seconds: "4")
                #expect(refused["allowed"] == .bool(false))
                #expect(refused["retry_after"] != .null)
            }
            #expect(try await Self.alerts(server, kind: "limit_reached") == ["seconds -"])
            #expect(try await Self.told(server) == ["limit.reached 1"])
            let own = try await server.client([.budgetsRead], tenant: "acme")
            let seen = try await server.ask("GET", "/alerts", as: own)
            #expect(seen["data"]?[0]?["kind"]?.string == "limit_reached")
        }
    }

    @Test("what fired in a row that was being made while its budget was raised can fire again under the new amount")
    func raisedMeanwhile() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addMeter("jobs")
            try await server.ask(
                "POST",
                "/budgets",
                """
                {"key":"users","scope":{"tenant":"*","user":"*"},"measure":"requests","amount":"2","window":"month",\
                "mode":"soft","thresholds":[50]}
                """,
                expecting: 201
            )
            let user = #"{"user":"ann"}"#
            let first: @Sendable () async throws -> Void = { try await server.ingest(SentEvent("1", data: user)) }
            // It has made its row, and has an alert to tell.
            try await server.whileCommitWaits(afterInsertsInto: "alert", of: first, check: { #expect($0) }) {
                try await server.ask("PATCH", "/budgets/users", #"{"amount":"10"}"#)
            }
            #expect(try await Self.alerts(server) == ["users 50"])
            for id in 2...5 { try await server.ingest(SentEvent("\(id)", data: user)) }
            #expect(try await Self.alerts(server) == ["users 50", "users 50"])
            let details = try await server.ask("GET", "/alerts")["data"]?.elements?.compactMap { $0["detail"] }
            #expect(details?.compactMap { $0["amount"]?.string }.sorted() == ["10", "2"])
            #expect(details?.allSatisfy { $0["managed_by"]?.string == "operator" } == true)
        }
    }

    @Test("a call without room in a window that is still to begin tells nothing of it, and may be asked again then")
    func comingWindow() async throws {
        try await TestServer.run(clock: TestClock("2026-11-23T23:50:00Z")) { server in
            try await server.arrangeQuota("10", window: "day")
            let first = try await server.admit("1", seconds: "10", more: #","ttl_seconds":900"#)
            let refused = try await server.admit("2", more: #","ttl_seconds":900"#)
            #expect(refused["retry_after"]?.number == "600", "both windows are full; the next one begins then")
            #expect(try await Self.alerts(server, kind: "limit_reached") == ["seconds -"])
            try await server.settle(first, event: "a", seconds: "10")
            server.clock.advance(seconds: 3_600)
            try await server.ingest(SentEvent("b", data: #"{"seconds":10}"#))
            #expect(try await server.admit("3")["reason"]?.string == "quota_exceeded")
            #expect(try await Self.alerts(server, kind: "limit_reached") == ["seconds -", "seconds -"])
        }
    }
}
