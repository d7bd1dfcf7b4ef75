import BillingCore
import Crypto
import Foundation
import Identity

/// What signs the deliveries of one endpoint, in the forms of Standard Webhooks.
struct WebhookSigningKey: Sendable, CustomStringConvertible {
    private static let purpose = "webhook secrets v1"

    let signing: WebhookSigning
    private let bytes: [UInt8]

    init(generating signing: WebhookSigning) {
        self.signing = signing
        bytes =
            switch signing {
            case .hmac: SymmetricKey(size: .bits256).withUnsafeBytes { Array($0) }
            case .ed25519: Array(Curve25519.Signing.PrivateKey().rawRepresentation)
            }
    }

    /// Throws for what another master key sealed, or for another endpoint.
    init(_ signing: WebhookSigning, sealed: [UInt8], of endpoint: WebhookEndpointID, _ masterKey: MasterKey) throws {
        self.signing = signing
        bytes = try masterKey.open(sealed, for: Self.purpose, name: endpoint.description)
    }

    /// As it is stored.
    func sealed(for endpoint: WebhookEndpointID, _ masterKey: MasterKey) throws -> [UInt8] {
        try masterKey.seal(bytes, for: Self.purpose, name: endpoint.description)
    }

    /// What the receiver verifies with, `whsec_...`; nil where it does so with the public key.
    var secretText: String? {
        signing == .hmac ? "whsec_" + Data(bytes).base64EncodedString() : nil
    }

    /// What the receiver verifies with, `whpk_...`; nil where there is only a secret.
    func publicText() throws -> String? {
        guard signing == .ed25519 else { return nil }
        let key = try Curve25519.Signing.PrivateKey(rawRepresentation: bytes)
        return "whpk_" + key.publicKey.rawRepresentation.base64EncodedString()
    }

    /// One element of `webhook-signature`, over `id.timestamp.body`.
    func signature(of content: [UInt8]) throws -> String {
        switch signing {
        case .hmac:
            let code = HMAC<SHA256>.authenticationCode(for: content, using: SymmetricKey(data: bytes))
            return "v1," + Data(code).base64EncodedString()
        case .ed25519:
            let key = try Curve25519.Signing.PrivateKey(rawRepresentation: bytes)
            return "v1a," + (try key.signature(for: content)).base64EncodedString()
        }
    }

    /// Says nothing of the key, so that one that is interpolated by mistake gives nothing away.
    var description: String { "WebhookSigningKey(redacted)" }
}
