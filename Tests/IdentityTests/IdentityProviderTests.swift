import BillingCore
import Crypto
import Foundation
import Postgres
import TestSupport
import Testing
import TurnpikeServer
import Web

@testable import Identity

/// A customer's portal: its users come with the tokens of an issuer of their own, a real one with keys that it
/// publishes over HTTP.
@Suite(.timeLimit(.minutes(15))) struct IdentityProviderTests {
    private static let issuer = "https://sso.example"

    /// Publishes its keys and signs tokens.
    private struct Issuer {
        let server: OneAnswerServer
        let key = P256.Signing.PrivateKey()
        let keyID: String

        init(_ server: OneAnswerServer, keyID: String = "first") {
            self.server = server
            self.keyID = keyID
        }

        /// - Parameter members: replace those of the key.
        func publish(_ members: [String: String] = [:]) {
            let point = key.publicKey.rawRepresentation
            var jwk = [
                "kty": "EC", "crv": "P-256", "kid": keyID, "x": Base64URL.encoded(Array(point.prefix(32))),
                "y": Base64URL.encoded(Array(point.suffix(32))),
            ]
            jwk.merge(members) { $1 }
            let text = jwk.map { "\"\($0)\":\"\($1)\"" }.joined(separator: ",")
            server.set(json: "{\"keys\":[{\(text)}]}")
        }

        func token(
            _ server: TestServer,
            issuer: String = IdentityProviderTests.issuer,
            subject: String = "u9",
            audience: String = "turnpike",
            organisation: String? = "acme",
            roles: String = "[\"viewer\"]",
            seconds: Int64 = 600,
            header: String? = nil,
            sign: ((String) throws -> [UInt8])? = nil
        ) throws -> String {
            let end = server.clock.now.microseconds / 1_000_000 + seconds
            let named = organisation.map { ",\"org\":\"\($0)\"" } ?? ""
            let claims =
                "{\"iss\":\"\(issuer)\",\"sub\":\"\(subject)\",\"aud\":\"\(audience)\",\"exp\":\(end)"
                + ",\"roles\":\(roles)\(named)}"
            let head = header ?? "{\"alg\":\"ES256\",\"kid\":\"\(keyID)\"}"
            let input = [head, claims].map { Base64URL.encoded(Array($0.utf8)) }.joined(separator: ".")
            let signature = try sign?(input) ?? Array(key.signature(for: Array(input.utf8)).rawRepresentation)
            return input + "." + Base64URL.encoded(signature)
        }
    }

    private func run(
        _ extra: String = #""tenant_claim": "org""#,
        failuresPerAddress: Int = 60,
        _ body: (TestServer, Issuer) async throws -> Void
    ) async throws {
        let keys = try OneAnswerServer(answer: "HTTP/1.1 500 Not Yet\r\nContent-Length: 0\r\n\r\n")
        let issuer = Issuer(keys)
        issuer.publish()
        try await TestServer.run(configure: {
            $0.outboundAllowed = [AddressRange("127.0.0.1")].compactMap(\.self)
            $0.authenticationLimits.failuresPerAddress = failuresPerAddress
        }) { server in
            for (key, subject) in [("acme", "org_123"), ("zulu", "org_999")] {
                try await server.operatorClient.post(
                    "/api/v1/tenants",
                    #"{"key": "\#(key)", "name": "T", "currency": "USD", "subjects": ["\#(subject)"]}"#
                ).expecting(201)
            }
            try await server.operatorClient.post("/api/v1/identity-providers", provider(keys.port, extra))
                .expecting(201)
            try await body(server, issuer)
        }
        keys.stop()
    }

    private func provider(_ port: Int, _ extra: String) -> String {
        """
        {"key": "sso", "issuer": "\(Self.issuer)", "jwks_uri": "http://127.0.0.1:\(port)/keys",
         "audiences": ["turnpike"], "allowed_scopes": ["quotas:read", "tenants:read", "events:write"],
         "scope_claim": "roles",
         "scope_mapping": {"viewer": ["quotas:read", "tenants:read"], "sender": ["events:write"]},
         \(extra)}
        """
    }

    private func status(
        _ server: TestServer,
        _ token: String,
        _ path: String = "/api/v1/tenants/acme/quotas"
    ) async throws -> Int {
        try await server.anonymous.with(key: token).get(path).status
    }

    @Test func aPortalUserReadsItsOwnTenantAndAnotherIsAbsent() async throws {
        try await run { server, issuer in
            for organisation in ["acme", "org_123"] {
                let user = server.anonymous.with(key: try issuer.token(server, organisation: organisation))
                #expect(try await user.get("/api/v1/tenants/acme/quotas").status == 200)
                let other = try await user.get("/api/v1/tenants/zulu/quotas")
                let absent = try await user.get("/api/v1/tenants/none/quotas")
                #expect(other.status == 404)
                #expect(other.code == absent.code)
                // Beyond what its roles are mapped to.
                #expect(try await user.get("/api/v1/audit-log").code == "insufficient_scope")
                #expect(try await user.get("/api/v1/identity-providers").status == 403)
            }
            let other = try issuer.token(server, organisation: "zulu")
            #expect(try await status(server, other, "/api/v1/tenants/zulu/quotas") == 200)
            let nobody = try issuer.token(server, roles: "[\"guest\"]")
            #expect(try await status(server, nobody) == 403)
            #expect(server.log.text.contains("idp:sso:u9"))
        }
    }

    @Test func aTokenThatLeadsToNoTenantIsRefusedWithTheReason() async throws {
        try await run { server, issuer in
            for organisation in ["nowhere", nil] {
                let token = try issuer.token(server, organisation: organisation)
                let answer = try await server.anonymous.with(key: token).get("/api/v1/tenants/acme/quotas")
                #expect(answer.status == 403)
                #expect(answer.code == "unknown_tenant")
                #expect(answer.text.contains("'org'"))
            }
        }
    }

    @Test func aTokenThatLeadsToNoTenantIsRefusedAgainForTwoSecondsWithoutALookUp() async throws {
        try await run { server, issuer in
            let user = server.anonymous.with(key: try issuer.token(server, organisation: "nowhere"))
            // At first what was announced of the tenants may have it looked up again.
            let looksNothingUp = try await eventually {
                let before = server.leases(of: .admission)
                let refused = try await user.get("/api/v1/tenants/acme/quotas")
                #expect(refused.code == "unknown_tenant")
                return server.leases(of: .admission) == before
            }
            #expect(looksNothingUp)
            try await server.operatorClient.patch("/api/v1/tenants/acme", #"{"subjects": ["nowhere"]}"#).expecting(200)
            server.clock.advance(seconds: 2)
            #expect(try await user.get("/api/v1/tenants/acme/quotas").status == 200)
        }
    }

    @Test func aFixedTenantIsItsKeyAndIsLookedUpWhereCredentialsAreRead() async throws {
        try await run(#""tenant": "acme""#) { server, issuer in
            let token = try issuer.token(server, organisation: nil)
            #expect(try await status(server, token) == 200)
            var leases: [UInt64] = []
            for _ in 1...5 {
                server.clock.advance(seconds: 3)
                let before = server.leases(of: .interactive)
                #expect(try await status(server, token, "/api/v1/audit-log") == 403)
                leases.append(server.leases(of: .interactive) - before)
            }
            // Others may have taken one meanwhile.
            #expect(leases.contains(0), "\(leases)")
        }
        try await run(#""tenant": "org_123""#) { server, issuer in
            let user = server.anonymous.with(key: try issuer.token(server, organisation: nil))
            #expect(try await user.get("/api/v1/tenants/acme/quotas").code == "unknown_tenant", "a subject is no key")
        }
    }

    @Test func aListOfTenantsBoundsWhomTheClaimMayName() async throws {
        try await run(#""tenant_claim": "org", "tenants": ["acme"]"#) { server, issuer in
            for organisation in ["acme", "org_123"] {
                #expect(try await status(server, issuer.token(server, organisation: organisation)) == 200)
            }
            for organisation in ["zulu", "org_999"] {
                let user = server.anonymous.with(key: try issuer.token(server, organisation: organisation))
                let answer = try await user.get("/api/v1/tenants/zulu/quotas")
                #expect(answer.status == 403 && answer.code == "unknown_tenant", "\(answer)")
            }
            let stored = try await server.operatorClient.get("/api/v1/identity-providers/sso").expecting(200)
            #expect(stored.json["tenants"]?.text == #"["acme"]"#)
            for (extra, fault) in [
                (#""tenant": "acme", "tenants": ["acme"]"#, "ambiguous"),
                (#""tenant_claim": "org", "tenants": []"#, "too_few"),
                (#""tenant_claim": "org", "tenants": ["No Key"]"#, "invalid_key"),
            ] {
                let refused = try await server.operatorClient.post(
                    "/api/v1/identity-providers",
                    provider(issuer.server.port, extra).replacing("\"sso\"", with: "\"other\"")
                )
                #expect(refused.status == 400 && refused.json["errors"]?.text.contains(fault) == true, "\(refused)")
            }
        }
    }

    /// A provider may be older than the setting that names the service.
    @Test func theServicesOwnIssuerIsNeverAProvider() async throws {
        try await run { server, issuer in
            try await server.database.run(
                """
                UPDATE identity_provider SET issuer = '\(TestServer.issuer)',
                    definition = jsonb_set(definition::jsonb, '{issuer}', '"\(TestServer.issuer)"')
                """
            )
            server.clock.advance(seconds: 3)
            #expect(try await status(server, issuer.token(server, issuer: TestServer.issuer)) == 401)
            let client = try await server.makeOAuthClient([.tenantsRead])
            #expect(try await status(server, server.token(of: client), "/api/v1/tenants") == 200)
            #expect(issuer.server.connections == 0)
        }
    }

    @Test func whatTheIssuerHasNotSignedForUsIsRefused() async throws {
        try await run { server, issuer in
            let good = try issuer.token(server)
            #expect(try await status(server, good) == 200)
            let parts = good.split(separator: ".")
            let claims = parts[1].dropLast() + (parts[1].hasSuffix("A") ? "B" : "A")
            let stranger = Issuer(issuer.server)
            let published = issuer.key.publicKey.rawRepresentation
            let forged: [(String, String)] = [
                ("another audience", try issuer.token(server, audience: "other")),
                ("expired", try issuer.token(server, seconds: -61)),
                ("another issuer", try issuer.token(server, issuer: "https://evil.example")),
                ("another key under the same id", try stranger.token(server)),
                ("no signature", try issuer.token(server, header: #"{"alg":"none"}"#, sign: { _ in [0] })),
                ("altered", [parts[0], claims, parts[2]].joined(separator: ".")),
                (
                    "the public key as a secret",
                    try issuer.token(server, header: #"{"alg":"HS256","kid":"first"}"#) { input in
                        Array(
                            HMAC<SHA256>.authenticationCode(
                                for: Array(input.utf8),
                                using: SymmetricKey(data: published)
                            )
                        )
                    }
                ),
            ]
            for (name, token) in forged { #expect(try await status(server, token) == 401, "\(name)") }
            #expect(try await status(server, issuer.token(server, seconds: -59)) == 200, "within the leeway")
        }
    }

    @Test func anAlgorithmOutsideTheListIsRefusedAndKeysOfOtherKindsAreNone() async throws {
        try await run(#""tenant": "acme", "algorithms": ["RS256"]"#) { server, issuer in
            let answered = try await status(server, issuer.token(server))
            #expect(answered == 401)
        }
        try await run { server, issuer in
            issuer.publish(["kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0"])
            let token = try issuer.token(server, header: #"{"alg":"HS256","kid":"first"}"#) { input in
                let secret = SymmetricKey(data: Array("secretsecretsecret".utf8))
                return Array(HMAC<SHA256>.authenticationCode(for: Array(input.utf8), using: secret))
            }
            #expect(try await status(server, token) == 401)
        }
    }

    @Test func aRotatedKeyIsReadOnceAMinuteAndAnAwayIssuerLocksNobodyOut() async throws {
        try await run { server, issuer in
            #expect(try await status(server, issuer.token(server)) == 200)
            #expect(issuer.server.connections == 1)
            let next = Issuer(issuer.server, keyID: "second")
            next.publish()
            #expect(try await status(server, next.token(server)) == 401, "read a moment ago")
            server.clock.advance(seconds: 61)
            #expect(try await status(server, next.token(server)) == 200)
            #expect(issuer.server.connections == 2)
            // Made-up key ids are no way to make us call the issuer.
            for number in 0..<30 {
                let token = try Issuer(issuer.server, keyID: "k\(number)").token(server)
                #expect(try await status(server, token) == 401)
            }
            #expect(issuer.server.connections == 2)
            issuer.server.set(answer: "HTTP/1.1 500 Away\r\nContent-Length: 0\r\n\r\n")
            server.clock.advance(seconds: 3_700)
            #expect(try await status(server, next.token(server)) == 200)
            #expect(server.log.text.contains("keys of an identity provider could not be read"))
            server.clock.advance(seconds: 86_400)
            #expect(try await status(server, next.token(server)) == 401, "not for ever")
        }
    }

    @Test func ofManyWhoComeFirstOneReadsTheKeysAndAllAreServed() async throws {
        try await run { server, issuer in
            // The server of the keys serves one connection after the other: this one makes the next ones wait.
            var holding: RawConnection? = try RawConnection(port: issuer.server.port)
            try holding?.send("x")
            #expect(try await eventually { issuer.server.connections == 1 })
            let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<20 {
                    let token = try issuer.token(server)
                    group.addTask { try await status(server, token) }
                }
                try await Task.sleep(for: .milliseconds(500))
                holding = nil
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(holding == nil)
            #expect(statuses == Array(repeating: 200, count: 20))
            #expect(issuer.server.connections == 2)
        }
    }

    @Test func whoseTokenWasGoodIsNotLockedOutByItsNeighbours() async throws {
        try await run(failuresPerAddress: 10) { server, issuer in
            let token = try issuer.token(server)
            #expect(try await status(server, token) == 200)
            let stranger = Issuer(issuer.server)
            var statuses: [Int] = []
            for _ in 0..<12 { statuses.append(try await status(server, stranger.token(server))) }
            #expect(statuses == Array(repeating: 401, count: 10) + [429, 429])
            // No longer than a failure takes to come back.
            server.clock.advance(seconds: 3)
            #expect(try await status(server, token) == 200)
            let body = provider(issuer.server.port, #""tenant": "acme""#).replacing(#""key": "sso", "#, with: "")
            let path = "/api/v1/identity-providers/sso"
            let changed = try await server.operatorClient.put(path, body, headers: ["If-Match": "\"1\""])
            #expect(changed.status == 200, "\(changed)")
            #expect(try await status(server, token) == 200)
            #expect(try await status(server, issuer.token(server)) == 429, "never seen")
        }
    }

    @Test func usageOfAPersonIsAttributedToNoClient() async throws {
        try await run { server, issuer in
            let user = server.anonymous.with(key: try issuer.token(server, roles: "[\"sender\"]"))
            let sent = try await server.post([SentEvent("1")], as: user)
            #expect(sent.status == 200, "\(sent)")
            let event = try await server.ask("GET", "/events?tenant=acme")["data"]?[0]
            #expect(event?["id"]?.string == "1")
            #expect(event?["client_id"]?.string == nil)
            #expect(server.log.text.contains("idp:sso:u9"))
        }
    }

    @Test(arguments: ["", "j\u{FC}rgen", "u9\u{85}", "u9\u{202E}", "u 9", "u9\\n"])
    func aSubjectThatIsNoPlainTextIsRefused(_ subject: String) async throws {
        try await run { server, issuer in
            let answered = try await status(server, issuer.token(server, subject: subject))
            #expect(answered == 401)
        }
    }

    @Test func aProviderThatIsChangedOrGoneIsFelt() async throws {
        try await run { server, issuer in
            let token = try issuer.token(server)
            #expect(try await status(server, token) == 200)
            let path = "/api/v1/identity-providers/sso"
            let seen = try await server.operatorClient.get(path)
            #expect(seen.header("ETag") == "\"1\"")
            var body = provider(issuer.server.port, #""tenant_claim": "org", "enabled": false"#)
            body = body.replacing(#""key": "sso", "#, with: "")
            let stale = try await server.operatorClient.put(path, body, headers: ["If-Match": "\"7\""])
            #expect(stale.status == 412)
            let changed = try await server.operatorClient.put(path, body, headers: ["If-Match": "\"1\""])
            #expect(changed.status == 200, "\(changed)")
            #expect(try await status(server, token) == 401)
            #expect(try await server.operatorClient.delete(path).status == 204)
            #expect(try await server.operatorClient.get(path).status == 404)
            let log = try await server.operatorClient.get("/api/v1/audit-log?resource=identity_provider:sso")
            let actions = (log.json["data"]?.elements ?? []).compactMap { $0["action"]?.string }
            #expect(
                actions.sorted() == [
                    "identity_provider.created", "identity_provider.deleted", "identity_provider.replaced",
                ]
            )
        }
    }

    @Test func faultsOfAProviderAreTold() async throws {
        try await TestServer.run { server in
            let client = server.operatorClient
            let bad = try await client.post(
                "/api/v1/identity-providers",
                """
                {"key": "sso", "issuer": "sso", "jwks_uri": "file:///etc/passwd", "audiences": [],
                 "allowed_scopes": ["quotas:read"], "default_scopes": ["identity:write"], "algorithms": ["HS256"],
                 "scope_claim": "roles", "scope_mapping": {"a": ["audit:read"]}}
                """
            )
            #expect(bad.status == 400)
            let expected: Set = [
                "/issuer", "/jwks_uri", "/audiences", "/default_scopes", "/algorithms/0", "/scope_mapping/a", "/tenant",
            ]
            #expect(Set(bad.pointers) == expected)
            let limited = try await server.client([.identityWrite])
            let fixed = provider(1, #""tenant": "acme""#)
            let inside = try await client.post("/api/v1/identity-providers", fixed)
            #expect(inside.status == 400 && inside.pointers == ["/jwks_uri"], "\(inside)")
            let outside = fixed.replacing("http://127.0.0.1:1/", with: "https://sso.example/")
            #expect(try await limited.post("/api/v1/identity-providers", outside).code == "scope_not_held")
            try await client.post("/api/v1/identity-providers", outside).expecting(201)
            let one = "/api/v1/identity-providers/sso"
            let moved = try await client.put(one, fixed.replacing(#""key": "sso", "#, with: ""))
            #expect(moved.status == 400 && moved.pointers == ["/jwks_uri"], "\(moved)")
        }
    }

    /// What may be reached is a setting, which may have been another one.
    @Test func aProviderWhoseKeysMayNotBeFetchedAnyMoreCanBeDisabled() async throws {
        try await TestServer.run { server in
            let body = provider(1, #""tenant": "acme""#)
            let outside = body.replacing("http://127.0.0.1:1/", with: "https://sso.example/")
            try await server.operatorClient.post("/api/v1/identity-providers", outside).expecting(201)
            try await server.database.run(
                """
                UPDATE identity_provider
                SET definition = replace(definition::text, 'https://sso.example/', 'http://127.0.0.1:1/')::jsonb
                """
            )
            let disabled = provider(1, #""tenant": "acme", "enabled": false"#)
                .replacing(#""key": "sso", "#, with: "")
            let answer = try await server.operatorClient.put("/api/v1/identity-providers/sso", disabled).expecting(200)
            #expect(answer.json["enabled"] == .bool(false))
        }
    }

    @Test func noMoreProvidersAreMadeThanAreKeptInMind() async throws {
        try await run { server, _ in
            try await server.database.run(
                """
                INSERT INTO identity_provider (
                    tenant_id, provider_key, issuer, definition, created_at, updated_at, revision
                )
                SELECT tenant_id, 'copy-' || n, issuer || '/' || n, definition, created_at, updated_at, revision
                FROM identity_provider, generate_series(1, 498) AS n
                """
            )
            let bodies = ["x", "y"].map { name in
                provider(1, #""tenant": "acme""#).replacing("\"sso\"", with: "\"\(name)\"")
                    .replacing(Self.issuer, with: "https://\(name).example")
            }
            let path = "/api/v1/identity-providers"
            async let first = server.operatorClient.post(path, bodies[0])
            async let second = server.operatorClient.post(path, bodies[1])
            let answers = try await [first, second]
            #expect(answers.map(\.status).sorted() == [201, 409], "\(answers)")
            #expect(answers.compactMap(\.code) == ["too_many_identity_providers"])
            // The key of one that is there is told first.
            let again = try await server.operatorClient.post(path, provider(1, #""tenant": "acme""#))
            #expect(again.code == "identity_provider_exists")
        }
    }
}
