import TestSupport
import Testing
import Web

@Suite(.timeLimit(.minutes(10)))
struct SuspendedTenantTests {
    @Test("a suspended tenant's credential with every scope reads, and does nothing else until it is resumed")
    func itMayReadAndNotUse() async throws {
        try await TestServer.run { server in
            let pair = try await TwoTenants.make(server)
            let (alpha, names) = (pair.alpha.client, pair.alpha.names)
            try await server.operatorClient.post("/api/v1/tenants/alpha/suspend").expecting(200)
            // The clock stands still, so only the notification can have told it.
            #expect(try await eventually { try await alpha.post("/api/v1/events").code == "tenant_suspended" })
            let audited = try await alpha.get("/api/v1/audit-log").expecting(200).text
            var refused = 0
            for operation in server.operations where operation.access != .open {
                let path = IntrusionAttempt.path(of: operation, naming: names)
                let answer = try await alpha.send("\(operation.method)", path, body: nil)
                if "\(operation.method)" == "GET" {
                    #expect(answer.code != "tenant_suspended", "\(operation.id): \(answer)")
                } else {
                    #expect(answer.status == 403, "\(operation.id): \(answer)")
                    #expect(answer.code == "tenant_suspended", "\(operation.id): \(answer)")
                    refused += 1
                }
            }
            #expect(refused >= 40)
            #expect(try await alpha.get("/api/v1/audit-log").text == audited)
            // Neither another tenant nor the operator is concerned.
            let used = #"{"id": "x", "source": "s", "type": "x", "subject": "bravo", "data": {}}"#
            #expect(try await pair.bravo.client.post("/api/v1/events", used).status == 200)
            #expect(try await server.operatorClient.post("/api/v1/events", used).status == 200)

            try await server.operatorClient.post("/api/v1/tenants/alpha/resume").expecting(200)
            #expect(try await eventually { try await alpha.post("/api/v1/events").code != "tenant_suspended" })
        }
    }

    @Test("every replica learns of a suspension, by the notification or when what it knows has aged")
    func otherReplicasLearnIt() async throws {
        try await TestServer.run { first in
            let pair = try await TwoTenants.make(first)
            try await TestServer.run(on: first.database, clock: first.clock) { second in
                let alpha = second.anonymous.with(key: pair.alpha.client.key)
                #expect(try await alpha.post("/api/v1/events").code != "tenant_suspended")
                try await first.operatorClient.post("/api/v1/tenants/alpha/suspend").expecting(200)
                #expect(try await eventually { try await alpha.post("/api/v1/events").code == "tenant_suspended" })
                // Without a notification: two seconds later at the latest.
                try await first.database.run("UPDATE tenant SET status = 'active' WHERE key = 'alpha'")
                first.clock.advance(seconds: 2)
                #expect(try await alpha.post("/api/v1/events").code != "tenant_suspended")
            }
        }
    }
}
