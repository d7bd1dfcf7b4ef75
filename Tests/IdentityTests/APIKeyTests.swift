import TestSupport
import Testing
import Web

@Suite struct APIKeyTests {
    private let path = "/api/v1/api-keys"

    @Test func aKeyIsShownOnceAndWorksUntilItIsRevoked() async throws {
        try await TestServer.run { server in
            let owner = server.operatorClient
            let made = try await owner.post(path, #"{"name": "reader", "scopes": ["audit:read"]}"#)
            #expect(made.status == 201)
            let id = try #require(made.json["id"]?.string)
            let key = try #require(made.json["key"]?.string)
            #expect(key.hasPrefix("tpk_\(id)_"))
            #expect(made.header("Location") == "\(path)/\(id)")
            #expect(made.json["scopes"] == .array([.string("audit:read")]))
            #expect(made.json["tenant"] == .null)

            let shown = try await owner.get("\(path)/\(id)")
            #expect(shown.json["key"] == nil)
            #expect(shown.json["name"]?.string == "reader")

            let reader = server.anonymous.with(key: key)
            #expect(try await reader.get("/api/v1/audit-log").status == 200)
            let byHeader = try await server.anonymous.get("/api/v1/audit-log", headers: ["X-Api-Key": key])
            #expect(byHeader.status == 200)

            #expect(try await owner.delete("\(path)/\(id)").status == 204)
            #expect(try await reader.get("/api/v1/audit-log").status == 401)
            #expect(try await owner.get("\(path)/\(id)").json["revoked_at"]?.string?.isEmpty == false)
            #expect(try await owner.delete("\(path)/\(id)").status == 204)
        }
    }

    @Test func aKeyRevokedOnAnotherReplicaStopsWorkingWithoutWaitingForTheCache() async throws {
        try await TestServer.run { first in
            try await TestServer.run(on: first.database, clock: first.clock) { second in
                let made = try await first.operatorClient.post(path, #"{"name": "r", "scopes": ["audit:read"]}"#)
                let id = try #require(made.json["id"]?.string)
                let reader = second.anonymous.with(key: made.json["key"]?.string)
                #expect(try await reader.get("/api/v1/audit-log").status == 200)
                #expect(try await first.operatorClient.delete("\(path)/\(id)").status == 204)
                // The clock stands still, so only the notification can have told the second replica.
                #expect(try await eventually { try await reader.get("/api/v1/audit-log").status == 401 })
            }
        }
    }

    @Test func anExpiredKeyIsRefused() async throws {
        try await TestServer.run { server in
            let made = try await server.operatorClient.post(
                path,
                #"{"name": "short", "scopes": ["audit:read"], "expires_at": "2026-11-23T09:00:00Z"}"#
            )
            let client = server.anonymous.with(key: made.json["key"]?.string)
            #expect(try await client.get("/api/v1/audit-log").status == 200)
            server.clock.advance(seconds: 3_599)
            #expect(try await client.get("/api/v1/audit-log").status == 200)
            server.clock.advance(seconds: 1)
            #expect(try await client.get("/api/v1/audit-log").status == 401)
        }
    }

    @Test(arguments: ["tpk_unknown_0123456789abcdefghijklmnopqrstuvwxyz", "tpk_x", "eyJhbGciOi", "tpk__", ""])
    func whatIsNoValidKeyIsRefusedAlike(_ key: String) async throws {
        try await TestServer.run { server in
            let answer = try await server.anonymous.get(path, headers: ["X-Api-Key": key])
            #expect(answer.status == 401)
            #expect(answer.code == "unauthenticated")
            #expect(answer.json["detail"]?.string == "This key is not valid.")
        }
    }

    @Test func theRightIDWithAnotherSecretIsRefused() async throws {
        try await TestServer.run { server in
            let key = try await server.makeKey([.auditRead])
            let forged = key.dropLast() + (key.hasSuffix("a") ? "b" : "a")
            #expect(try await server.anonymous.with(key: String(forged)).get("/api/v1/audit-log").status == 401)
            #expect(try await server.anonymous.with(key: key).get("/api/v1/audit-log").status == 200)
        }
    }

    @Test func theShorthandStandsForReadAndWrite() async throws {
        try await TestServer.run { server in
            let made = try await server.operatorClient.post(path, #"{"name": "t", "scopes": ["tenants:*"]}"#)
            #expect(made.json["scopes"] == .array([.string("tenants:read"), .string("tenants:write")]))
        }
    }

    @Test func nobodyGrantsAScopeItDoesNotHold() async throws {
        try await TestServer.run { server in
            let keeper = try await server.client([.identityWrite, .auditRead])
            let wider = try await keeper.post(path, #"{"name": "w", "scopes": ["audit:read", "tenants:write"]}"#)
            #expect(wider.status == 403)
            #expect(wider.code == "scope_not_held")
            #expect(wider.text.contains("tenants:write"))
            #expect(try await keeper.post(path, #"{"name": "n", "scopes": ["audit:read"]}"#).status == 201)
        }
    }

    @Test func aTenantBoundKeyMakesAndSeesKeysOfItsTenantOnly() async throws {
        try await TestServer.run { server in
            try await server.database.run(
                "INSERT INTO subject_directory VALUES ('acme', 1, true), ('globex', 2, true)"
            )
            let acme = try await server.client([.identityWrite, .auditRead], tenant: "acme")
            _ = try await server.makeKey([.auditRead], tenant: "globex")
            let made = try await acme.post(path, #"{"name": "x", "scopes": ["audit:read"]}"#)
            #expect(made.status == 201)
            #expect(made.json["tenant"]?.string == "acme")
            #expect(try await acme.post(path, #"{"name": "y", "preset": "operator"}"#).code == "scope_not_held")
            // Another tenant is to it like one that does not exist.
            for tenant in ["globex", "nobody"] {
                let body = #"{"name": "x", "scopes": ["audit:read"], "tenant": "\#(tenant)"}"#
                let refused = try await acme.post(path, body)
                #expect(refused.status == 400)
                #expect(refused.pointers == ["/tenant"])
                #expect(refused.text.contains("There is no tenant '\(tenant)'."))
            }

            let own = try await acme.get(path)
            #expect(own.json["data"]?.elements?.compactMap { $0["tenant"]?.string } == ["acme", "acme"])
            let foreign = try await server.operatorClient.get("\(path)?tenant=globex").json["data"]?[0]?["id"]?.string
            let answer = try await acme.get("\(path)/\(try #require(foreign))")
            #expect(answer.code == "api_key_not_found")
            // Another tenant and an absent one give the same answer.
            let other = try await acme.get("\(path)?tenant=globex")
            let absent = try await acme.get("\(path)?tenant=nobody")
            #expect(other.status == 404)
            #expect(other.text.replacing("globex", with: "nobody").count == absent.text.count)
            #expect(other.code == absent.code)
        }
    }

    @Test func anUnknownTenantIsAFaultOfTheBody() async throws {
        try await TestServer.run { server in
            let answer = try await server.operatorClient.post(
                path,
                #"{"name": "x", "scopes": ["audit:read"], "tenant": "nobody"}"#
            )
            #expect(answer.status == 400)
            #expect(answer.pointers == ["/tenant"])
        }
    }

    @Test func listsArePagedWithoutGapsOrRepeats() async throws {
        try await TestServer.run { server in
            for _ in 0..<7 { _ = try await server.makeKey([.auditRead]) }
            var seen: [String] = []
            var cursor: String? = ""
            while let current = cursor {
                let answer = try await server.operatorClient.get(
                    "\(path)?limit=3" + (current.isEmpty ? "" : "&cursor=\(current)")
                )
                #expect(answer.status == 200)
                let page = answer.json["data"]?.elements ?? []
                #expect(page.count <= 3)
                seen += page.compactMap { $0["id"]?.string }
                cursor = answer.json["next_cursor"]?.string
            }
            #expect(seen.count == 8)
            #expect(Set(seen).count == 8)
        }
    }

    @Test func aCursorOfAnotherListOrFilterIsRefused() async throws {
        try await TestServer.run { server in
            for _ in 0..<3 { _ = try await server.makeKey([.auditRead]) }
            let owner = server.operatorClient
            let cursor = try #require(try await owner.get("\(path)?limit=1").json["next_cursor"]?.string)
            for bad in ["/api/v1/audit-log?cursor=\(cursor)", "\(path)?cursor=\(cursor)x", "\(path)?cursor=%00"] {
                let answer = try await owner.get(bad)
                #expect(answer.status == 400)
                #expect(answer.pointers == ["?cursor"])
            }
            #expect(try await owner.get("\(path)?limit=500&cursor=\(cursor)").status == 200)
        }
    }
}
