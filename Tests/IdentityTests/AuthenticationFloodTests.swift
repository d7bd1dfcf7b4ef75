import BillingCore
import TestSupport
import Testing
import TurnpikeServer
import Web

@testable import Identity

/// What happens to those who guess, and to those beside them, through the whole service.
@Suite struct AuthenticationFloodTests {
    private func madeUp(_ number: Int) -> String { "tpk_guess\(number)_" + String(repeating: "x", count: 40) }

    private func run(_ body: (TestServer) async throws -> Void) async throws {
        try await TestServer.run(
            configure: {
                $0.authenticationLimits.failuresPerAddress = 10
                $0.authenticationLimits.failuresPerCredential = 4
                $0.trustedProxies = [AddressRange("127.0.0.1")].compactMap(\.self)
            },
            body
        )
    }

    @Test func aFloodOfMadeUpKeysDoesNotReachTheDatabaseAndValidKeysPass() async throws {
        try await run { server in
            let valid = try await server.client([.tenantsRead])
            #expect(try await valid.get("/api/v1/tenants").status == 200)
            var statuses: [Int] = []
            for number in 0..<12 {
                statuses.append(try await server.anonymous.with(key: madeUp(number)).get("/api/v1/tenants").status)
            }
            #expect(statuses == Array(repeating: 401, count: 10) + [429, 429])
            // It may have been forgotten, with everything that was read before changes were listened to.
            #expect(try await valid.get("/api/v1/tenants").status == 200)
            // From here on every look-up would be an internal error.
            try await server.database.run("ALTER TABLE api_key RENAME TO api_key_away")
            for number in 100..<200 {
                let answer = try await server.anonymous.with(key: madeUp(number)).get("/api/v1/tenants")
                #expect(answer.status == 429)
                #expect(answer.code == "too_many_authentication_failures")
                #expect(answer.header("Retry-After") == "6")
                #expect(answer.header("RateLimit") == "\"authentication-failures-address\";r=0;t=6")
                #expect(answer.json["type"]?.string?.hasSuffix("http-problem-types#quota-exceeded") == true)
                #expect(answer.json["violated-policies"]?[0]?.string == "authentication-failures-address")
            }
            // The same address, at the same time: what is known to be valid passes, also when it must be read again.
            #expect(try await valid.get("/api/v1/tenants").status == 200)
            try await server.database.run("ALTER TABLE api_key_away RENAME TO api_key")
            server.clock.advance(seconds: 5)
            #expect(try await valid.get("/api/v1/tenants").status == 200)
            let metrics = try await server.anonymous.get("/metrics").text
            #expect(metrics.contains("turnpike_authentication_throttled_total{by=\"address\"}"))
        }
    }

    @Test func aRevokedTokenThatIsRepeatedAsksTheDatabaseNothing() async throws {
        try await run { server in
            let client = try await server.makeOAuthClient([.tenantsRead])
            let token = try await server.token(of: client)
            let caller = server.anonymous.with(key: token)
            #expect(try await caller.get("/api/v1/tenants").status == 200)
            let basic = ["Authorization": client.basic]
            _ = try await server.anonymous.form("/oauth/revoke", [("token", token)], headers: basic).expecting(200)
            #expect(try await caller.get("/api/v1/tenants").status == 401)
            // From here on every look-up would be an internal error.
            try await server.database.run("ALTER TABLE oauth_client RENAME TO oauth_client_away")
            for _ in 0..<20 { #expect([401, 429].contains(try await caller.get("/api/v1/tenants").status)) }
        }
    }

    @Test func aFloodOfMadeUpClientsDoesNotReachTheDatabaseAndAClientThatWasSeenPasses() async throws {
        try await run { server in
            let client = try await server.makeOAuthClient([.tenantsRead])
            _ = try await server.token(of: client)
            var statuses: [Int] = []
            for number in 0..<40 {
                if number == 12 {
                    try await server.database.run("ALTER TABLE oauth_client RENAME TO oauth_client_away")
                }
                let id = "abcdefghijklmn\(2 + number / 6)\(2 + number % 6)"
                let guess = TestOAuthClient(id: id, secret: String(repeating: "x", count: 52))
                let answer = try await server.anonymous.form(
                    "/oauth/token",
                    [("grant_type", "client_credentials")],
                    headers: ["Authorization": guess.basic]
                )
                statuses.append(answer.status)
            }
            #expect(statuses == Array(repeating: 401, count: 10) + Array(repeating: 429, count: 30))
            try await server.database.run("ALTER TABLE oauth_client_away RENAME TO oauth_client")
            _ = try await server.token(of: client)
        }
    }

    @Test func guessingTheSecretOfAKnownKeyIsRefusedWhereverItComesFromAndTheKeyStillWorks() async throws {
        try await run { server in
            let key = try await server.makeKey([.tenantsRead])
            let wrong = server.anonymous.with(key: String(key.dropLast()) + (key.hasSuffix("a") ? "b" : "a"))
            var statuses: [Int] = []
            for number in 0..<6 {
                let answer = try await wrong.get("/api/v1/tenants", headers: ["X-Forwarded-For": "192.0.2.\(number)"])
                statuses.append(answer.status)
            }
            #expect(statuses == [401, 401, 401, 401, 429, 429])
            #expect(try await server.anonymous.with(key: key).get("/api/v1/tenants").status == 200)
        }
    }

    @Test func guessingTheSecretOfAClientIsRefusedAndTheClientStillGetsTokens() async throws {
        try await run { server in
            let client = try await server.makeOAuthClient([.tenantsRead])
            let wrong = TestOAuthClient(id: client.id, secret: client.secret + "x")
            var statuses: [Int] = []
            for number in 0..<6 {
                let answer = try await server.anonymous.form(
                    "/oauth/token",
                    [("grant_type", "client_credentials")],
                    headers: ["Authorization": wrong.basic, "X-Forwarded-For": "192.0.2.\(number)"]
                )
                statuses.append(answer.status)
            }
            #expect(statuses == [401, 401, 401, 401, 429, 429])
            let caller = server.anonymous.with(key: try await server.token(of: client))
            #expect(try await caller.get("/api/v1/tenants").status == 200)
        }
    }

    @Test func guessesAtAKnownClientThatAreRefusedCostALookUpASecondAndTheClientStillGetsTokens() async throws {
        try await run { server in
            let client = try await server.makeOAuthClient([.tenantsRead])
            _ = try await server.token(of: client)
            func status(_ secret: String, from address: String) async throws -> Int {
                let shown = TestOAuthClient(id: client.id, secret: secret)
                return try await server.anonymous.form(
                    "/oauth/token",
                    [("grant_type", "client_credentials")],
                    headers: ["Authorization": shown.basic, "X-Forwarded-For": address]
                ).status
            }
            func guess(_ number: Int) async throws -> Int {
                try await status(client.secret + "x", from: "192.0.2.\(number)")
            }
            for number in 1...4 { #expect(try await guess(number) == 401) }
            #expect(try await guess(5) == 429)
            // From here on every look-up would be an internal error.
            try await server.database.run("ALTER TABLE oauth_client RENAME TO oauth_client_away")
            for number in 6...20 { #expect(try await guess(number) == 429) }
            #expect(try await status(client.secret, from: "192.0.2.21") == 200)
            try await server.database.run("ALTER TABLE oauth_client_away RENAME TO oauth_client")
            // A change is felt after that second.
            let disabled = #"{"enabled": false}"#
            try await server.operatorClient.patch("/api/v1/clients/\(client.id)", disabled).expecting(200)
            server.clock.advance(seconds: 1)
            #expect(try await status(client.secret, from: "192.0.2.22") == 429)
        }
    }

    @Test func aFloodOfForgedTokensDoesNotReachTheDatabaseAndGoodOnesPass() async throws {
        try await run { server in
            let client = try await server.makeOAuthClient([.tenantsRead])
            let (first, second) = (try await server.token(of: client), try await server.token(of: client))
            #expect(try await server.anonymous.with(key: first).get("/api/v1/tenants").status == 200)
            // From here on every look-up would be an internal error.
            try await server.database.run("ALTER TABLE oauth_client RENAME TO oauth_client_away")
            var statuses: [Int] = []
            for _ in 0..<12 {
                let forged = first.dropLast(8) + "AAAAAAAA"
                statuses.append(try await server.anonymous.with(key: String(forged)).get("/api/v1/tenants").status)
            }
            #expect(statuses == Array(repeating: 401, count: 10) + [429, 429])
            try await server.database.run("ALTER TABLE oauth_client_away RENAME TO oauth_client")
            #expect(try await server.anonymous.with(key: second).get("/api/v1/tenants").status == 200)
        }
    }

    @Test func anAddressWithoutFailuresLeftHasNoFurtherUnknownTokenVerified() async throws {
        try await run { server in
            let forge = try await TokenForge(server)
            let caller = server.anonymous.with(key: forge.genuine)
            #expect(try await caller.get("/api/v1/audit-log").status == 200)
            func unknown() async throws -> TestResponse {
                let id = JSONValue.string(IDSource.random(.system).next().description)
                let token = try forge.signed(["jti": id])
                return try await server.anonymous.with(key: token).get("/api/v1/audit-log")
            }
            #expect(try await unknown().status == 200, "the key is ours, and verified it is good")
            let forged = try forge.badSignatures().filter { $0.what == "a foreign key under our kid" }
            let bad = server.anonymous.with(key: try #require(forged.first?.token))
            for _ in 0..<10 { #expect(try await bad.get("/api/v1/audit-log").status == 401) }
            // A good signature makes no difference now: nobody looks at it.
            let refused = try await unknown()
            #expect(refused.status == 429 && refused.code == "too_many_authentication_failures", "\(refused)")
            let elsewhere = try await bad.get("/api/v1/audit-log", headers: ["X-Forwarded-For": "192.0.2.1"])
            #expect(elsewhere.status == 401)
            // What was good before goes on, also when its client has changed and is asked again.
            let id = try #require(forge.claims["client_id"]?.string)
            try await server.operatorClient.patch("/api/v1/clients/\(id)", #"{"name": "renamed"}"#).expecting(200)
            server.clock.advance(seconds: 3)
            for _ in 0..<10 { _ = try await bad.get("/api/v1/audit-log") }
            #expect(try await caller.get("/api/v1/audit-log").status == 200)
            let metrics = try await server.anonymous.get("/metrics").text
            for outcome in ["good", "bad"] {
                #expect(metrics.contains("turnpike_token_verifications_total{outcome=\"\(outcome)\"}"))
            }
        }
    }

    @Test func addressesBehindATrustedProxyAreCountedApartAndAreInTheLog() async throws {
        try await run { server in
            let guesser = ["X-Forwarded-For": "6.6.6.6, 192.0.2.66"]
            for number in 0..<10 {
                _ = try await server.anonymous.with(key: madeUp(number)).get("/api/v1/tenants", headers: guesser)
            }
            let next = server.anonymous.with(key: madeUp(99))
            #expect(try await next.get("/api/v1/tenants", headers: guesser).status == 429)
            let other = ["X-Forwarded-For": "192.0.2.67"]
            #expect(try await next.get("/api/v1/tenants", headers: other).status == 401)
            #expect(server.log.lines.contains { $0.contains(#""address":"192.0.2.66""#) && $0.contains("429") })
            #expect(!server.log.text.contains("6.6.6.6"))
        }
    }
}
