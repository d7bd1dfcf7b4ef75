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

            let others = ["alpha", "gamma"].map { event($0, "1", "1") }.joined(separator: ",")
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

    private static let units = [
        ("/api/v1/meters", #"{"key": "units", "event_type": "job.done", "aggregation": "sum", "value": "units"}"#),
        ("/api/v1/features", #"{"key": "units", "name": "Units", "meter": "units", "unit": "unit"}"#),
    ]
}
