import TestSupport
import Testing
import Web

@Suite struct OAuthClientRoutesTests {
    private let path = "/api/v1/clients"
    private let grant = [("grant_type", "client_credentials")]

    @Test func theSecretIsShownOnce() async throws {
        try await TestServer.run { server in
            let owner = server.operatorClient
            let made = try await owner.post(
                path,
                """
                {"name": "search team", "scopes": ["admissions:write", "events:write"], "tenant": null,
                 "models": ["gpt-4o*"], "data_classes": ["public"], "cost_center": "cc-7"}
                """
            ).expecting(201)
            let id = try #require(made.json["client_id"]?.string)
            #expect(made.json["client_secret"]?.string?.hasPrefix("tpcs_") == true)
            #expect(made.header("Location") == "\(path)/\(id)")
            #expect(made.header("ETag") == "\"1\"")
            #expect(made.json["token_endpoint_auth_method"]?.string == "client_secret_basic")
            #expect(made.json["models"] == .array([.string("gpt-4o*")]))
            #expect(made.json["features"] == .null)
            #expect(made.json["data_classes"] == .array([.string("public")]))
            #expect(made.json["cost_center"]?.string == "cc-7")
            for shown in [try await owner.get("\(path)/\(id)"), try await owner.get(path)] {
                #expect(!shown.text.contains("tpcs_"))
                #expect(shown.text.contains("search team"))
            }
        }
    }

    @Test func aChangeNeedsTheVersionItMeansAndLeavesAnAuditRow() async throws {
        try await TestServer.run { server in
            let owner = server.operatorClient
            let client = try await server.makeOAuthClient(
                [.eventsWrite],
                #", "models": ["gpt-4o*"], "cost_center": "a""#
            )
            let one = "\(path)/\(client.id)"
            let stale = try await owner.patch(one, #"{"name": "new"}"#, headers: ["If-Match": "\"7\""])
            #expect(stale.status == 412)
            server.clock.advance(seconds: 1)
            let changed = try await owner.patch(
                one,
                #"{"name": "new", "scopes": ["audit:read"], "models": null}"#,
                headers: ["If-Match": "\"1\""]
            ).expecting(200)
            #expect(changed.json["name"]?.string == "new")
            #expect(changed.json["scopes"] == .array([.string("audit:read")]))
            #expect(changed.json["models"] == .null)
            #expect(changed.json["cost_center"]?.string == "a")
            #expect(changed.header("ETag") == "\"2\"")
            // The same again changes nothing and leaves no row.
            #expect(try await owner.patch(one, #"{"name": "new"}"#).header("ETag") == "\"2\"")
            server.clock.advance(seconds: 1)
            try await owner.delete(one).expecting(204)
            try await owner.delete(one).expecting(204)
            #expect(try await owner.patch(one, #"{"name": "x"}"#).code == "client_revoked")
            let rows = try await owner.get("/api/v1/audit-log?resource=client:\(client.id)")
            let actions = rows.json["data"]?.elements?.compactMap { $0["action"]?.string }
            #expect(actions == ["client.revoked", "client.updated", "client.created"])
            #expect(!rows.text.contains(client.secret))
        }
    }

    @Test func afterARotationBothSecretsWorkUntilTheOverlapEnds() async throws {
        try await TestServer.run { server in
            let old = try await server.makeOAuthClient([.auditRead])
            let rotate = "\(path)/\(old.id)/rotate-secret"
            func status(_ client: TestOAuthClient) async throws -> Int {
                try await server.anonymous.form("/oauth/token", grant, headers: ["Authorization": client.basic]).status
            }
            let made = try await server.operatorClient.post(rotate, #"{"overlap_seconds": 60}"#).expecting(200)
            let new = TestOAuthClient(id: old.id, secret: made.json["client_secret"]?.string ?? "")
            #expect(made.json["previous_secret_expires_at"]?.string == "2026-11-23T08:01:00.000000Z")
            #expect(try await status(old) == 200)
            #expect(try await status(new) == 200)
            server.clock.advance(seconds: 60)
            #expect(try await status(old) == 401)
            #expect(try await status(new) == 200)
            let last = try await server.operatorClient.post(rotate, #"{"overlap_seconds": 0}"#).expecting(200)
            #expect(try await status(new) == 401)
            #expect(
                try await status(TestOAuthClient(id: old.id, secret: last.json["client_secret"]?.string ?? "")) == 200
            )
        }
    }

    @Test func anIdempotentRotationGivesTheSameSecretAgain() async throws {
        try await TestServer.run { server in
            let client = try await server.makeOAuthClient([.auditRead])
            let rotate = "\(path)/\(client.id)/rotate-secret"
            let key = ["Idempotency-Key": "rotation-1"]
            let first = try await server.operatorClient.post(rotate, "", headers: key).expecting(200)
            let again = try await server.operatorClient.post(rotate, "", headers: key).expecting(200)
            #expect(again.header("Idempotency-Replayed") == "true")
            #expect(again.json["client_secret"] == first.json["client_secret"])
        }
    }

    @Test func aRepeatedRotationShowsNothingToANarrowerTokenOfItsCaller() async throws {
        try await TestServer.run { server in
            let rotated = try await server.makeOAuthClient([.auditRead])
            let client = try await server.makeOAuthClient([.identityWrite, .auditRead])
            func rotate(_ scope: String) async throws -> TestResponse {
                let caller = server.anonymous.with(key: try await server.token(of: client, scope: scope))
                let once = ["Idempotency-Key": "once"]
                return try await caller.post("\(path)/\(rotated.id)/rotate-secret", headers: once)
            }
            let first = try await rotate("identity:write audit:read").expecting(200)
            let narrower = try await rotate("identity:write")
            #expect(narrower.status == 403 && narrower.code == "scope_not_held", "\(narrower)")
            #expect(try await rotate("identity:write audit:read").text == first.text)
        }
    }

    @Test func nobodyMakesOrTakesOverAClientThatMayDoMore() async throws {
        try await TestServer.run { server in
            let keeper = try await server.client([.identityWrite, .auditRead])
            let wider = try await keeper.post(path, #"{"name": "w", "scopes": ["tenants:write"]}"#)
            #expect(wider.code == "scope_not_held")
            let stronger = "\(path)/\(try await server.makeOAuthClient([.tenantsWrite]).id)"
            let jwks = #"{"keys": [\#(Self.publicKey)]}"#
            #expect(try await keeper.post("\(stronger)/rotate-secret").code == "scope_not_held")
            #expect(try await keeper.patch(stronger, #"{"name": "mine"}"#).code == "scope_not_held")
            let own = try await keeper.post(path, #"{"name": "o", "scopes": ["audit:read"]}"#).expecting(201)
            let mine = "\(path)/\(own.json["client_id"]?.string ?? "")"
            #expect(try await keeper.patch(mine, #"{"preset": "operator"}"#).code == "scope_not_held")
            #expect(try await keeper.patch(mine, #"{"jwks": \#(jwks)}"#).pointers == ["/jwks"])

            let narrow = try await server.makeOAuthClient([.identityWrite, .auditRead], #", "models": ["gpt-4o*"]"#)
            let narrowed = server.anonymous.with(key: try await server.token(of: narrow))
            let open = try await narrowed.post(path, #"{"name": "o", "scopes": ["audit:read"]}"#)
            #expect(open.code == "narrowing_not_held")
            #expect(open.pointers == ["/models"])
            let within = #"{"name": "o", "scopes": ["audit:read"], "models": ["gpt-4o-mini"]}"#
            #expect(try await narrowed.post(path, within).status == 201)
        }
    }

    @Test func aTenantBoundCallerMakesAndSeesClientsOfItsTenant() async throws {
        try await TestServer.run { server in
            try await server.database.run("INSERT INTO subject_directory VALUES ('acme', 1, true), ('globex', 2, true)")
            let acme = try await server.client([.identityWrite, .auditRead], tenant: "acme")
            let foreign = try await server.makeOAuthClient([.auditRead], tenant: "globex")
            _ = try await server.makeOAuthClient([.auditRead])
            for tenant in ["null", "\"acme\""] {
                let body = #"{"name": "own", "scopes": ["audit:read"], "tenant": \#(tenant)}"#
                #expect(try await acme.post(path, body).expecting(201).json["tenant"]?.string == "acme")
            }
            let list = try await acme.get(path)
            #expect(list.json["data"]?.elements?.compactMap { $0["tenant"]?.string } == ["acme", "acme"])
            #expect(try await acme.get("\(path)/\(foreign.id)").code == "client_not_found")
            #expect(try await acme.delete("\(path)/\(foreign.id)").code == "client_not_found")
            let other = #"{"name": "x", "scopes": ["audit:read"], "tenant": "globex"}"#
            #expect(try await acme.post(path, other).pointers == ["/tenant"])
            #expect(try await acme.get("\(path)?tenant=globex").status == 404)
        }
    }

    private static let publicKey =
        #"{"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "#
        + #""y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#

    @Test(arguments: [
        (#"{"name": "x", "scopes": ["audit:read"], "token_endpoint_auth_method": "private_key_jwt"}"#, "/jwks"),
        (#"{"name": "x", "scopes": ["audit:read"], "jwks": {"keys": [\#(publicKey)]}}"#, "/jwks"),
        (key(#"{"keys": []}"#), "/jwks"),
        (key(#"{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}"#), "/jwks/keys/0/k"),
        (key(#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AA"}]}"#), "/jwks/keys/0/kty"),
        (key(#"{"keys": [{"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"}]}"#), "/jwks/keys/0/crv"),
        (key(#"{"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}]}"#), "/jwks/keys/0/x"),
        (key(#"{"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}"#), "/jwks/keys/0/n"),
        (key(#"{"keys": [\#(publicKey.replacing("\"kty\"", with: "\"d\": \"AA\", \"kty\""))]}"#), "/jwks/keys/0/d"),
        (
            key(#"{"keys": [\#(publicKey.replacing("\"kty\"", with: "\"alg\": \"HS256\", \"kty\""))]}"#),
            "/jwks/keys/0/alg"
        ),
        (key(#"{"keys": [\#(publicKey), \#(publicKey)]}"#), "/jwks/keys"),
    ])
    func keysThatCannotBeUsedAreFaultsOfTheBody(_ body: String, _ pointer: String) async throws {
        try await TestServer.run { server in
            let answer = try await server.operatorClient.post(path, body)
            #expect(answer.status == 400)
            #expect(answer.pointers == [pointer], "\(answer)")
        }
    }

    private static func key(_ jwks: String) -> String {
        #"{"name": "x", "scopes": ["audit:read"], "token_endpoint_auth_method": "private_key_jwt", "jwks": \#(jwks)}"#
    }
}
