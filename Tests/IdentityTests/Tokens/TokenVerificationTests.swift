import TestSupport
import Testing
import Web

@testable import Identity

/// What is believed of an access token in the request path, and what is not.
@Suite struct TokenVerificationTests {
    @Test func whatIsNoGoodTokenIsRefusedAlike() async throws {
        try await TestServer.run { server in
            let forge = try await TokenForge(server)
            #expect(try await forge.answer(to: forge.genuine).status == 200)
            for (what, token) in try forge.badSignatures() + forge.badHeaders() + forge.badClaims() + forge.badForms() {
                let answer = try await forge.answer(to: token)
                #expect(answer.status == 401, "\(what): \(answer)")
                let isToken = CompactJWT.hasForm(of: token)
                #expect(answer.code == (isToken ? "invalid_token" : "unauthenticated"), "\(what): \(answer)")
                let challenge = answer.header("WWW-Authenticate") ?? ""
                #expect(challenge.contains(#"error="invalid_token""#) == isToken, "\(what): \(challenge)")
            }
        }
    }

    @Test func aGenuineTokenMayHaveSeveralAudiencesAndATypeWithItsPrefix() async throws {
        try await TestServer.run { server in
            let forge = try await TokenForge(server)
            let audiences = JSONValue.array([.string("https://elsewhere.test"), .string(TestServer.issuer)])
            #expect(try await forge.answer(to: try forge.signed(["aud": audiences])).status == 200)
            let long = try forge.signer.sign(forge.claims, type: "application/AT+JWT")
            #expect(try await forge.answer(to: long).status == 200)
        }
    }

    @Test func aTokenIsABearerAndNoAPIKey() async throws {
        try await TestServer.run { server in
            let token = try await server.token(of: try await server.makeOAuthClient([.auditRead]))
            let answer = try await server.anonymous.get("/api/v1/audit-log", headers: ["X-Api-Key": token])
            #expect(answer.status == 401)
        }
    }

    @Test func aTokenOfATenantsClientSeesThatTenantOnly() async throws {
        try await TestServer.run { server in
            try await server.database.run("INSERT INTO subject_directory VALUES ('acme', 1, true), ('globex', 2, true)")
            let client = try await server.makeOAuthClient([.auditRead], tenant: "acme")
            let caller = server.anonymous.with(key: try await server.token(of: client))
            #expect(try await caller.get("/api/v1/audit-log?tenant=acme").status == 200)
            #expect(try await caller.get("/api/v1/audit-log?tenant=globex").code == "tenant_not_found")
        }
    }

    @Test func aTokenExpiresThoughItWasVerifiedBefore() async throws {
        try await TestServer.run { server in
            let token = try await server.token(of: try await server.makeOAuthClient([.auditRead]))
            let caller = server.anonymous.with(key: token)
            #expect(try await caller.get("/api/v1/audit-log").status == 200)
            server.clock.advance(seconds: 899)
            #expect(try await caller.get("/api/v1/audit-log").status == 200)
            server.clock.advance(seconds: 1)
            #expect(try await caller.get("/api/v1/audit-log").status == 401)
        }
    }

    @Test func whatAClientLosesItsTokensLose() async throws {
        try await TestServer.run { server in
            let client = try await server.makeOAuthClient([.auditRead, .identityWrite])
            let caller = server.anonymous.with(key: try await server.token(of: client))
            #expect(try await caller.get("/api/v1/clients").status == 200)
            let one = "/api/v1/clients/\(client.id)"
            try await server.operatorClient.patch(one, #"{"scopes": ["audit:read"]}"#).expecting(200)
            #expect(try await caller.get("/api/v1/clients").code == "insufficient_scope")
            try await server.operatorClient.patch(one, #"{"enabled": false}"#).expecting(200)
            #expect(try await caller.get("/api/v1/audit-log").status == 401)
        }
    }

    @Test func aClientRevokedOnAnotherReplicaLosesItsTokensWithoutWaitingForTheCache() async throws {
        try await TestServer.run { first in
            try await TestServer.run(on: first.database, clock: first.clock) { second in
                let client = try await first.makeOAuthClient([.auditRead])
                let caller = second.anonymous.with(key: try await first.token(of: client))
                #expect(try await caller.get("/api/v1/audit-log").status == 200)
                try await first.operatorClient.delete("/api/v1/clients/\(client.id)").expecting(204)
                // The clock stands still, so only the notification can have told the second replica.
                #expect(try await eventually { try await caller.get("/api/v1/audit-log").status == 401 })
            }
        }
    }

    @Test func withoutNotificationAChangeIsSeenWithinTwoSeconds() async throws {
        try await TestServer.run { server in
            let client = try await server.makeOAuthClient([.auditRead])
            let caller = server.anonymous.with(key: try await server.token(of: client))
            #expect(try await caller.get("/api/v1/audit-log").status == 200)
            // As a change looks whose notification got lost.
            try await server.database.run("UPDATE oauth_client SET enabled = false")
            #expect(try await caller.get("/api/v1/audit-log").status == 200)
            server.clock.advance(seconds: 2)
            #expect(try await caller.get("/api/v1/audit-log").status == 401)
        }
    }

    @Test func anIdempotentAnswerThatBearsASecretOpensForTheNextTokenOfTheSameClient() async throws {
        try await TestServer.run { server in
            let client = try await server.makeOAuthClient([.identityWrite, .auditRead])
            let body = #"{"name": "made", "scopes": ["audit:read"]}"#
            let key = ["Idempotency-Key": "once"]
            let first = server.anonymous.with(key: try await server.token(of: client))
            let made = try await first.post("/api/v1/clients", body, headers: key).expecting(201)
            let second = server.anonymous.with(key: try await server.token(of: client))
            let replayed = try await second.post("/api/v1/clients", body, headers: key).expecting(201)
            #expect(replayed.header("Idempotency-Replayed") == "true")
            #expect(replayed.json["client_secret"] == made.json["client_secret"])
        }
    }
}
