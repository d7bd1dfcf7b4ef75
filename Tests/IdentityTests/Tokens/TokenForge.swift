import BillingCore
import Crypto
import Foundation
import Postgres
import TestSupport
import Testing
import Web

@testable import Identity

/// A server's signing key in the hands of a test, and a token it has signed: what forgeries are made from.
struct TokenForge {
    let server: TestServer
    let signer: JWTSigner
    let claims: JSONValue
    let genuine: String

    init(_ server: TestServer) async throws {
        self.server = server
        let client = try await server.makeOAuthClient([.auditRead])
        genuine = try await server.token(of: client)
        claims = try CompactJWT(parsing: genuine).claims.json
        let pool = PostgresPool(PostgresConfiguration(url: server.database.url), logger: .silent)
        let keys = try await SigningKeyStore.all(pool: pool)
        await pool.close()
        let masterKey = try #require(MasterKey(parsing: TestServer.masterKey))
        signer = try #require(keys.first?.signer(masterKey))
    }

    func answer(to token: String) async throws -> TestResponse {
        // Refusals are limited, and this is about what is refused.
        server.clock.advance(seconds: 1)
        return try await server.anonymous.with(key: token).get("/api/v1/audit-log")
    }

    /// Signed by the genuine key, with some claims replaced, or left out where the value is null.
    func signed(_ changes: [String: JSONValue]) throws -> String {
        guard case .object(let members) = claims else { return "" }
        let kept = members.filter { changes[$0.name] == nil }
        let new = changes.filter { $0.value != .null }.map { JSONMember(name: $0.key, value: $0.value) }
        return try signer.sign(.object(kept + new), type: AccessToken.type)
    }

    func badSignatures() throws -> [(what: String, token: String)] {
        let parts = genuine.split(separator: ".").map(String.init)
        let (payload, signature) = (parts[1], parts[2])
        let none = encoded(#"{"alg":"none","kid":"\#(signer.keyID)","typ":"at+jwt"}"#)
        let confused = encoded(#"{"alg":"HS256","kid":"\#(signer.keyID)","typ":"at+jwt"}"#) + "." + payload
        let secrets = [try signer.verifier.jwk.bytes, Array(try publicKey.pemRepresentation.utf8)]
        let altered = encoded(claims.text.replacing("audit:read", with: "identity:write"))
        return [
            ("no signature, alg none", "\(none).\(payload)."),
            ("alg none with the genuine signature", "\(none).\(payload).\(signature)"),
            ("altered payload", "\(parts[0]).\(altered).\(signature)"),
            ("altered signature", "\(parts[0]).\(payload).\(signature.dropLast(4))AAAA"),
            ("a foreign key", try JWTSigner(generating: .es256).sign(claims, type: AccessToken.type)),
            ("a foreign key under our kid", try underOurKeyID(try JWTSigner(generating: .es256))),
            ("RS256 under our kid", try underOurKeyID(try JWTSigner(generating: .rs256))),
        ]
            + secrets.map { secret in
                let code = HMAC<SHA256>.authenticationCode(
                    for: Array(confused.utf8),
                    using: SymmetricKey(data: secret)
                )
                return ("HS256 with the public key as its secret", confused + "." + Base64URL.encoded(code))
            }
    }

    /// All with a good signature of our key.
    func badHeaders() throws -> [(what: String, token: String)] {
        let kid = signer.keyID
        return try [
            ("another alg", #"{"alg":"RS256","kid":"\#(kid)","typ":"at+jwt"}"#),
            ("no alg", #"{"kid":"\#(kid)","typ":"at+jwt"}"#),
            ("no kid", #"{"alg":"ES256","typ":"at+jwt"}"#),
            ("unknown kid", #"{"alg":"ES256","kid":"zz","typ":"at+jwt"}"#),
            ("kid that is no text", #"{"alg":"ES256","kid":7,"typ":"at+jwt"}"#),
            ("typ JWT", #"{"alg":"ES256","kid":"\#(kid)","typ":"JWT"}"#),
            ("no typ", #"{"alg":"ES256","kid":"\#(kid)"}"#),
            ("a critical extension", #"{"alg":"ES256","crit":["b64"],"b64":true,"kid":"\#(kid)","typ":"at+jwt"}"#),
            ("alg twice", #"{"alg":"ES256","alg":"none","kid":"\#(kid)","typ":"at+jwt"}"#),
            ("no JSON", "alg=ES256"),
        ].map { what, header in
            let input = encoded(header) + "." + Base64URL.encoded(claims.bytes)
            let key = try P256.Signing.PrivateKey(rawRepresentation: signer.privateKey)
            let signature = try key.signature(for: Array(input.utf8)).rawRepresentation
            return (what, input + "." + Base64URL.encoded(signature))
        }
    }

    func badClaims() throws -> [(what: String, token: String)] {
        let now = server.clock.now.microseconds / 1_000_000
        return try [
            ("another issuer", ["iss": .string("https://elsewhere.test")]),
            ("no issuer", ["iss": .null]),
            ("another audience", ["aud": .string("https://elsewhere.test")]),
            ("no audience", ["aud": .null]),
            ("expired", ["exp": .number(String(now))]),
            ("no expiry", ["exp": .null]),
            ("an expiry that is no number", ["exp": .string("never")]),
            ("an expiry beyond all time", ["exp": .number("1e300")]),
            ("not valid yet", ["nbf": .number(String(now + 600))]),
            ("no jti", ["jti": .null]),
            ("another subject", ["sub": .string("somebody")]),
            ("an unknown client", ["sub": .string("x"), "client_id": .string("x")]),
        ].map { what, changes in (what, try signed(changes)) }
    }

    func badForms() -> [(what: String, token: String)] {
        let parts = genuine.split(separator: ".")
        return [
            ("too long", genuine + String(repeating: "A", count: CompactJWT.maximumBytes)),
            ("padded base64", "\(genuine)=="),
            ("two parts", "\(parts[0]).\(parts[1])"),
            ("four parts", "\(genuine).x"),
            ("nothing between dots", ".."),
        ]
    }

    private var publicKey: P256.Signing.PublicKey {
        get throws { try P256.Signing.PrivateKey(rawRepresentation: signer.privateKey).publicKey }
    }

    private func underOurKeyID(_ other: JWTSigner) throws -> String {
        let algorithm = other.verifier.algorithm
        let disguised = try JWTSigner(keyID: signer.keyID, algorithm: algorithm, privateKey: other.privateKey)
        return try disguised.sign(claims, type: AccessToken.type)
    }

    private func encoded(_ text: String) -> String {
        Base64URL.encoded(text.utf8)
    }
}
