import BillingCore
import Crypto
import CryptoExtras
import Foundation
import Web

/// A private key that signs tokens with its one algorithm.
struct JWTSigner: Sendable {
    private enum Key: Sendable {
        case p256(P256.Signing.PrivateKey)
        case rsa(_RSA.Signing.PrivateKey)
    }

    let keyID: String
    private let key: Key

    /// A new key, with a random id.
    init(generating algorithm: SignatureAlgorithm) throws {
        keyID = Base32.random(byteCount: 10)
        key =
            switch algorithm {
            case .es256: .p256(P256.Signing.PrivateKey())
            case .rs256: .rsa(try _RSA.Signing.PrivateKey(keySize: .bits2048))
            }
    }

    /// - Parameter privateKey: what `privateKey` gave.
    init(keyID: String, algorithm: SignatureAlgorithm, privateKey: [UInt8]) throws {
        self.keyID = keyID
        key =
            switch algorithm {
            case .es256: .p256(try P256.Signing.PrivateKey(rawRepresentation: privateKey))
            case .rs256: .rsa(try _RSA.Signing.PrivateKey(derRepresentation: privateKey))
            }
    }

    /// For keeping it, encrypted.
    var privateKey: [UInt8] {
        switch key {
        case .p256(let key): Array(key.rawRepresentation)
        case .rsa(let key): Array(key.derRepresentation)
        }
    }

    var verifier: JWTVerifier {
        switch key {
        case .p256(let key): JWTVerifier(keyID: keyID, key.publicKey)
        case .rsa(let key): JWTVerifier(keyID: keyID, key.publicKey)
        }
    }

    /// The token in the compact form.
    /// - Parameter type: `typ`, which says what the token is for.
    func sign(_ claims: JSONValue, type: String) throws -> String {
        let header = JSONValue.members([
            "alg": .string(verifier.algorithm.rawValue), "kid": .string(keyID), "typ": .string(type),
        ])
        let input = Base64URL.encoded(header.bytes) + "." + Base64URL.encoded(claims.bytes)
        let bytes = Array(input.utf8)
        let signature =
            switch key {
            case .p256(let key): try key.signature(for: bytes).rawRepresentation
            case .rsa(let key): try key.signature(for: bytes, padding: .insecurePKCS1v1_5).rawRepresentation
            }
        return input + "." + Base64URL.encoded(signature)
    }
}
