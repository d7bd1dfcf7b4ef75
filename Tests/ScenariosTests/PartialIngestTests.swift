import TestSupport
import Testing
import Web

/// One request with the events of several tenants, of which one's cannot be stored.
@Suite(.timeLimit(.minutes(15)))
struct PartialIngestTests {
    @Test("a request that makes one tenant's counter overflow is refused whole, whichever lanes its tenants have")
    func overflowRefusesTheWholeRequest() async throws {
        try await TestServer.run { server in
            try await CrashCatalogue.make(server.operatorClient)
            let client = server.operatorClient
            func event(_ tenant: String, _ id: String, _ quantity: String) -> String {
                """
                {"id": "\(id)", "source": "s", "type": "job.done", "subject": "\(tenant)",
                 "data": {"units": \(quantity)}}
                """
            }
            for (path, body) in Self.units { try await client.post(path, body).expecting(201) }
            try await client.post("/api/v1/events", event("beta", "1", "9e25")).expecting(200)

            let others = ["alpha", "gamma"].flatMap { tenant in
                (1...Self.eventsOfTenant).map { event(tenant, "\($0)", "1") }
            }.joined(separator: ",")
            let refused = try await client.post("/api/v1/events", "[\(others),\(event("beta", "2", "9e25"))]")
            #expect(refused.status == 422 && refused.code == "counter_overflow")
            try await client.post("/api/v1/events", event("beta", "3", "9999999999999999999999999")).expecting(200)
            // Now one more unit is too much, and nothing in the request itself is large.
            let small = try await client.post("/api/v1/events", "[\(others),\(event("beta", "4", "1"))]")
            #expect(small.status == 422 && small.code == "counter_overflow")
            for tenant in ["alpha", "gamma"] {
                let stored = try await client.get("/api/v1/events?tenant=\(tenant)").expecting(200)
                #expect(stored.json["data"]?.elements?.isEmpty == true, "\(tenant)")
            }
            try await client.post("/api/v1/events", "[\(others)]").expecting(200)
            let own = try await client.get("/api/v1/events?tenant=beta").expecting(200)
            #expect(own.json["data"]?.elements?.count == 2)
            let audit = IngestAudit(databaseURL: server.database.url, client: client, clock: server.clock.clock)
            #expect(try await audit.findings([]).filter { !$0.hasPrefix("never acknowledged") } == [])
        }
    }

    @Test("the largest value of a meter is as huge as a sum: its charge can overflow with the first event")
    func chargesOfHugeValuesRefuseTheWholeRequest() async throws {
        try await Self.withPricedTenant(aggregation: "max", unitAmount: "2") { client in
            let refused = try await client.post("/api/v1/events", Self.request(delta: "9e25"))
            #expect(refused.status == 422 && refused.code == "counter_overflow", "\(refused)")
            #expect(refused.json["detail"]?.string?.contains("Nothing was stored") == true)
            #expect(try await Self.storedEvents(client) == 0)
            try await client.post("/api/v1/events", Self.request(delta: "9e24")).expecting(200)
            #expect(try await Self.storedEvents(client) == 4 * Self.eventsOfTenant)
        }
    }

    @Test("where only the price is enormous, the refusal says that others' events have been stored")
    func enormousPricesAreToldApart() async throws {
        try await Self.withPricedTenant(aggregation: "sum", unitAmount: "90000000000000000000000000") { client in
            let refused = try await client.post("/api/v1/events", Self.request(delta: "2"))
            #expect(refused.status == 422 && refused.code == "counter_overflow", "\(refused)")
            #expect(refused.json["detail"]?.string?.contains("others have been stored") == true, "\(refused)")
            let own = try await client.get("/api/v1/events?tenant=delta").expecting(200)
            #expect(own.json["data"]?.elements?.isEmpty == true)
        }
    }

    @Test(
        "leniently the event that makes a counter overflow is rejected by itself, whichever lanes the others take",
        arguments: [
            ("max", "2", "9e25"), ("sum", "90000000000000000000000000", "2"),
        ]
    )
    func lenientRequestsLoseOnlyWhatOverflows(aggregation: String, unitAmount: String, quantity: String) async throws {
        try await Self.withPricedTenant(aggregation: aggregation, unitAmount: unitAmount) { client in
            func event(_ tenant: String, _ id: Int, _ quantity: String) -> String {
                """
                {"id": "\(id)", "source": "s", "type": "job.done", "subject": "\(tenant)",
                 "data": {"units": \(quantity)}}
                """
            }
            let others = ["alpha", "beta", "gamma", "delta"].flatMap { tenant in
                (1...Self.eventsOfTenant).map { event(tenant, $0, tenant == "delta" ? "0" : quantity) }
            }
            let events = others.prefix(7) + [event("delta", 99, quantity)] + others.dropFirst(7)
            let report = try await client.post(
                "/api/v1/events",
                "[\(events.joined(separator: ","))]",
                headers: ["Prefer": "handling=lenient"]
            ).expecting(200).json
            #expect(report["accepted"]?.number == String(4 * Self.eventsOfTenant), "\(report.text)")
            #expect(report["rejected"]?.number == "1" && report["duplicates"]?.number == "0", "\(report.text)")
            let problem = report["problems"]?.elements?.first { $0["status"]?.string == "rejected" }
            #expect(problem?["index"]?.number == "7" && problem?["id"]?.string == "99", "\(report.text)")
            #expect(problem?["code"]?.string == "counter_overflow", "\(report.text)")
            #expect(try await Self.storedEvents(client) == 4 * Self.eventsOfTenant)
        }
    }

    @Test("a lenient request with very many events that overflow is refused, with those that were found")
    func lenientRequestsWithManyOverflows() async throws {
        try await Self.withPricedTenant(aggregation: "max", unitAmount: "2") { client in
            let events = (1...120).map { id in
                """
                {"id": "\(id)", "source": "s", "type": "job.done", "subject": "delta", "data": {"units": 9e25}}
                """
            }
            let answer = try await client.post(
                "/api/v1/events",
                "[\(events.joined(separator: ","))]",
                headers: ["Prefer": "handling=lenient"]
            )
            #expect(answer.status == 422 && answer.code == "counter_overflow")
            let found = answer.json["errors"]?.elements ?? []
            #expect(!found.isEmpty && found.count < 75)
            #expect(found.first?["pointer"]?.string == "/0" && found.first?["code"]?.string == "counter_overflow")
            #expect(try await Self.storedEvents(client) == 0)
        }
    }

    /// With the tenants of the catalogue and another, `delta`, whose plan prices `units`.
    private static func withPricedTenant(
        aggregation: String,
        unitAmount: String,
        _ body: (TestClient) async throws -> Void
    ) async throws {
        try await TestServer.run { server in
            let client = server.operatorClient
            try await CrashCatalogue.make(client)
            let price = #"{"model": "per_unit", "unit_amount": "\#(unitAmount)"}"#
            for (path, body) in [
                (
                    "/api/v1/meters",
                    #"{"key": "units", "event_type": "job.done", "aggregation": "\#(aggregation)", "value": "units"}"#
                ),
                ("/api/v1/features", #"{"key": "units", "name": "Units", "meter": "units", "unit": "unit"}"#),
                ("/api/v1/tenants", #"{"key": "delta", "name": "Delta", "currency": "USD"}"#),
                ("/api/v1/plans", #"{"key": "units", "name": "Units", "currency": "USD"}"#),
                ("/api/v1/plans/units/versions", #"{"charges": [{"feature": "units", "price": \#(price)}]}"#),
            ] { try await client.post(path, body).expecting(201) }
            try await client.post("/api/v1/plans/units/versions/1/publish").expecting(200)
            try await client.post("/api/v1/subscriptions", #"{"tenant": "delta", "plan": "units"}"#).expecting(201)
            try await body(client)
        }
    }

    /// A request of fewer events is one lane's.
    private static let eventsOfTenant = 6

    /// Events of each tenant, so that every lane has some.
    private static func request(delta quantity: String) -> String {
        let events = ["alpha": "1", "beta": "1", "gamma": "1", "delta": quantity].flatMap { tenant, quantity in
            (1...eventsOfTenant).map { id in
                """
                {"id": "\(id)", "source": "s", "type": "job.done", "subject": "\(tenant)",
                 "data": {"units": \(quantity)}}
                """
            }
        }
        return "[\(events.joined(separator: ","))]"
    }

    private static func storedEvents(_ client: TestClient) async throws -> Int {
        var count = 0
        for tenant in ["alpha", "beta", "gamma", "delta"] {
            let stored = try await client.get("/api/v1/events?tenant=\(tenant)").expecting(200)
            count += stored.json["data"]?.elements?.count ?? 0
        }
        return count
    }

    private static let units = [
        ("/api/v1/meters", #"{"key": "units", "event_type": "job.done", "aggregation": "sum", "value": "units"}"#),
        ("/api/v1/features", #"{"key": "units", "name": "Units", "meter": "units", "unit": "unit"}"#),
    ]
}
