import Crypto

/// The text a caller presents: `tpk_<key id>_<secret>`, or `tps_...` for a portal session. The id names the key in
/// lists and logs; the secret is shown once and kept as its SHA-256. 256 random bits need no slow hash.
package struct APIKeyText: Sendable, CustomStringConvertible {
    package enum Kind: String, Sendable, CaseIterable {
        case apiKey = "tpk"
        case portalSession = "tps"

        /// Whether the text claims to be one.
        func isKind(of text: String) -> Bool {
            text.utf8.starts(with: rawValue.utf8) && text.utf8.dropFirst(rawValue.utf8.count).first == UInt8(ascii: "_")
        }
    }

    package let kind: Kind
    package let id: String
    package let secret: String

    /// What the format demands of keys that people make up themselves, such as `TURNPIKE_OPERATOR_KEY`.
    package static let expectation =
        "tpk_<key id>_<secret>: a key id of 4 to 32 lower-case letters and digits and a secret of 32 to 128 letters "
        + "and digits"

    /// A fresh key: an id of 80 and a secret of 256 random bits. With an id, a fresh secret for that key.
    package init(kind: Kind = .apiKey, id: String? = nil) {
        self.kind = kind
        self.id = id ?? Base32.random(byteCount: 10)
        secret = Base32.random(byteCount: 32)
    }

    package enum Fault: Error, Equatable, CustomStringConvertible {
        case parts(Int)
        case prefix(Kind)
        case id
        case secretLength(Int)
        case secretCharacters

        package var description: String {
            switch self {
            case .parts(let count): "it has \(count) parts separated by '_', not 3"
            case .prefix(let kind): "it does not start with '\(kind.rawValue)_'"
            case .id: "its key id is not 4 to 32 lower-case letters and digits"
            case .secretLength(let count): "its secret has \(count) characters, not 32 to 128"
            case .secretCharacters: "its secret has characters other than ASCII letters and digits"
            }
        }
    }

    package init(parsing text: String, as kind: Kind = .apiKey) throws(Fault) {
        var text = text
        self = try text.withUTF8 { bytes in
            Result { () throws(Fault) in try APIKeyText(bytes, as: kind) }
        }.get()
    }

    private init(_ bytes: UnsafeBufferPointer<UInt8>, as kind: Kind) throws(Fault) {
        let separator = UInt8(ascii: "_")
        let first = bytes.firstIndex(of: separator) ?? bytes.endIndex
        guard bytes[..<first].elementsEqual(kind.rawValue.utf8) else { throw .prefix(kind) }
        let rest = bytes[first...].dropFirst()
        guard let second = rest.firstIndex(of: separator) else { throw .parts(first == bytes.endIndex ? 1 : 2) }
        let (id, secret) = (rest[..<second], rest[second...].dropFirst())
        let more = secret.count { $0 == separator }
        guard more == 0 else { throw .parts(3 + more) }
        guard (4...32).contains(id.count), id.allSatisfy(Self.isIDByte) else { throw .id }
        guard (32...128).contains(secret.count) else { throw .secretLength(secret.count) }
        guard secret.allSatisfy(Self.isSecretByte) else { throw .secretCharacters }
        self.kind = kind
        self.id = String(decoding: id, as: UTF8.self)
        self.secret = String(decoding: secret, as: UTF8.self)
    }

    package var text: String { "\(kind.rawValue)_\(id)_\(secret)" }
    /// Without the secret, so that a key that is interpolated by mistake gives nothing away.
    package var description: String { "\(kind.rawValue)_\(id)_..." }

    package var credentialID: String {
        switch kind {
        case .apiKey: "key:\(id)"
        case .portalSession: "session:\(id)"
        }
    }

    package var secretHash: SecretHash {
        var secret = secret
        return secret.withUTF8 { bytes in
            var hash = SHA256()
            hash.update(bufferPointer: UnsafeRawBufferPointer(bytes))
            return hash.finalize().withUnsafeBytes { SecretHash(bytes: Array($0)) }
        }
    }

    private static func isIDByte(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }

    private static func isSecretByte(_ byte: UInt8) -> Bool {
        isIDByte(byte) || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
    }
}

/// The SHA-256 of a secret.
package struct SecretHash: Sendable, Equatable {
    package let bytes: [UInt8]

    package init(bytes: [UInt8]) {
        self.bytes = bytes
    }

    package static func == (left: SecretHash, right: SecretHash) -> Bool {
        left.matches(right)
    }

    /// Takes the same time wherever the two differ.
    package func matches(_ other: SecretHash) -> Bool {
        guard bytes.count == other.bytes.count else { return false }
        return zip(bytes, other.bytes).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }
}

/// Base32 of RFC 4648 in lower case, without padding: it has no underscore and survives being read aloud.
enum Base32 {
    private static let alphabet = Array("abcdefghijklmnopqrstuvwxyz234567".utf8)

    static func random(byteCount: Int) -> String {
        var generator = SystemRandomNumberGenerator()
        return encoded((0..<byteCount).map { _ in UInt8.random(in: .min ... .max, using: &generator) })
    }

    static func isDigit(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "2")...UInt8(ascii: "7")).contains(byte)
    }

    static func encoded(_ bytes: [UInt8]) -> String {
        var digits: [UInt8] = []
        var buffer: UInt32 = 0
        var bits = 0
        for byte in bytes {
            buffer = buffer << 8 | UInt32(byte)
            bits += 8
            while bits >= 5 {
                bits -= 5
                digits.append(alphabet[Int(buffer >> UInt32(bits) & 31)])
            }
        }
        if bits > 0 { digits.append(alphabet[Int(buffer << UInt32(5 - bits) & 31)]) }
        return String(decoding: digits, as: UTF8.self)
    }
}
