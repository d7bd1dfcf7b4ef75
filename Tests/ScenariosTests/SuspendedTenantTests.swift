import TestSupport
import Testing
import Web

@Suite(.timeLimit(.minutes(15)))
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
                if "\(operation.method)" == "GET" || operation.tellsSuspension {
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

    @Test("a proxy that checks with a suspended tenant's own key is told so in fields, by whatever method it asks")
    func checksTellIt() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            let proxy = try await server.client([.admissionsWrite], tenant: "acme")
            let check = "/api/v1/admissions/check"
            for method in ["GET", "POST"] { try await proxy.send(method, check, body: nil).expecting(204) }
            try await server.operatorClient.post("/api/v1/tenants/acme/suspend").expecting(200)
            #expect(try await eventually { try await proxy.post("/api/v1/admissions").code == "tenant_suspended" })
            for method in ["GET", "POST"] {
                let refused = try await proxy.send(method, check, body: nil).expecting(403)
                #expect(refused.header("X-Turnpike-Reason") == "tenant_suspended", "\(method): \(refused)")
                #expect(refused.header("X-Turnpike-Status") == "403")
            }
        }
    }

    @Test("a token of a suspended tenant's client reads and nothing else, and so does one it gets meanwhile")
    func tokensAreConcernedToo() async throws {
        try await TestServer.run { server in
            try await TwoTenants.make(server)
            let client = try await server.makeOAuthClient([.eventsWrite, .auditRead], tenant: "alpha")
            let earlier = server.anonymous.with(key: try await server.token(of: client))
            #expect(try await earlier.post("/api/v1/events").code != "tenant_suspended")
            try await server.operatorClient.post("/api/v1/tenants/alpha/suspend").expecting(200)
            // The clock stands still, so only the notification can have told it.
            #expect(try await eventually { try await earlier.post("/api/v1/events").code == "tenant_suspended" })
            let later = server.anonymous.with(key: try await server.token(of: client))
            #expect(try await later.post("/api/v1/events").code == "tenant_suspended")
            #expect(try await later.get("/api/v1/audit-log").status == 200)
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
