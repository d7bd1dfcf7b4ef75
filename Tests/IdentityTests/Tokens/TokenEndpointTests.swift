import BillingCore
import Foundation
import Identity
import TestSupport
import Testing
import TurnpikeServer
import Web

/// `POST /oauth/token` with secrets; private_key_jwt has tests of its own.
@Suite struct TokenEndpointTests {
    private let path = "/oauth/token"
    private let grant = ("grant_type", "client_credentials")

    @Test func aTokenOpensWhatItsScopesAllowAndNothingElse() async throws {
        try await TestServer.run { server in
            let client = try await server.makeOAuthClient([.auditRead, .identityWrite])
            let answer = try await server.anonymous.form(
                path,
                [grant, ("scope", "audit:read")],
                headers: ["Authorization": client.basic]
            ).expecting(200)
            #expect(answer.json["token_type"]?.string == "Bearer")
            #expect(answer.json["expires_in"]?.number == "900")
            #expect(answer.json["scope"]?.string == "audit:read")
            #expect(answer.header("Cache-Control") == "no-store")
            #expect(answer.header("Pragma") == "no-cache")
            let caller = server.anonymous.with(key: answer.json["access_token"]?.string)
            #expect(try await caller.get("/api/v1/audit-log").status == 200)
            #expect(try await caller.get("/api/v1/clients").code == "insufficient_scope")
        }
    }

    @Test func withoutAScopeTheTokenHasAllOfTheClients() async throws {
        try await TestServer.run { server in
            let client = try await server.makeOAuthClient([.auditRead, .eventsWrite])
            let answer = try await server.anonymous.form(path, [grant], headers: ["Authorization": client.basic])
            #expect(answer.json["scope"]?.string == "events:write audit:read")
        }
    }

    @Test func theTokenIsInTheProfileOfRFC9068() async throws {
        try await TestServer.run { server in
            try await server.database.run("INSERT INTO subject_directory VALUES ('acme', 1, true)")
            let client = try await server.makeOAuthClient([.quotasRead], tenant: "acme")
            let parts = try await server.token(of: client).split(separator: ".").map(String.init)
            let header = try JSONValue(parsing: try #require(Base64URL.decoded(parts[0])))
            let claims = try JSONValue(parsing: try #require(Base64URL.decoded(parts[1])))
            #expect(header["typ"]?.string == "at+jwt")
            #expect(header["alg"]?.string == "ES256")
            #expect(header["kid"]?.string?.isEmpty == false)
            #expect(claims["iss"]?.string == TestServer.issuer)
            #expect(claims["aud"]?.string == TestServer.issuer)
            #expect(claims["sub"]?.string == client.id)
            #expect(claims["client_id"]?.string == client.id)
            #expect(claims["scope"]?.string == "quotas:read")
            #expect(claims["tenant"]?.string == "acme")
            let now = server.clock.now.microseconds / 1_000_000
            #expect(claims["iat"]?.number == String(now))
            #expect(claims["exp"]?.number == String(now + 900))
            #expect(claims["jti"]?.string?.count == 36)
        }
    }

    @Test func theSecretMayBeInTheBodyOfAClientRegisteredForThat() async throws {
        try await TestServer.run { server in
            let member = #", "token_endpoint_auth_method": "client_secret_post""#
            let client = try await server.makeOAuthClient([.auditRead], member)
            let body = [grant, ("client_id", client.id), ("client_secret", client.secret)]
            #expect(try await server.anonymous.form(path, body).status == 200)
            let wrong = try await server.anonymous.form(path, [grant], headers: ["Authorization": client.basic])
            #expect(wrong.status == 401)
            #expect(wrong.json["error"]?.string == "invalid_client")
        }
    }

    @Test func userAndPasswordOfBasicAreFormEncoded() async throws {
        try await TestServer.run { server in
            let client = try await server.makeOAuthClient([.auditRead])
            let escaped = client.secret.utf8.map { "%" + String($0, radix: 16) }.joined()
            let basic = "basic " + Data("\(client.id):\(escaped)".utf8).base64EncodedString()
            let answer = try await server.anonymous.form(path, [grant], headers: ["Authorization": basic])
            #expect(answer.status == 200)
        }
    }

    @Test func aCharsetBesideTheMediaTypeDoesNoHarm() async throws {
        try await TestServer.run { server in
            let client = try await server.makeOAuthClient([.auditRead])
            let answer = try await server.anonymous.form(
                path,
                [grant, ("unknown", "ignored"), ("scope", "")],
                headers: [
                    "Authorization": client.basic,
                    "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
                ]
            )
            #expect(answer.status == 200)
            let json = try await server.anonymous.post(path, "{}", headers: ["Authorization": client.basic])
            #expect(json.status == 415)
        }
    }

    private struct Refusal {
        let parameters: [(String, String)]
        var authorization: String?
        let status: Int
        let error: String
    }

    @Test func refusalsHaveTheFormOfRFC6749() async throws {
        try await TestServer.run { server in
            let client = try await server.makeOAuthClient([.auditRead])
            for refusal in refusals(of: client) {
                let headers = refusal.authorization.map { ["Authorization": $0] } ?? [:]
                let answer = try await server.anonymous.form(path, refusal.parameters, headers: headers)
                #expect(answer.status == refusal.status, "\(refusal): \(answer)")
                #expect(answer.json["error"]?.string == refusal.error, "\(refusal): \(answer)")
                #expect(answer.json["error_description"]?.string?.contains("\"") == false)
                #expect(answer.header("Content-Type") == "application/json")
                #expect(answer.header("Cache-Control") == "no-store")
                #expect(answer.header("Pragma") == "no-cache")
                #expect((answer.header("WWW-Authenticate") == #"Basic realm="turnpike""#) == (refusal.status == 401))
            }
        }
    }

    private func refusals(of client: TestOAuthClient) -> [Refusal] {
        let secret = [("client_id", client.id), ("client_secret", client.secret)]
        let assertion = [
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", "a.b.c"),
        ]
        let malformed = [
            [], [grant, grant], [grant] + secret, [grant, ("client_id", "other")], [grant] + assertion,
        ].map { Refusal(parameters: $0, authorization: client.basic, status: 400, error: "invalid_request") }
        let scopes = ["audit:read events:write", "no:such", "  "].map {
            Refusal(
                parameters: [grant, ("scope", $0)],
                authorization: client.basic,
                status: 400,
                error: "invalid_scope"
            )
        }
        let strangers = [
            TestOAuthClient(id: client.id, secret: client.secret + "x").basic,
            TestOAuthClient(id: "nobody", secret: "x").basic, "Basic ***", "Bearer \(TestServer.operatorKey)",
        ].map { Refusal(parameters: [grant], authorization: $0, status: 401, error: "invalid_client") }
        return malformed + scopes + strangers + [
            Refusal(
                parameters: [("grant_type", "password")],
                authorization: client.basic,
                status: 400,
                error: "unsupported_grant_type"
            ),
            Refusal(parameters: [grant] + secret + assertion, status: 400, error: "invalid_request"),
            Refusal(parameters: [grant, assertion[1]], status: 400, error: "invalid_request"),
            Refusal(parameters: [grant], status: 401, error: "invalid_client"),
            Refusal(parameters: [grant] + assertion, status: 401, error: "invalid_client"),
        ]
    }

    @Test func parametersInTheURLAreRefused() async throws {
        try await TestServer.run { server in
            let client = try await server.makeOAuthClient([.auditRead])
            let answer = try await server.anonymous.form(
                "\(path)?client_id=\(client.id)&client_secret=\(client.secret)",
                [grant]
            )
            #expect(answer.status == 400)
            #expect(answer.json["error"]?.string == "invalid_request")
        }
    }

    @Test func aClientThatIsDisabledOrRevokedGetsNoToken() async throws {
        try await TestServer.run { server in
            let client = try await server.makeOAuthClient([.auditRead])
            let one = "/api/v1/clients/\(client.id)"
            func status() async throws -> Int {
                try await server.anonymous.form(path, [grant], headers: ["Authorization": client.basic]).status
            }
            #expect(try await status() == 200)
            try await server.operatorClient.patch(one, #"{"enabled": false}"#).expecting(200)
            #expect(try await status() == 401)
            try await server.operatorClient.patch(one, #"{"enabled": true}"#).expecting(200)
            #expect(try await status() == 200)
            try await server.operatorClient.delete(one).expecting(204)
            #expect(try await status() == 401)
        }
    }

    @Test func withoutAMasterKeyTheEndpointsSayWhatIsMissingAndAllElseWorks() async throws {
        try await TestServer.run(configure: { $0.tokens.masterKey = nil }) { server in
            let client = try await server.makeOAuthClient([.auditRead])
            let answer = try await server.anonymous.form(path, [grant], headers: ["Authorization": client.basic])
            #expect(answer.status == 503)
            #expect(answer.code == "oauth_not_configured")
            #expect(answer.text.contains("TURNPIKE_MASTER_KEY"))
            #expect(try await server.anonymous.get("/.well-known/jwks.json").status == 503)
            #expect(try await server.operatorClient.get("/api/v1/audit-log").status == 200)
            #expect(try await server.anonymous.with(key: "a.b.c").get("/api/v1/audit-log").status == 401)
        }
    }

    @Test func algorithmAndLifetimeAreSettings() async throws {
        try await TestServer.run(configure: {
            $0.tokens.algorithm = .rs256
            $0.tokens.lifetimeSeconds = 60
        }) { server in
            let client = try await server.makeOAuthClient([.auditRead])
            let token = try await server.token(of: client)
            let header = try JSONValue(
                parsing: try #require(Base64URL.decoded(String(token.prefix { $0 != "." })))
            )
            #expect(header["alg"]?.string == "RS256")
            let caller = server.anonymous.with(key: token)
            #expect(try await caller.get("/api/v1/audit-log").status == 200)
            server.clock.advance(seconds: 60)
            #expect(try await caller.get("/api/v1/audit-log").status == 401)
        }
    }
}
