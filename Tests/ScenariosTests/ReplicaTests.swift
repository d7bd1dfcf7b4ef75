import TestSupport
import Testing
import Web

/// Two replicas on one database, as behind a load balancer: what is done on one holds on the other.
@Suite(.timeLimit(.minutes(15)))
struct ReplicaTests {
    @Test("a key revoked on one replica is refused by the other within seconds")
    func revocationReachesTheOtherReplica() async throws {
        try await Self.withTwoReplicas { first, second in
            try await CrashCatalogue.make(first.operatorClient)
            let key = try await first.makeKey([.quotasRead], tenant: "alpha")
            let id = String(key.split(separator: "_")[1])
            let elsewhere = second.anonymous.with(key: key)
            try await elsewhere.get("/api/v1/tenants/alpha/quotas").expecting(200)
            try await first.operatorClient.delete("/api/v1/api-keys/\(id)").expecting(204)
            // The clock stands still, so the cache does not age: the other replica has to be told.
            let start = ContinuousClock.now
            let isRefused = try await eventually(within: .seconds(5)) {
                try await elsewhere.get("/api/v1/tenants/alpha/quotas").status == 401
            }
            #expect(isRefused)
            print("replicas: a revocation took \(ContinuousClock.now - start)")
        }
    }

    @Test("usage sent to one replica is rated by the catalogue that was changed on the other a moment before")
    func catalogueIsTheSameEverywhere() async throws {
        try await Self.withTwoReplicas { first, second in
            let client = first.operatorClient
            let tenant = #"{"key": "late", "name": "Late", "currency": "USD"}"#
            try await client.post("/api/v1/tenants", tenant).expecting(201)
            // Given the other replica knows the tenant, without meters and without a subscription
            let early = SentEvent(tenant: "late", source: "s", id: "early", tokens: 7)
            let unmetered = try await second.operatorClient.post("/api/v1/events", early.json).expecting(200)
            #expect(unmetered.json["unmetered"]?.number == "1")
            // When the first replica makes the catalogue and subscribes the tenant
            try await CrashCatalogue.make(client)
            try await client.post("/api/v1/subscriptions", #"{"tenant": "late", "plan": "crash"}"#).expecting(201)
            // Then the very next event on the other one is metered, rated and counted
            let next = SentEvent(tenant: "late", source: "s", id: "next", tokens: 11)
            let plain = try await second.operatorClient.post("/api/v1/events", next.json).expecting(200)
            #expect(plain.json["problems"]?.elements == [])
            let isSeen = try await eventually(within: .seconds(5)) {
                try await second.operatorClient.get("/api/v1/tenants/late/quotas/tokens").json["used"]?.string == "11"
            }
            #expect(isSeen)
        }
    }

    @Test("the same usage sent to both replicas at the same time counts once")
    func replicasCountOnce() async throws {
        try await Self.withTwoReplicas { first, second in
            try await CrashCatalogue.make(first.operatorClient)
            let senders = IngestSenders(senders: 4, batches: 15, seed: CrashTests.seed, client: first.operatorClient)
            let others = IngestSenders(senders: 4, batches: 15, seed: CrashTests.seed, client: second.operatorClient)
            async let one: Void = senders.run()
            async let other: Void = others.run()
            _ = await (one, other)
            #expect(senders.journal.entries.violations + others.journal.entries.violations == [])
            let audit = IngestAudit(
                databaseURL: first.database.url,
                client: second.operatorClient,
                clock: second.clock.clock
            )
            #expect(try await audit.findings(senders.journal.entries.acknowledged) == [])
        }
    }

    private static func withTwoReplicas(_ body: (TestServer, TestServer) async throws -> Void) async throws {
        let clock = TestClock()
        try await TestServer.run(clock: clock) { first in
            try await TestServer.run(on: first.database, clock: clock) { second in
                try await body(first, second)
            }
        }
    }
}
