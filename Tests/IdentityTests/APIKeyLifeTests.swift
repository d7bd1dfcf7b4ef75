import Postgres
import TestSupport
import Testing
import Web

/// What happens to a key after it was made: changes, rotation, the record of its use.
@Suite struct APIKeyLifeTests {
    private let path = "/api/v1/api-keys"

    private struct Made {
        let id: String
        let key: String
    }

    private func make(_ body: String, by client: TestClient) async throws -> Made {
        let answer = try await client.post(path, body).expecting(201)
        return Made(id: try #require(answer.json["id"]?.string), key: try #require(answer.json["key"]?.string))
    }

    @Test func aRotatedKeyHasBothSecretsForTheOverlapAndThenTheNewOneOnly() async throws {
        try await TestServer.run { server in
            let made = try await make(#"{"name": "r", "scopes": ["audit:read"]}"#, by: server.operatorClient)
            let old = server.anonymous.with(key: made.key)
            #expect(try await old.get("/api/v1/audit-log").status == 200)
            let rotated = try await server.operatorClient.post("\(path)/\(made.id)/rotate", #"{"overlap_seconds": 60}"#)
            #expect(rotated.status == 200)
            #expect(rotated.header("ETag") == "\"2\"")
            #expect(rotated.json["previous_secret_expires_at"]?.string == "2026-11-23T08:01:00.000000Z")
            let key = try #require(rotated.json["key"]?.string)
            #expect(key.hasPrefix("tpk_\(made.id)_") && key != made.key)
            let new = server.anonymous.with(key: key)
            for client in [old, new, old, new] {
                #expect(try await client.get("/api/v1/audit-log").status == 200)
            }
            server.clock.advance(seconds: 59)
            #expect(try await old.get("/api/v1/audit-log").status == 200)
            server.clock.advance(seconds: 1)
            #expect(try await old.get("/api/v1/audit-log").status == 401)
            #expect(try await new.get("/api/v1/audit-log").status == 200)
        }
    }

    @Test func withoutAnOverlapTheOldSecretEndsAtOnceAndSoDoesTheOneBeforeTheLast() async throws {
        try await TestServer.run { server in
            let owner = server.operatorClient
            let made = try await make(#"{"name": "r", "scopes": ["audit:read"]}"#, by: owner)
            let first = server.anonymous.with(key: made.key)
            let rotate = "\(path)/\(made.id)/rotate"
            let second = try await owner.post(rotate, #"{"overlap_seconds": 600}"#).json["key"]?.string
            let third = try await owner.post(rotate, #"{"overlap_seconds": 600}"#).json["key"]?.string
            #expect(try await first.get("/api/v1/audit-log").status == 401)
            #expect(try await server.anonymous.with(key: second).get("/api/v1/audit-log").status == 200)
            let fourth = try await owner.post(rotate)
            #expect(fourth.json["previous_secret_expires_at"] == .null)
            #expect(try await server.anonymous.with(key: second).get("/api/v1/audit-log").status == 401)
            #expect(try await server.anonymous.with(key: third).get("/api/v1/audit-log").status == 401)
            let last = server.anonymous.with(key: fourth.json["key"]?.string)
            #expect(try await last.get("/api/v1/audit-log").status == 200)
        }
    }

    @Test func aRepeatedRotationGivesTheSameSecretAgainWhichIsNowhereStoredInTheClear() async throws {
        try await TestServer.run { server in
            let made = try await make(#"{"name": "r", "scopes": ["audit:read"]}"#, by: server.operatorClient)
            let rotate = "\(path)/\(made.id)/rotate"
            let once = ["Idempotency-Key": "once"]
            let first = try await server.operatorClient.post(rotate, #"{"overlap_seconds": 0}"#, headers: once)
            let again = try await server.operatorClient.post(rotate, #"{"overlap_seconds": 0}"#, headers: once)
            #expect(again.header("Idempotency-Replayed") == "true")
            #expect(again.text == first.text)
            let key = try #require(first.json["key"]?.string)
            #expect(try await server.anonymous.with(key: key).get("/api/v1/audit-log").status == 200)
            let kept = try await server.column("SELECT encode(body, 'escape') FROM idempotency_key")
            #expect(kept.count == 1)
            #expect(kept.allSatisfy { $0?.contains(made.id) == false })
            let audited = try await server.column("SELECT action || coalesce(after::text, '') FROM audit_log")
            #expect(audited.contains { $0?.hasPrefix("api_key.rotated") == true })
            let secret = String(key.dropFirst("tpk_\(made.id)_".count))
            #expect(audited.allSatisfy { $0?.contains(secret) == false })
        }
    }

    @Test func aRepeatedRotationShowsNothingToANarrowerTokenOfItsCaller() async throws {
        try await TestServer.run { server in
            let made = try await make(#"{"name": "r", "scopes": ["audit:read"]}"#, by: server.operatorClient)
            let client = try await server.makeOAuthClient([.identityWrite, .auditRead])
            func rotate(_ scope: String) async throws -> TestResponse {
                let caller = server.anonymous.with(key: try await server.token(of: client, scope: scope))
                return try await caller.post("\(path)/\(made.id)/rotate", headers: ["Idempotency-Key": "once"])
            }
            let first = try await rotate("identity:write audit:read").expecting(200)
            let narrower = try await rotate("identity:write")
            #expect(narrower.status == 403 && narrower.code == "scope_not_held", "\(narrower)")
            #expect(try await rotate("identity:write audit:read").text == first.text)
        }
    }

    @Test func aChangeTakesEffectAndHasAVersion() async throws {
        try await TestServer.run { server in
            let owner = server.operatorClient
            let made = try await make(#"{"name": "r", "scopes": ["audit:read"]}"#, by: owner)
            let client = server.anonymous.with(key: made.key)
            #expect(try await client.get("/api/v1/audit-log").status == 200)
            let one = "\(path)/\(made.id)"
            let changed = try await owner.patch(
                one,
                """
                {"name": "n", "preset": "gateway", "models": ["gpt-4o*", "o3"], "expires_at": "2026-11-23T09:00:00Z"}
                """,
                headers: ["If-Match": "\"1\""]
            )
            #expect(changed.status == 200)
            #expect(changed.header("ETag") == "\"2\"")
            #expect(changed.json["models"] == .array([.string("gpt-4o*"), .string("o3")]))
            #expect(try await client.get("/api/v1/audit-log").status == 403)
            #expect(try await owner.patch(one, #"{"name": "x"}"#, headers: ["If-Match": "\"1\""]).status == 412)
            // The same again is no change, and leaves no trace.
            #expect(try await owner.patch(one, #"{"name": "n"}"#).header("ETag") == "\"2\"")
            let cleared = try await owner.patch(one, #"{"models": null, "expires_at": null}"#)
            #expect(cleared.json["models"] == .null)
            #expect(cleared.json["expires_at"] == .null)
            #expect(cleared.json["name"]?.string == "n")
            let audited = try await server.column("SELECT action FROM audit_log WHERE action = 'api_key.updated'")
            #expect(audited.count == 2)
            for (body, pointer) in [
                (#"{"tenant": "acme"}"#, "/tenant"), (#"{"scopes": null}"#, "/scopes"), (#"{"models": []}"#, "/models"),
                (#"{"expires_at": "2026-11-23T08:00:00Z"}"#, "/expires_at"), (#"{"scope": []}"#, "/scope"),
            ] {
                #expect(try await owner.patch(one, body).pointers == [pointer])
            }
        }
    }

    @Test func nobodyGainsByChangingOrRotatingAKeyThatMayDoMore() async throws {
        try await TestServer.run { server in
            let strong = try await make(#"{"name": "s", "preset": "operator"}"#, by: server.operatorClient)
            let keeper = try await server.client([.identityWrite, .auditRead])
            let one = "\(path)/\(strong.id)"
            #expect(try await keeper.post("\(one)/rotate").code == "scope_not_held")
            #expect(try await keeper.patch(one, #"{"name": "mine"}"#).code == "scope_not_held")
            let weak = try await make(#"{"name": "w", "scopes": ["audit:read"]}"#, by: keeper)
            let widened = try await keeper.patch("\(path)/\(weak.id)", #"{"scopes": ["tenants:write"]}"#)
            #expect(widened.code == "scope_not_held")
            #expect(try await keeper.post("\(path)/\(weak.id)/rotate").status == 200)
            #expect(try await keeper.delete(one).status == 204)
        }
    }

    @Test func aRevokedKeyAndTheConfiguredOneDoNotChange() async throws {
        try await TestServer.run { server in
            let owner = server.operatorClient
            let made = try await make(#"{"name": "r", "scopes": ["audit:read"]}"#, by: owner)
            #expect(try await owner.delete("\(path)/\(made.id)", headers: ["If-Match": "\"7\""]).status == 412)
            #expect(try await owner.delete("\(path)/\(made.id)").status == 204)
            for (id, code) in [(made.id, "api_key_revoked"), ("operator", "api_key_configured")] {
                #expect(try await owner.post("\(path)/\(id)/rotate").code == code)
                #expect(try await owner.patch("\(path)/\(id)", #"{"name": "x"}"#).code == code)
            }
        }
    }

    @Test func theLastUseIsWrittenOnceAndNeverMovesBackwards() async throws {
        let database = try await TestDatabase.create()
        var id = ""
        try await TestServer.run(on: database) { server in
            let made = try await make(#"{"name": "r", "scopes": ["audit:read"]}"#, by: server.operatorClient)
            id = made.id
            for _ in 0..<5 {
                #expect(try await server.anonymous.with(key: made.key).get("/api/v1/audit-log").status == 200)
            }
            let forged = made.key.dropLast(2) + "zz"
            server.clock.advance(seconds: 10)
            #expect(try await server.anonymous.with(key: String(forged)).get("/api/v1/audit-log").status == 401)
            #expect(try await server.operatorClient.get("\(path)/\(made.id)").json["last_used_at"] == .null)
            for (since, isListed) in [("2026-11-23T08:00:00Z", false), ("2026-11-23T08:00:01Z", true)] {
                let unused = try await server.operatorClient.get("\(path)?unused_since=\(since)")
                let ids = unused.json["data"]?.elements?.compactMap { $0["id"]?.string }
                #expect(ids?.contains(made.id) == isListed, "made at 08:00, used and not written yet")
            }
        }
        // What had gathered was written when the service stopped.
        try await TestServer.run(on: database) { server in
            let shown = try await server.operatorClient.get("\(path)/\(id)")
            #expect(shown.json["last_used_at"]?.string == "2026-11-23T08:00:00.000000Z")
            #expect(shown.header("ETag") == "\"1\"")
            let since = try await server.operatorClient.get("\(path)?unused_since=2026-01-01T00:00:00Z")
            #expect(since.json["data"]?.elements?.isEmpty == true)
        }
        try await database.drop()
    }

    @Test func theListCanBeNarrowedToAState() async throws {
        try await TestServer.run { server in
            let owner = server.operatorClient
            let revoked = try await make(#"{"name": "a", "scopes": ["audit:read"]}"#, by: owner)
            let short = #"{"name": "b", "scopes": ["audit:read"], "expires_at": "2026-11-23T08:00:01Z"}"#
            let expired = try await make(short, by: owner)
            _ = try await owner.delete("\(path)/\(revoked.id)")
            server.clock.advance(seconds: 1)
            for (status, ids) in [("revoked", [revoked.id]), ("expired", [expired.id]), ("active", ["operator"])] {
                let listed = try await owner.get("\(path)?status=\(status)")
                #expect(listed.json["data"]?.elements?.compactMap { $0["id"]?.string } == ids)
                #expect(!listed.text.contains("tpk_"))
            }
            #expect(try await owner.get("\(path)?status=lost").pointers == ["?status"])
        }
    }
}
