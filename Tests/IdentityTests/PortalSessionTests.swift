import Identity
import Postgres
import TestSupport
import Testing
import Web

@Suite struct PortalSessionTests {
    private let path = "/api/v1/tenants/acme/portal-sessions"

    private func arrange(_ server: TestServer) async throws {
        try await server.addTenant("acme")
        try await server.addTenant("globex")
    }

    /// A client with a new session's token, and the session as it was answered.
    private func session(
        _ server: TestServer,
        by client: TestClient,
        _ body: String = ""
    ) async throws -> (client: TestClient, answer: TestResponse) {
        let answer = try await client.post(path, body).expecting(201)
        return (server.anonymous.with(key: answer.json["token"]?.string), answer)
    }

    @Test func itReadsWhatIsTheTenantsAndNothingElseUntilItEnds() async throws {
        try await TestServer.run { server in
            try await arrange(server)
            let (client, made) = try await session(server, by: server.operatorClient)
            let id = try #require(made.json["id"]?.string)
            let token = try #require(made.json["token"]?.string)
            #expect(token.hasPrefix("tps_\(id)_"))
            #expect(made.json["url"]?.string?.hasSuffix("/portal#token=\(token)&tenant=acme") == true)
            #expect(made.json["expires_at"]?.string == "2026-11-23T09:00:00.000000Z")
            #expect(made.json["scopes"] == .array(ScopePreset.portal.scopes.names.map { .string($0) }))
            #expect(made.json["created_by"]?.string == "key:operator")

            for read in ["quotas", "invoices"] {
                #expect(try await client.get("/api/v1/tenants/acme/\(read)").status == 200)
                #expect(try await client.get("/api/v1/tenants/globex/\(read)").code == "tenant_not_found")
            }
            #expect(try await client.get("/api/v1/invoices").status == 200)
            #expect(try await client.get("/api/v1/tenants/acme").status == 403)
            #expect(try await client.get("/api/v1/events").status == 403)
            #expect(try await client.post(path).status == 403)

            server.clock.advance(seconds: 3_599)
            #expect(try await client.get("/api/v1/tenants/acme/quotas").status == 200)
            server.clock.advance(seconds: 1)
            #expect(try await client.get("/api/v1/tenants/acme/quotas").status == 401)
        }
    }

    @Test func theTenantsOwnBackendMakesThemWithWhatItHasItself() async throws {
        try await TestServer.run { server in
            try await arrange(server)
            let backend = try await server.client(
                [.identityWrite, .quotasRead, .invoicesRead, .subscriptionsRead],
                tenant: "acme"
            )
            let (client, _) = try await session(server, by: backend, #"{"ttl_seconds": 60}"#)
            #expect(try await client.get("/api/v1/tenants/acme/quotas").status == 200)
            #expect(try await backend.post("/api/v1/tenants/globex/portal-sessions").code == "tenant_not_found")
            #expect(try await backend.post("/api/v1/tenants/nobody/portal-sessions").code == "tenant_not_found")

            let poorer = try await server.client([.identityWrite, .quotasRead], tenant: "acme")
            #expect(try await poorer.post(path).code == "scope_not_held")
            let (narrow, _) = try await session(server, by: poorer, #"{"scopes": ["quotas:read"]}"#)
            #expect(try await narrow.get("/api/v1/tenants/acme/quotas").status == 200)
            #expect(try await narrow.get("/api/v1/tenants/acme/invoices").status == 403)
        }
    }

    @Test(
        arguments: [
            (#"{"ttl_seconds": 59}"#, "/ttl_seconds"), (#"{"ttl_seconds": 86401}"#, "/ttl_seconds"),
            (#"{"scopes": []}"#, "/scopes"), (#"{"scopes": ["events:write"]}"#, "/scopes/0"),
            (#"{"scopes": ["invoices:*"]}"#, "/scopes/0"), (#"{"expires_at": "x"}"#, "/expires_at"),
        ]
    )
    func aFaultPointsAtTheMember(_ body: String, _ pointer: String) async throws {
        try await TestServer.run { server in
            try await arrange(server)
            let answer = try await server.operatorClient.post(path, body)
            #expect(answer.pointers == [pointer])
        }
    }

    @Test func aRevokedOneEndsOnEveryReplica() async throws {
        try await TestServer.run { first in
            try await arrange(first)
            try await TestServer.run(on: first.database, clock: first.clock) { second in
                let (client, made) = try await session(first, by: first.operatorClient)
                let id = try #require(made.json["id"]?.string)
                let elsewhere = second.anonymous.with(key: client.key)
                for replica in [client, elsewhere] {
                    #expect(try await replica.get("/api/v1/tenants/acme/quotas").status == 200)
                }
                #expect(try await first.operatorClient.get(path).json["data"]?[0]?["id"]?.string == id)
                #expect(try await first.operatorClient.delete("\(path)/\(id)").status == 204)
                #expect(try await first.operatorClient.delete("\(path)/\(id)").status == 204)
                #expect(try await client.get("/api/v1/tenants/acme/quotas").status == 401)
                // The clock stands still, so only the notification can have told the second replica.
                #expect(try await eventually { try await elsewhere.get("/api/v1/tenants/acme/quotas").status == 401 })
                #expect(try await first.operatorClient.get(path).json["data"]?.elements?.isEmpty == true)
                let foreign = "/api/v1/tenants/globex/portal-sessions/\(id)"
                #expect(try await first.operatorClient.delete(foreign).code == "portal_session_not_found")
            }
        }
    }

    @Test func itsSecretIsKeptNowhereAndItsLifeIsAudited() async throws {
        try await TestServer.run { server in
            try await arrange(server)
            let headers = ["Idempotency-Key": "once"]
            let made = try await server.operatorClient.post(path, "", headers: headers).expecting(201)
            let again = try await server.operatorClient.post(path, "", headers: headers)
            #expect(again.text == made.text)
            let token = try #require(made.json["token"]?.string)
            let id = try #require(made.json["id"]?.string)
            _ = try await server.operatorClient.delete("\(path)/\(id)")
            let secret = String(token.dropFirst("tps_\(id)_".count))
            let kept = try await server.column(
                """
                SELECT action || coalesce(before::text, '') || coalesce(after::text, '') FROM audit_log
                UNION ALL SELECT encode(body, 'escape') FROM idempotency_key
                UNION ALL SELECT portal_session::text FROM portal_session
                """
            )
            #expect(kept.allSatisfy { $0?.contains(secret) == false })
            for action in ["portal_session.created", "portal_session.revoked"] {
                #expect(kept.count { $0?.hasPrefix(action) == true } == 1)
            }
            #expect(!server.log.text.contains(secret))
        }
    }

    @Test(arguments: ["tps_unknown_0123456789abcdefghijklmnopqrstuvwxyz", "tps_x", "tps_"])
    func whatIsNoSessionIsRefusedAlike(_ token: String) async throws {
        try await TestServer.run { server in
            let answer = try await server.anonymous.with(key: token).get("/api/v1/tenants/acme/quotas")
            #expect(answer.status == 401)
            #expect(answer.code == "unauthenticated")
        }
    }

    @Test func aKeyIsNoSessionAndASessionNoKey() async throws {
        try await TestServer.run { server in
            try await arrange(server)
            let key = try await server.makeKey([.quotasRead], tenant: "acme")
            let asSession = "tps" + key.dropFirst(3)
            #expect(try await server.anonymous.with(key: asSession).get("/api/v1/tenants/acme/quotas").status == 401)
            let (client, _) = try await session(server, by: server.operatorClient)
            let asKey = "tpk" + (client.key ?? "").dropFirst(3)
            #expect(try await server.anonymous.with(key: asKey).get("/api/v1/tenants/acme/quotas").status == 401)
        }
    }

    @Test func theWorkerDeletesThemADayAfterTheirEnd() async throws {
        try await TestServer.run { server in
            try await arrange(server)
            _ = try await session(server, by: server.operatorClient)
            try await server.withPool { pool in
                let worker = PortalSessionExpiryWorker(pool: pool, clock: server.clock.clock, logger: .silent)
                server.clock.advance(seconds: 3_600 + 86_400)
                try await worker.sweep()
                #expect(try await server.column("SELECT portal_session_id FROM portal_session").count == 1)
                server.clock.advance(seconds: 1)
                try await worker.sweep()
                #expect(try await server.column("SELECT portal_session_id FROM portal_session").isEmpty)
            }
        }
    }
}
