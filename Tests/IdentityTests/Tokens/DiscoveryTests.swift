import TestSupport
import Testing
import Web

@Suite struct DiscoveryTests {
    @Test func theMetadataSayWhereTheEndpointsAre() async throws {
        try await TestServer.run { server in
            let answer = try await server.anonymous.get("/.well-known/oauth-authorization-server").expecting(200)
            let issuer = TestServer.issuer
            #expect(answer.json["issuer"]?.string == issuer)
            #expect(answer.json["token_endpoint"]?.string == "\(issuer)/oauth/token")
            #expect(answer.json["introspection_endpoint"]?.string == "\(issuer)/oauth/introspect")
            #expect(answer.json["revocation_endpoint"]?.string == "\(issuer)/oauth/revoke")
            #expect(answer.json["jwks_uri"]?.string == "\(issuer)/.well-known/jwks.json")
            #expect(answer.json["grant_types_supported"] == .array([.string("client_credentials")]))
            #expect(answer.json["scopes_supported"]?.elements?.count == Scope.allCases.count)
            let methods = answer.json["token_endpoint_auth_methods_supported"]?.elements?.compactMap(\.string)
            #expect(methods == ["client_secret_basic", "client_secret_post", "private_key_jwt"])
        }
    }

    @Test func theKeysArePublicAndMayBeCachedShorterThanANewOneIsAnnounced() async throws {
        try await TestServer.run { server in
            let answer = try await server.anonymous.get("/.well-known/jwks.json").expecting(200)
            #expect(answer.header("Cache-Control") == "public, max-age=300")
            let key = try #require(answer.json["keys"]?[0])
            #expect(key["kty"]?.string == "EC")
            #expect(key["alg"]?.string == "ES256")
            #expect(key["use"]?.string == "sig")
            #expect(key["d"] == nil)
        }
    }

    @Test func whatBecomesOfTokensIsCounted() async throws {
        try await TestServer.run { server in
            let issued = #"turnpike_oauth_tokens_issued_total{method="client_secret_basic"}"#
            let refused = #"turnpike_oauth_tokens_refused_total{reason="malformed"}"#
            let before = (try await server.counterValue(issued), try await server.counterValue(refused))
            _ = try await server.token(of: try await server.makeOAuthClient([.auditRead]))
            _ = try await server.anonymous.with(key: "a.b.c").get("/api/v1/audit-log")
            #expect(try await server.counterValue(issued) > before.0)
            #expect(try await server.counterValue(refused) > before.1)
        }
    }
}
