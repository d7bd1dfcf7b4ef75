import Crypto
import CryptoExtras
import Foundation
import Web

/// A public key and the one algorithm its signatures are checked with.
///
/// The algorithm follows from the key and never from a token: a P-256 key checks ES256, an RSA key RS256. So a public
/// key can't be used as the secret of HS256, and no forged header changes how a key is used later.
struct JWTVerifier: Sendable {
    private enum Key: Sendable {
        case p256(P256.Signing.PublicKey)
        case rsa(_RSA.Signing.PublicKey)
    }

    /// Why a key of a set can't be used.
    struct KeyFault: Error, Sendable {
        let member: String
        let detail: String
    }

    private static let rsaBits = 2_048...8_192
    private static let privateMembers = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"]

    let keyID: String?
    let algorithm: SignatureAlgorithm
    private let key: Key

    init(keyID: String?, _ key: P256.Signing.PublicKey) {
        self.keyID = keyID
        self.key = .p256(key)
        algorithm = .es256
    }

    init(keyID: String?, _ key: _RSA.Signing.PublicKey) {
        self.keyID = keyID
        self.key = .rsa(key)
        algorithm = .rs256
    }

    /// A key of RFC 7517. It must be public, meant for signatures, and, if it names an algorithm, mean its own.
    init(jwk: JSONValue) throws(KeyFault) {
        let id = try Self.text(jwk, "kid")
        if let secret = Self.privateMembers.first(where: { jwk[$0] != nil }) {
            throw KeyFault(member: secret, detail: "this is a private key; register the public one")
        }
        switch try Self.text(jwk, "kty") {
        case "EC": self.init(keyID: id, try Self.p256(jwk))
        case "RSA": self.init(keyID: id, try Self.rsa(jwk))
        default: throw KeyFault(member: "kty", detail: "\"kty\" must be \"EC\" or \"RSA\"")
        }
        if let algorithm = try Self.text(jwk, "alg"), algorithm != self.algorithm.rawValue {
            throw KeyFault(member: "alg", detail: "\"alg\" of this key must be \"\(self.algorithm.rawValue)\"")
        }
        if let use = try Self.text(jwk, "use"), use != "sig" {
            throw KeyFault(member: "use", detail: "\"use\" must be \"sig\"")
        }
    }

    /// Throws unless the token names this key and its algorithm and bears its signature. `typ` and the claims are the
    /// caller's to judge.
    func verify(_ token: CompactJWT) throws(JWTFault) {
        guard token.header.algorithm == algorithm.rawValue else { throw .algorithm }
        guard token.header.keyID == nil || token.header.keyID == keyID else { throw .unknownKey }
        let isValid =
            switch key {
            case .p256(let key):
                (try? P256.Signing.ECDSASignature(rawRepresentation: token.signature))
                    .map { key.isValidSignature($0, for: token.signingInput) } ?? false
            case .rsa(let key):
                key.isValidSignature(
                    _RSA.Signing.RSASignature(rawRepresentation: token.signature),
                    for: token.signingInput,
                    padding: .insecurePKCS1v1_5
                )
            }
        guard isValid else { throw .signature }
    }

    /// The public key as RFC 7517 writes it.
    var jwk: JSONValue {
        get throws {
            var members: [(String, String)] = [("alg", algorithm.rawValue)]
            switch key {
            case .p256(let key):
                let point = key.rawRepresentation
                members += [("crv", "P-256"), ("kty", "EC")]
                members += [("x", Base64URL.encoded(point.prefix(32))), ("y", Base64URL.encoded(point.suffix(32)))]
            case .rsa(let key):
                let numbers = try key.getKeyPrimitives()
                members += [("e", Base64URL.encoded(numbers.publicExponent)), ("kty", "RSA")]
                members += [("n", Base64URL.encoded(numbers.modulus))]
            }
            if let keyID { members.append(("kid", keyID)) }
            members.append(("use", "sig"))
            return .object(members.map { JSONMember(name: $0.0, value: .string($0.1)) })
        }
    }

    private static func p256(_ jwk: JSONValue) throws(KeyFault) -> P256.Signing.PublicKey {
        guard try text(jwk, "crv") == "P-256" else {
            throw KeyFault(member: "crv", detail: "\"crv\" must be \"P-256\"")
        }
        let (x, y) = (try bytes(jwk, "x"), try bytes(jwk, "y"))
        // The key is made only of a point on the curve.
        guard x.count == 32, y.count == 32, let key = try? P256.Signing.PublicKey(rawRepresentation: x + y) else {
            throw KeyFault(member: "x", detail: "\"x\" and \"y\" must be a point on P-256")
        }
        return key
    }

    private static func rsa(_ jwk: JSONValue) throws(KeyFault) -> _RSA.Signing.PublicKey {
        let (modulus, exponent) = (try bytes(jwk, "n"), try bytes(jwk, "e"))
        guard modulus.count <= rsaBits.upperBound / 8, exponent.count <= 4,
            let key = try? _RSA.Signing.PublicKey(n: modulus, e: exponent), rsaBits.contains(key.keySizeInBits)
        else {
            let range = "\(rsaBits.lowerBound) to \(rsaBits.upperBound)"
            throw KeyFault(member: "n", detail: "\"n\" and \"e\" must be an RSA key of \(range) bits")
        }
        return key
    }

    private static func bytes(_ jwk: JSONValue, _ name: String) throws(KeyFault) -> [UInt8] {
        guard let bytes = try text(jwk, name).flatMap(Base64URL.decoded), !bytes.isEmpty else {
            throw KeyFault(member: name, detail: "\"\(name)\" must be base64url")
        }
        return bytes
    }

    private static func text(_ jwk: JSONValue, _ name: String) throws(KeyFault) -> String? {
        guard let value = jwk[name] else { return nil }
        guard case .string(let text) = value, text.utf8.count <= 2_048 else {
            throw KeyFault(member: name, detail: "\"\(name)\" must be a string")
        }
        return text
    }
}
