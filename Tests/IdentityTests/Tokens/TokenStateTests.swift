import TestSupport
import Testing
import Web

@testable import Identity

/// Introspection and revocation: who learns of and takes back which tokens.
@Suite struct TokenStateTests {
    private func introspect(
        _ token: String,
        _ server: TestServer,
        as client: TestOAuthClient
    ) async throws -> TestResponse {
        let headers = ["Authorization": client.basic]
        return try await server.anonymous.form("/oauth/introspect", [("token", token)], headers: headers)
    }

    @Test func aClientLearnsOfItsOwnTokens() async throws {
        try await TestServer.run { server in
            let client = try await server.makeOAuthClient([.auditRead])
            let other = try await server.makeOAuthClient([.auditRead])
            let token = try await server.token(of: client)
            let answer = try await introspect(token, server, as: client).expecting(200)
            #expect(answer.json["active"]?.bool == true)
            #expect(answer.json["client_id"]?.string == client.id)
            #expect(answer.json["sub"]?.string == client.id)
            #expect(answer.json["scope"]?.string == "audit:read")
            #expect(answer.json["token_type"]?.string == "Bearer")
            #expect(answer.json["iss"]?.string == TestServer.issuer)
            #expect(answer.json["exp"]?.number != nil)
            let inactive = #"{"active":false}"#
            #expect(try await introspect(token, server, as: other).text == inactive)
            for text in ["x", "a.b.c", TestServer.operatorKey] {
                #expect(try await introspect(text, server, as: client).text == inactive)
            }
            server.clock.advance(seconds: 900)
            #expect(try await introspect(token, server, as: client).text == inactive)
        }
    }

    @Test func aScopeThatTheClientHasLostIsNoneOfItsTokens() async throws {
        try await TestServer.run { server in
            let client = try await server.makeOAuthClient([.auditRead, .tenantsRead])
            let token = try await server.token(of: client)
            let narrowed = #"{"scopes": ["audit:read"]}"#
            try await server.operatorClient.patch("/api/v1/clients/\(client.id)", narrowed).expecting(200)
            let answer = try await introspect(token, server, as: client).expecting(200)
            #expect(answer.json["scope"]?.string == "audit:read")
        }
    }

    @Test func whoKeepsCredentialsLearnsOfTheTokensOfItsTenant() async throws {
        try await TestServer.run { server in
            try await server.database.run("INSERT INTO subject_directory VALUES ('acme', 1, true), ('globex', 2, true)")
            let acme = try await server.token(of: try await server.makeOAuthClient([.auditRead], tenant: "acme"))
            let globex = try await server.token(of: try await server.makeOAuthClient([.auditRead], tenant: "globex"))
            let everywhere = try await server.token(of: try await server.makeOAuthClient([.auditRead]))
            func known(to client: TestClient) async throws -> [Bool?] {
                var known: [Bool?] = []
                for token in [acme, globex, everywhere] {
                    known.append(try await client.form("/oauth/introspect", [("token", token)]).json["active"]?.bool)
                }
                return known
            }
            let bound = try await server.client([.identityWrite], tenant: "acme")
            #expect(try await known(to: server.operatorClient) == [true, true, true])
            #expect(try await known(to: bound) == [true, false, false])
            let keeper = try await server.makeOAuthClient([.identityWrite], tenant: "globex")
            #expect(try await introspect(globex, server, as: keeper).json["active"]?.bool == true)
            #expect(try await introspect(acme, server, as: keeper).json["active"]?.bool == false)
            let outsider = try await server.client([.auditRead])
            #expect(try await outsider.form("/oauth/introspect", [("token", acme)]).code == "insufficient_scope")
            #expect(try await server.anonymous.form("/oauth/introspect", [("token", acme)]).status == 401)
        }
    }

    @Test func aRevokedTokenStopsOnEveryReplicaWithoutWaitingForTheCache() async throws {
        try await TestServer.run { first in
            try await TestServer.run(on: first.database, clock: first.clock) { second in
                let client = try await first.makeOAuthClient([.auditRead])
                let token = try await first.token(of: client)
                let kept = try await first.token(of: client)
                let here = first.anonymous.with(key: token)
                let there = second.anonymous.with(key: token)
                #expect(try await here.get("/api/v1/audit-log").status == 200)
                #expect(try await there.get("/api/v1/audit-log").status == 200)
                let revoked = try await first.anonymous.form(
                    "/oauth/revoke",
                    [("token", token), ("token_type_hint", "refresh_token")],
                    headers: ["Authorization": client.basic]
                )
                #expect(revoked.status == 200)
                #expect(try await here.get("/api/v1/audit-log").status == 401)
                // The clock stands still, so only the notification can have told the second replica.
                #expect(try await eventually { try await there.get("/api/v1/audit-log").status == 401 })
                #expect(try await introspect(token, second, as: client).json["active"]?.bool == false)
                #expect(try await second.anonymous.with(key: kept).get("/api/v1/audit-log").status == 200)
                let rows = try await first.operatorClient.get("/api/v1/audit-log?action=token.revoked")
                #expect(rows.json["data"]?.elements?.count == 1)
                #expect(rows.json["data"]?[0]?["credential_id"]?.string == "client:\(client.id)")
            }
        }
    }

    @Test func withoutNotificationARevocationIsSeenWithinTwoSeconds() async throws {
        try await TestServer.run { server in
            let token = try await server.token(of: try await server.makeOAuthClient([.auditRead]))
            let caller = server.anonymous.with(key: token)
            #expect(try await caller.get("/api/v1/audit-log").status == 200)
            let id = try #require(try CompactJWT(parsing: token).claims.string("jti"))
            try await server.database.run("INSERT INTO revoked_token VALUES (0, '\(id)', now(), now())")
            server.clock.advance(seconds: 2)
            #expect(try await caller.get("/api/v1/audit-log").status == 401)
        }
    }

    @Test func foreignTokensAndOtherTextsAreAnsweredLikeRevokedOnesAndStay() async throws {
        try await TestServer.run { server in
            let token = try await server.token(of: try await server.makeOAuthClient([.auditRead]))
            let other = try await server.makeOAuthClient([.auditRead])
            for text in [token, "x", "a.b.c"] {
                let headers = ["Authorization": other.basic]
                let answer = try await server.anonymous.form("/oauth/revoke", [("token", text)], headers: headers)
                #expect(answer.status == 200)
                #expect(answer.body.isEmpty)
            }
            #expect(try await server.anonymous.with(key: token).get("/api/v1/audit-log").status == 200)
            #expect(try await server.operatorClient.form("/oauth/revoke", [("token", token)]).status == 200)
            #expect(try await server.anonymous.with(key: token).get("/api/v1/audit-log").status == 401)
            let missing = try await server.operatorClient.form("/oauth/revoke", [])
            #expect(missing.json["error"]?.string == "invalid_request")
        }
    }
}
