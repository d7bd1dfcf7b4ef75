package import Crypto
import Foundation
import Web

/// `TURNPIKE_MASTER_KEY`: 256 bits from which the keys are derived that encrypt secrets at rest. It is never used
/// itself and never stored.
package struct MasterKey: Sendable, CustomStringConvertible {
    package static let expectation = "32 random bytes in base64 or as 64 hexadecimal digits"
    private static let byteCount = 32

    private let root: SymmetricKey

    /// Nil for anything but 32 bytes in base64, base64url or hexadecimal.
    package init?(parsing text: String) {
        guard let bytes = Self.hexadecimal(text) ?? Self.base64(text), bytes.count == Self.byteCount else { return nil }
        root = SymmetricKey(data: bytes)
    }

    /// A new one as text.
    package static func random() -> String {
        SymmetricKey(size: .bits256).withUnsafeBytes { Data($0).base64EncodedString() }
    }

    /// The key for one purpose, by HKDF-SHA256: nothing encrypted for one opens for another.
    package func key(for purpose: String) -> SymmetricKey {
        HKDF<SHA256>.deriveKey(
            inputKeyMaterial: root,
            info: Array("turnpike \(purpose)".utf8),
            outputByteCount: Self.byteCount
        )
    }

    /// AES-256-GCM under the purpose's key. `name` binds what is sealed to its row, so that it can't be moved to
    /// another.
    package func seal(_ bytes: [UInt8], for purpose: String, name: String) throws -> [UInt8] {
        let box = try AES.GCM.seal(bytes, using: key(for: purpose), authenticating: Array(name.utf8))
        // `combined` is nil only for a nonce of another size than the default.
        guard let combined = box.combined else { throw CryptoKitError.incorrectParameterSize }
        return Array(combined)
    }

    /// Throws for what another master key sealed.
    package func open(_ sealed: [UInt8], for purpose: String, name: String) throws -> [UInt8] {
        let box = try AES.GCM.SealedBox(combined: sealed)
        return Array(try AES.GCM.open(box, using: key(for: purpose), authenticating: Array(name.utf8)))
    }

    /// Says nothing of the key, so that one that is interpolated by mistake gives nothing away.
    package var description: String { "MasterKey(redacted)" }

    private static func hexadecimal(_ text: String) -> [UInt8]? {
        guard text.utf8.count == 2 * byteCount else { return nil }
        var bytes: [UInt8] = []
        var rest = text[...]
        while !rest.isEmpty {
            let pair = rest.prefix(2)
            guard pair.utf8.count == 2, pair.allSatisfy(\.isHexDigit), let byte = UInt8(pair, radix: 16) else {
                return nil
            }
            bytes.append(byte)
            rest = rest.dropFirst(2)
        }
        return bytes
    }

    private static func base64(_ text: String) -> [UInt8]? {
        Data(base64Encoded: text).map { Array($0) } ?? Base64URL.decoded(text)
    }
}
