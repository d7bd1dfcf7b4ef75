import TestSupport
import Testing
import Web

/// One request with the events of several tenants, of which one cannot be stored.
@Suite(.timeLimit(.minutes(15)))
struct PartialIngestTests {
    @Test("a counter that would overflow keeps out its own tenant's events; the others count once, however often sent")
    func overflowConcernsOneTenant() async throws {
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
            let huge = "9e25"
            try await client.post("/api/v1/events", event("beta", "1", huge)).expecting(200)

            let others = ["alpha", "gamma"].map { event($0, "1", "1") }.joined(separator: ",")
            let mixed = "[\(others),\(event("beta", "2", huge))]"
            for _ in 1...3 {
                let refused = try await client.post("/api/v1/events", mixed).expecting(422)
                #expect(refused.code == "counter_overflow")
                #expect(refused.json["detail"]?.string?.contains("another tenant's may have been") == true)
            }
            try await client.post("/api/v1/events", "[\(others)]").expecting(200)
            for tenant in ["alpha", "gamma"] {
                let stored = try await client.get("/api/v1/events?tenant=\(tenant)").expecting(200)
                #expect(stored.json["data"]?.elements?.count == 1, "\(tenant)")
            }
            let own = try await client.get("/api/v1/events?tenant=beta").expecting(200)
            #expect(own.json["data"]?.elements?.count == 1)
            let audit = IngestAudit(databaseURL: server.database.url, client: client, clock: server.clock.clock)
            #expect(try await audit.findings([]).filter { !$0.hasPrefix("never acknowledged") } == [])
        }
    }

    private static let units = [
        ("/api/v1/meters", #"{"key": "units", "event_type": "job.done", "aggregation": "sum", "value": "units"}"#),
        ("/api/v1/features", #"{"key": "units", "name": "Units", "meter": "units", "unit": "unit"}"#),
    ]
}
