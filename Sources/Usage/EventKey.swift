internal import Crypto

/// The identity of an event within its tenant: the first 128 bits of the SHA-256 of its source and id, each preceded by
/// its length in bytes as a 32-bit big-endian integer.
package struct EventKey: Sendable, Hashable, Comparable, CustomStringConvertible {
    package let high: UInt64
    package let low: UInt64

    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    package init(source: String, id: String) {
        self.init(fields: [source, id])
    }

    /// The key of an event whose subject names nobody. Three fields never spell the same bytes as two.
    package init(source: String, id: String, subject: String) {
        self.init(fields: [source, id, subject])
    }

    /// The key of the reversal of an event: three fields again, so that no event can have it.
    package init(reversalOf original: EventKey) {
        self.init(fields: ["turnpike", "reversal", original.description])
    }

    /// The key under which an event that nothing had measured is stored again when it is replayed.
    package init(replayOf original: EventKey) {
        self.init(fields: ["turnpike", "replay", original.description])
    }

    /// The key of a distinct value's canonical text.
    package init(distinctValue text: String) {
        self.init(fields: [text])
    }

    /// Reads back `description`.
    package init?(_ text: String) {
        guard text.utf8.count == 32, let high = UInt64(text.prefix(16), radix: 16),
            let low = UInt64(text.suffix(16), radix: 16)
        else { return nil }
        self.init(high: high, low: low)
    }

    private init(fields: [String]) {
        var bytes: [UInt8] = []
        for field in fields {
            Self.append(length: field.utf8.count, to: &bytes)
            bytes.append(contentsOf: field.utf8)
        }
        self = bytes.withUnsafeBytes { EventKey(hashing: $0) }
    }

    /// Hashes the fields, already preceded by their lengths.
    init(hashing bytes: UnsafeRawBufferPointer) {
        var hasher = SHA256()
        hasher.update(bufferPointer: bytes)
        self = hasher.finalize().withUnsafeBytes { digest in
            EventKey(
                high: UInt64(bigEndian: digest.loadUnaligned(fromByteOffset: 0, as: UInt64.self)),
                low: UInt64(bigEndian: digest.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
            )
        }
    }

    static func append(length: Int, to bytes: inout [UInt8]) {
        withUnsafeBytes(of: UInt32(truncatingIfNeeded: length).bigEndian) { bytes.append(contentsOf: $0) }
    }

    package static func < (left: EventKey, right: EventKey) -> Bool {
        (left.high, left.low) < (right.high, right.low)
    }

    /// 32 hexadecimal digits.
    package var description: String {
        [high, low].map { word in
            let digits = String(word, radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }.joined()
    }
}
