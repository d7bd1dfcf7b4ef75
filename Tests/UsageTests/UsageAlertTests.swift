import Postgres
import TestSupport
import Testing
import Web

@testable import Usage

/// Usage that does not count everywhere is told once.
@Suite(.timeLimit(.minutes(15))) struct UsageAlertTests {
    /// Kind, tenant and what is told, sorted.
    private static func alerts(_ server: TestServer, _ query: String = "", as client: TestClient? = nil) async throws
        -> [String]
    {
        let listed = try await server.ask("GET", "/alerts?limit=500\(query)", as: client)["data"]?.elements ?? []
        return listed.map { alert in
            let detail = alert["detail"] ?? .null
            let told = ["reason", "provider", "model", "feature", "subject", "event"].compactMap { detail[$0]?.string }
            return ([alert["kind"]?.string ?? "?", alert["tenant"]?.string ?? "-"] + told).joined(separator: " ")
        }.sorted()
    }

    @Test("a model without a price is told when its usage begins to be unpriced, and again after all had a price")
    func unpricedModel() async throws {
        try await TestServer.run { server in
            try await server.arrangeCosts()
            try await server.price("input", "1")
            try await server.ingest(.call("a", input: 1))
            #expect(try await Self.alerts(server) == [])
            try await server.ingest(.call("b", model: "gpt-9", input: 1), .call("c", model: "gpt-9", input: 1))
            let first = "unpriced_usage acme price openai gpt-9 b"
            #expect(try await Self.alerts(server) == [first])
            try await server.ingest(
                .call("d", model: "gpt-9", input: 1),
                .call("e", model: "gpt-9", input: 1, time: "2026-11-15T00:00:00Z")
            )
            #expect(try await Self.alerts(server) == [first], "a day of its own is nothing new")
            try await server.ingest(.call("f", model: "gpt-8", input: 1))
            let other = "unpriced_usage acme price openai gpt-8 f"
            #expect(try await Self.alerts(server) == [other, first])

            try await server.price("input", "1", model: "gpt-9", from: "2026-11-10T00:00:00Z")
            #expect(try await server.rateUnpriced() == 4)
            server.clock.advance(seconds: 1)
            try await server.ingest(.call("g", model: "gpt-9", input: 1, time: "2026-11-05T00:00:00Z"))
            try await server.ingest(.call("h", model: "gpt-9", input: 1, time: "2026-11-05T00:00:00Z"))
            #expect(try await Self.alerts(server) == [other, first, "unpriced_usage acme price openai gpt-9 g"])
            #expect(try await server.differences() == [])
        }
    }

    @Test("models beyond the first are told together, once a day: their names can be made up")
    func manyModels() async throws {
        try await TestServer.run { server in
            try await server.arrangeCosts()
            func send(_ numbers: ClosedRange<Int>) async throws {
                let calls = numbers.map { SentEvent.call("e\($0)", model: "m\(100 + $0)", input: 1) }
                try await server.post(calls).expecting(200)
            }
            try await send(1...15)
            try await send(16...30)
            try await send(31...33)
            let told = try await Self.alerts(server)
            let expected = (1...21).map { "unpriced_usage acme price openai m\(100 + $0) e\($0)" }
            #expect(told.sorted() == expected.sorted())
            let more = try await server.column("SELECT detail ->> 'model' FROM alert WHERE detail ? 'more'")
            #expect(more == ["m121"])
            server.clock.advance(seconds: 86_400)
            try await send(34...36)
            #expect(try await Self.alerts(server).count == 22)
            #expect(try await server.unpriced().count == 36)
        }
    }

    @Test("what gets a price and then lacks an exchange rate is told for that")
    func missingRate() async throws {
        try await TestServer.run { server in
            try await server.arrangeCosts(currency: "EUR")
            try await server.ingest(.call("a", input: 1))
            try await server.price("input", "1")
            try await server.rateUnpriced()
            #expect(
                try await Self.alerts(server) == [
                    "unpriced_usage acme fx_rate openai gpt-4o a", "unpriced_usage acme price openai gpt-4o a",
                ]
            )
        }
    }

    @Test("many flushes at once that begin to be unpriced raise one alert, and tell it once")
    func oneOfMany() async throws {
        try await TestServer.run { server in
            try await server.arrangeCosts()
            try await TestServer.run(on: server.database, clock: server.clock) { other in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for index in 0..<40 {
                        group.addTask {
                            let sender = index.isMultiple(of: 2) ? server : other
                            try await sender.ingest(.call("\(index)", model: "gpt-9", input: 1))
                        }
                    }
                    try await group.waitForAll()
                }
            }
            let alerts = try await Self.alerts(server)
            #expect(alerts.count == 1 && alerts[0].hasPrefix("unpriced_usage acme price openai gpt-9"))
            let told = try await server.column(
                """
                SELECT event_type || ' ' || operator_only || ' ' || webhook_event.tenant_id
                FROM webhook_event JOIN alert ON alert_id = event_id AND about_tenant_id = webhook_event.tenant_id
                """
            )
            #expect(told == ["usage.unpriced true 1"])
            #expect(try await server.unpriced() == ["price gpt-9 40"])
        }
    }

    @Test("a feature that the plan does not mention is told once in a billing period, to the tenant too")
    func unsoldFeature() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addFeature("seconds")
            try await server.addFeature("jobs", "count", of: nil)
            try await server.publish(
                #"{"charges":[{"feature":"jobs","price":{"model":"per_unit","unit_amount":"1"}}]}"#
            )
            try await server.subscribe(at: "2026-10-10T00:00:00Z")
            for id in ["a", "b"] {
                #expect(try await server.ingest(SentEvent(id)) == "accepted 1, unpriced 1")
            }
            server.clock.advance(seconds: 1)
            try await server.ingest(SentEvent("c", time: "2026-11-09T23:00:00Z"))
            let expected = ["a", "c"].map { "unpriced_usage acme plan seconds \($0)" }
            #expect(try await Self.alerts(server) == expected)
            let own = try await server.client([.budgetsRead], tenant: "acme")
            #expect(try await Self.alerts(server, as: own) == expected)
            let window = try await server.ask("GET", "/alerts?limit=1", as: own)["data"]?[0]?["window"]
            #expect(window?["start"]?.string == "2026-10-10T00:00:00.000000Z")
        }
    }

    /// The day and threshold of each.
    private static func thresholds(_ server: TestServer) async throws -> [String] {
        let listed = try await server.ask("GET", "/alerts?limit=500&kind=threshold_crossed")["data"]?.elements ?? []
        return listed.map { alert in
            "\(alert["window"]?["start"]?.string?.prefix(10) ?? "?") \(alert["threshold"]?.string ?? "?")"
        }.sorted()
    }

    @Test("a subscription over usage of before tells of it: what met thresholds in any window, and has no price")
    func earlierUsage() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addFeature("seconds")
            try await server.addFeature("jobs", "count", of: nil)
            try await server.publish(#"{"quotas":[{"feature":"seconds","limit":"10","window":"day"}]}"#)
            try await server.ingest(
                SentEvent("before", time: "2026-10-09T12:00:00Z", data: #"{"seconds":90}"#),
                SentEvent("a", time: "2026-10-20T12:00:00Z", data: #"{"seconds":9}"#),
                SentEvent("b", time: "2026-11-22T12:00:00Z", data: #"{"seconds":5}"#),
                SentEvent("c", time: "2026-11-23T07:00:00Z", data: #"{"seconds":10}"#)
            )
            try await server.subscribe(at: "2026-10-10T00:00:00Z")
            let met = [
                "2026-10-20 50", "2026-10-20 80", "2026-11-22 50", "2026-11-23 100", "2026-11-23 50", "2026-11-23 80",
            ]
            #expect(try await Self.thresholds(server) == met)
            let unpriced = ["a", "b"].map { "unpriced_usage acme plan jobs \($0)" }
            #expect(try await Self.alerts(server, "&kind=unpriced_usage") == unpriced)
            server.clock.advance(seconds: 1)
            let late = SentEvent("late", time: "2026-10-20T13:00:00Z", data: #"{"seconds":1}"#)
            #expect(try await server.ingest(late) == "accepted 1, unpriced 1")
            #expect(try await Self.thresholds(server) == (met + ["2026-10-20 100"]).sorted())
            #expect(try await Self.alerts(server, "&kind=unpriced_usage") == unpriced)
            let told = try await server.column(
                """
                SELECT event_type || ' ' || count(*) FROM webhook_event
                WHERE event_type IN ('budget.threshold_crossed', 'usage.unpriced') GROUP BY event_type ORDER BY 1
                """
            )
            #expect(told == ["budget.threshold_crossed 7", "usage.unpriced 2"])
        }
    }

    @Test("sources that look the same and are written otherwise are told of each, also in one request")
    func spellings() async throws {
        try await TestServer.run { server in
            try await server.addFeature("seconds")
            try await server.ingest(
                SentEvent("a", source: "caf\u{E9}", subject: "nobody"),
                SentEvent("b", source: "cafe\u{301}", subject: "nobody")
            )
            #expect(try await Self.alerts(server) == ["unmatched_usage - nobody a", "unmatched_usage - nobody b"])
        }
    }

    @Test("sources beyond the first that name no tenant are told together, once a day: their names can be made up")
    func manySources() async throws {
        try await TestServer.run { server in
            try await server.addFeature("seconds")
            func send(_ numbers: ClosedRange<Int>) async throws {
                let events = numbers.map { SentEvent("e\($0)", source: "gw-\($0)", subject: "nobody") }
                try await server.post(events).expecting(200)
            }
            for numbers in [1...15, 16...30, 10...40] { try await send(numbers) }
            let told = try await Self.alerts(server)
            // The two lanes of a request don't see each other's five.
            #expect((21...26).contains(told.count), "\(told)")
            #expect(Set((1...15).map { "unmatched_usage - nobody e\($0)" }).isSubset(of: told))
            let more = try await server.column("SELECT detail ->> 'more' FROM alert WHERE detail ? 'more'")
            #expect(more == ["true"])
            #expect(try await server.column("SELECT count(*)::text FROM alert_waiting") == ["0"])
            server.clock.advance(seconds: 86_400)
            try await send(41...50)
            #expect(try await Self.alerts(server).count == told.count + 10)
        }
    }

    @Test("usage that names no tenant is told once a day for each source, usage without a subscription once a day")
    func unattributedUsage() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addFeature("seconds")
            for id in ["a", "b"] {
                try await server.ingest(
                    SentEvent(id, source: "gw-1", subject: "nobody"),
                    SentEvent(id, source: "gw-2", subject: "nobody-\(id)"),
                    SentEvent(id)
                )
            }
            let today = [
                "unmatched_usage - nobody a", "unmatched_usage - nobody-a a", "unsubscribed_usage acme a",
            ]
            #expect(try await Self.alerts(server) == today)
            try await server.ingest(SentEvent("a", source: "gw-1", subject: "nobody"))
            server.clock.advance(seconds: 86_400)
            try await server.ingest(SentEvent("a", source: "gw-1", subject: "nobody"))
            #expect(try await Self.alerts(server) == today, "a duplicate is nothing new")
            try await server.ingest(SentEvent("c", source: "gw-1", subject: "nobody"), SentEvent("c"))
            #expect(
                try await Self.alerts(server, "&from=2026-11-24T00:00:00Z")
                    == ["unmatched_usage - nobody c", "unsubscribed_usage acme c"]
            )
        }
    }

    @Test("usage of a type that no meter reads is told once a day, whoever's it is, and until a meter reads it")
    func unmeteredUsage() async throws {
        try await TestServer.run { server in
            for key in ["acme", "globex"] { try await server.addTenant(key) }
            let filters = #"[{"property":"long","in":["yes"]}]"#
            try await server.ask(
                "POST",
                "/meters",
                #"{"key":"long","event_type":"job.done","aggregation":"count","filters":\#(filters)}"#,
                expecting: 201
            )
            try await server.ask("POST", "/features", #"{"key":"long","meter":"long","unit":"job"}"#, expecting: 201)
            #expect(try await server.ingest(SentEvent("filtered")) == "accepted 1, unmetered 1")
            #expect(try await Self.alerts(server) == [], "a meter reads the type, though it does not count the event")
            for id in ["a", "b"] {
                try await server.ingest(SentEvent(id, type: "job.dome"), SentEvent(id, type: "job", subject: "globex"))
            }
            let today = ["unmetered_usage - a", "unmetered_usage - a"]
            #expect(try await Self.alerts(server) == today)
            let told = try await server.column(
                "SELECT concat_ws(' ', detail ->> 'type', detail ->> 'tenant', detail ->> 'day') FROM alert ORDER BY 1"
            )
            #expect(told == ["job globex 2026-11-23", "job.dome acme 2026-11-23"])
            let own = try await server.client([.budgetsRead], tenant: "acme")
            #expect(try await Self.alerts(server, as: own) == [])

            server.clock.advance(seconds: 86_400)
            try await server.addMeter("dome", type: "job.dome")
            try await server.ingest(SentEvent("a", type: "job", subject: "globex"), SentEvent("c", type: "job.dome"))
            #expect(try await Self.alerts(server) == today, "a duplicate is nothing new, and a meter reads the other")
            try await server.ingest(SentEvent("d", type: "job", subject: "globex"))
            #expect(try await Self.alerts(server) == today + ["unmetered_usage - d"])
        }
    }

    @Test("types beyond the first that no meter reads are told together, once a day")
    func manyTypes() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            for numbers in [1...15, 16...30, 10...40] {
                let events = numbers.map { SentEvent("e\($0)", type: "job.\($0)") }
                try await server.post(events).expecting(200)
            }
            let told = try await server.column("SELECT detail ->> 'type' FROM alert")
            #expect(Set(told) == Set((1...21).map { "job.\($0)" }) && told.count == 21, "\(told)")
            #expect(try await server.column("SELECT detail ->> 'type' FROM alert WHERE detail ? 'more'") == ["job.21"])
        }
    }
}
