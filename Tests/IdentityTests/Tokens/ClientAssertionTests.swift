import BillingCore
import TestSupport
import Testing
import Web

@testable import Identity

/// `private_key_jwt` at the token endpoint.
@Suite struct ClientAssertionTests {
    /// A client with a key of its own, and the means to make assertions.
    private struct KeyHolder {
        let server: TestServer
        let id: String
        let signer: JWTSigner

        init(_ server: TestServer, _ algorithm: SignatureAlgorithm = .es256) async throws {
            self.server = server
            signer = try JWTSigner(generating: algorithm)
            let body = """
                {"name": "gateway", "scopes": ["audit:read"], "token_endpoint_auth_method": "private_key_jwt",
                 "jwks": {"keys": [\(try signer.verifier.jwk.text)]}}
                """
            let made = try await server.operatorClient.post("/api/v1/clients", body).expecting(201)
            #expect(made.json["client_secret"] == nil)
            id = try #require(made.json["client_id"]?.string)
        }

        /// - Parameter changes: claims that replace the good ones, or null to leave one out.
        func assertion(
            _ changes: [String: JSONValue] = [:],
            by other: JWTSigner? = nil,
            type: String = "JWT"
        ) throws -> String {
            let now = server.clock.now.microseconds / 1_000_000
            var claims: [String: JSONValue] = [
                "iss": .string(id), "sub": .string(id), "aud": .string(TestServer.issuer),
                "jti": .string("id-\(UInt64.random(in: .min ... .max))"), "iat": .number(String(now)),
                "exp": .number(String(now + 300)),
            ]
            claims.merge(changes) { $1 }
            let members = claims.filter { $0.value != .null }.map { JSONMember(name: $0.key, value: $0.value) }
            return try (other ?? signer).sign(.object(members), type: type)
        }

        func answer(to assertion: String, _ more: [(String, String)] = []) async throws -> TestResponse {
            // Refusals are limited, and this is about what is refused.
            server.clock.advance(seconds: 1)
            return try await server.anonymous.form(
                "/oauth/token",
                [
                    ("grant_type", "client_credentials"), ("client_assertion", assertion),
                    ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
                ] + more
            )
        }
    }

    @Test(arguments: SignatureAlgorithm.allCases)
    func anAssertionWorksOnce(_ algorithm: SignatureAlgorithm) async throws {
        try await TestServer.run { server in
            let holder = try await KeyHolder(server, algorithm)
            let assertion = try holder.assertion()
            let first = try await holder.answer(to: assertion, [("client_id", holder.id)]).expecting(200)
            let caller = server.anonymous.with(key: first.json["access_token"]?.string)
            #expect(try await caller.get("/api/v1/audit-log").status == 200)
            let replayed = try await holder.answer(to: assertion)
            #expect(replayed.status == 401)
            #expect(replayed.json["error"]?.string == "invalid_client")
            #expect(try await holder.answer(to: try holder.assertion()).status == 200)
        }
    }

    @Test func ofOneAssertionOnTwoReplicasAtOnceOneWorks() async throws {
        try await TestServer.run { first in
            try await TestServer.run(on: first.database, clock: first.clock) { second in
                let holder = try await KeyHolder(first)
                for _ in 0..<10 {
                    let body = [
                        ("grant_type", "client_credentials"), ("client_assertion", try holder.assertion()),
                        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
                    ]
                    async let here = first.anonymous.form("/oauth/token", body).status
                    async let there = second.anonymous.form("/oauth/token", body).status
                    #expect(try await [here, there].sorted() == [200, 401])
                    first.clock.advance(seconds: 10)
                }
            }
        }
    }

    @Test func whatIsNoGoodAssertionIsRefused() async throws {
        try await TestServer.run { server in
            let holder = try await KeyHolder(server)
            let other = try await KeyHolder(server)
            let now = server.clock.now.microseconds / 1_000_000
            let elsewhere = JSONValue.string("https://elsewhere.test")
            let endpoint = JSONValue.string(TestServer.issuer + "/oauth/token")
            let token = try #require(try await holder.answer(to: try holder.assertion()).json["access_token"]?.string)
            let bad: [(String, String)] = [
                ("another audience", try holder.assertion(["aud": elsewhere])),
                ("the endpoint as audience", try holder.assertion(["aud": endpoint])),
                ("two audiences", try holder.assertion(["aud": .array([.string(TestServer.issuer), elsewhere])])),
                ("another issuer", try holder.assertion(["iss": .string(other.id)])),
                ("no subject", try holder.assertion(["sub": .null])),
                ("another client", try holder.assertion(["iss": .string(other.id), "sub": .string(other.id)])),
                ("no jti", try holder.assertion(["jti": .null])),
                ("a long jti", try holder.assertion(["jti": .string(String(repeating: "j", count: 256))])),
                ("no expiry", try holder.assertion(["exp": .null])),
                ("expired", try holder.assertion(["exp": .number(String(now - 61))])),
                ("an expiry too far away", try holder.assertion(["exp": .number(String(now + 4_000))])),
                ("not valid yet", try holder.assertion(["nbf": .number(String(now + 600))])),
                ("issued in the future", try holder.assertion(["iat": .number(String(now + 600))])),
                ("a foreign key", try holder.assertion(by: try JWTSigner(generating: .es256))),
                ("another client's key", try holder.assertion(by: other.signer)),
                ("typ of an access token", try holder.assertion(type: "at+jwt")),
                ("an access token", token),
                ("too long", try holder.assertion(["x": .string(String(repeating: "x", count: 9_000))])),
            ]
            for (what, assertion) in bad {
                let answer = try await holder.answer(to: assertion)
                #expect(answer.status == 401, "\(what): \(answer)")
                #expect(answer.json["error"]?.string == "invalid_client", "\(what): \(answer)")
            }
            let mismatch = try await holder.answer(to: try holder.assertion(), [("client_id", other.id)])
            #expect(mismatch.json["error"]?.string == "invalid_request")
        }
    }

    @Test func aClientsNewKeyReplacesItsOldOne() async throws {
        try await TestServer.run { server in
            let holder = try await KeyHolder(server)
            let new = try JWTSigner(generating: .rs256)
            let one = "/api/v1/clients/\(holder.id)"
            #expect(try await server.operatorClient.post("\(one)/rotate-secret").code == "client_has_no_secret")
            let jwks = #"{"jwks": {"keys": [\#(try new.verifier.jwk.text)]}}"#
            try await server.operatorClient.patch(one, jwks).expecting(200)
            #expect(try await holder.answer(to: try holder.assertion()).status == 401)
            #expect(try await holder.answer(to: try holder.assertion(by: new)).status == 200)
        }
    }
}
