import BillingCore
import Crypto
import Foundation
import Postgres
import TestSupport
import Testing
import TurnpikeServer
import Web

@testable import Identity

/// Every operation of the contract by every role, and with everything that is no credential.
@Suite(.timeLimit(.minutes(15)))
struct RoleMatrixTests {
    @Test("each operation lets in the roles whose scopes it names, and nobody whose credential is not good")
    func everyRoleTriesEveryOperation() async throws {
        let operations = try ContractDocument().operations().filter { !$0.isOpen }
        try await TestServer.run(configure: Self.withoutLimits) { server in
            for tenant in ["acme", "globex"] { try await server.addTenant(tenant) }
            let bad = try await Self.badCredentials(server)
            var cells = 0
            for operation in operations {
                let path = RunningServiceTests.examplePath(operation.path)
                for (kind, client) in bad {
                    let answer = try await client.send(operation.method, path, body: nil)
                    #expect(answer.status == 401, "\(operation) with \(kind): \(answer)")
                    #expect(
                        answer.header("WWW-Authenticate")?.hasPrefix("Bearer ") == true,
                        "\(operation) with \(kind)"
                    )
                    cells += 1
                }
            }
            // The operator comes last: without a body it may suspend the tenant of the others.
            for preset in ScopePreset.allCases.sorted(by: { $1 == .operator && $0 != .operator }) {
                let client = try await Self.client(of: preset, server)
                for operation in operations {
                    let path = RunningServiceTests.examplePath(operation.path)
                    let answer = try await client.send(operation.method, path, body: nil)
                    let isAllowed =
                        !operation.scopes.isDisjoint(with: preset.scopes.names)
                        && (Self.furtherScopes[operation.id].map { preset.scopes.contains($0) } ?? true)
                    let isRefused = answer.status == 403 && answer.code == "insufficient_scope"
                    #expect(answer.status != 401 && isRefused != isAllowed, "\(operation) as \(preset): \(answer)")
                    #expect(answer.status < 500, "\(operation) as \(preset): \(answer)")
                    cells += 1
                }
            }
            print("role matrix: \(operations.count) operations, \(cells) cells")
        }
    }

    @Test("a token of another tenant with every scope gets nothing under a tenant's path")
    func anotherTenantsTokenOpensNoPath() async throws {
        let operations = try ContractDocument().operations().filter { $0.path.hasPrefix("/api/v1/tenants/{key}") }
        try await TestServer.run { server in
            for tenant in ["acme", "globex"] { try await server.addTenant(tenant) }
            let other = try await server.makeOAuthClient(Scope.allCases, tenant: "globex")
            let client = server.anonymous.with(key: try await server.token(of: other))
            for operation in operations {
                let path = RunningServiceTests.examplePath(operation.path)
                let answer = try await client.send(operation.method, path, body: nil)
                let absent = path.replacing("/tenants/acme", with: "/tenants/nobody")
                let expected = try await client.send(operation.method, absent, body: nil)
                #expect([400, 403, 404].contains(answer.status), "\(operation): \(answer)")
                #expect(answer.status == expected.status && answer.code == expected.code, "\(operation): \(answer)")
            }
            #expect(operations.count > 10)
        }
    }

    /// What an operation needs beside one of the scopes that it names: its description says so.
    private static let furtherScopes: [String: ScopeSet] = ["tryPlanVersion": .catalogRead]

    /// A client's failures are counted (ADR 0018), and these are many.
    private static func withoutLimits(_ configuration: inout Configuration) {
        configuration.authenticationLimits.failuresPerAddress = 0
        configuration.authenticationLimits.failuresPerCredential = 0
    }

    /// A gateway, finance and an operator have OAuth tokens, a customer has a portal session.
    private static func client(of preset: ScopePreset, _ server: TestServer) async throws -> TestClient {
        guard preset == .portal else {
            let client = try await server.makeOAuthClient(preset.scopes.scopes)
            return server.anonymous.with(key: try await server.token(of: client))
        }
        let session = try await server.operatorClient.post("/api/v1/tenants/acme/portal-sessions").expecting(201)
        return server.anonymous.with(key: session.json["token"]?.string)
    }

    /// What must open nothing, though it was made of a token that has every scope.
    private static func badCredentials(_ server: TestServer) async throws -> [(String, TestClient)] {
        let owner = try await server.makeOAuthClient(Scope.allCases)
        let expired = try await server.token(of: owner)
        server.clock.advance(seconds: 3_600)
        let revoked = try await server.token(of: owner)
        try await server.anonymous.form(
            "/oauth/revoke",
            [("token", revoked)],
            headers: ["Authorization": owner.basic]
        ).expecting(200)
        let good = try await server.token(of: owner)
        let check = try await server.anonymous.with(key: good).get("/api/v1/audit-log")
        #expect(check.status == 200, "\(check)")
        let forged = try await Self.forged(good, server)
        let foreign = try await Self.forAnotherAudience(good, server)
        let texts = [("no token", nil), ("expired", expired), ("revoked", revoked), ("of another audience", foreign)]
        return try await (texts + forged + Self.spentSecrets(server)).map { ($0.0, server.anonymous.with(key: $0.1)) }
    }

    /// The token as it is, for somebody else, signed by the service's own key. That the same way of making it gives a
    /// good token where the audience is kept shows that nothing else is wrong with it.
    private static func forAnotherAudience(_ token: String, _ server: TestServer) async throws -> String {
        let pool = PostgresPool(PostgresConfiguration(url: server.database.url), logger: .silent)
        let keys = try await SigningKeyStore.all(pool: pool)
        await pool.close()
        let masterKey = try #require(MasterKey(parsing: TestServer.masterKey))
        let signer = try #require(keys.first?.signer(masterKey))
        guard case .object(let members) = try CompactJWT(parsing: token).claims.json else { return "" }
        func signed(for audience: String) throws -> String {
            let rest = members.filter { $0.name != "aud" && $0.name != "jti" }
            let id = JSONMember(name: "jti", value: .string(IDSource.random(.system).next().description))
            let claims = rest + [id, JSONMember(name: "aud", value: .string(audience))]
            return try signer.sign(.object(claims), type: AccessToken.type)
        }
        let own = server.anonymous.with(key: try signed(for: TestServer.issuer))
        try await own.get("/api/v1/audit-log").expecting(200)
        return try signed(for: "https://elsewhere.test")
    }

    /// A key that has expired and one that was revoked, and the same of a customer's session.
    private static func spentSecrets(_ server: TestServer) async throws -> [(String, String?)] {
        let owner = server.operatorClient
        let soon = server.clock.now.adding(seconds: 60)
        let scopes = Scope.allCases.map { "\"\($0.rawValue)\"" }.joined(separator: ",")
        let key = #"{"name": "short", "scopes": [\#(scopes)], "expires_at": "\#(soon)"}"#
        let expired = try await owner.post("/api/v1/api-keys", key).expecting(201)
        let sessions = "/api/v1/tenants/acme/portal-sessions"
        let ended = try await owner.post(sessions, #"{"ttl_seconds": 60}"#).expecting(201)
        server.clock.advance(seconds: 61)
        let revoked = try await owner.post("/api/v1/api-keys", #"{"name": "gone", "scopes": [\#(scopes)]}"#).expecting(
            201
        )
        try await owner.delete("/api/v1/api-keys/\(revoked.json["id"]?.string ?? "")").expecting(204)
        let closed = try await owner.post(sessions).expecting(201)
        try await owner.delete("\(sessions)/\(closed.json["id"]?.string ?? "")").expecting(204)
        return [
            ("an expired key", expired.json["key"]?.string), ("a revoked key", revoked.json["key"]?.string),
            ("an ended session", ended.json["token"]?.string), ("a revoked session", closed.json["token"]?.string),
        ]
    }

    /// The token unsigned, signed with the public key as if it were a secret, and with another payload.
    private static func forged(_ token: String, _ server: TestServer) async throws -> [(String, String?)] {
        let parts = token.split(separator: ".").map(String.init)
        let keys = try await server.anonymous.get("/.well-known/jwks.json").expecting(200)
        let key = try #require(keys.json["keys"]?[0])
        let keyID = key["kid"]?.string ?? ""
        func header(_ algorithm: String) -> String {
            Base64URL.encoded(#"{"alg":"\#(algorithm)","kid":"\#(keyID)","typ":"at+jwt"}"#.utf8)
        }
        let unsigned = "\(header("none")).\(parts[1])."
        let signed = "\(header("HS256")).\(parts[1])"
        let secret = SymmetricKey(data: Array(key.text.utf8))
        let code = HMAC<SHA256>.authenticationCode(for: Array(signed.utf8), using: secret)
        let payload = try #require(Base64URL.decoded(parts[1]).map { String(decoding: $0, as: UTF8.self) })
        let altered = payload.replacing(#""iat":"#, with: #""x":1,"iat":"#)
        #expect(altered != payload)
        return [
            ("unsigned", unsigned), ("signed with the public key", "\(signed).\(Base64URL.encoded(code))"),
            ("altered", "\(parts[0]).\(Base64URL.encoded(altered.utf8)).\(parts[2])"),
        ]
    }
}
