/// A time-ordered identifier: RFC 9562, section 5.7. It sorts by its creation time in milliseconds.
@usableFromInline
package struct UUIDv7: Sendable, Hashable {
    /// The first eight bytes, most significant first: 48 bits of time, the version, 12 random bits.
    @usableFromInline package let high: UInt64
    /// The last eight bytes: the variant and 62 random bits.
    @usableFromInline package let low: UInt64

    /// Stored bytes as they are.
    @inlinable
    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// A new identifier from milliseconds since 1970 (the lower 48 bits count) and the caller's random bits, of which
    /// 12 and 62 are used.
    package init(milliseconds: Int64, random: (UInt16, UInt64)) {
        high = UInt64(truncatingIfNeeded: milliseconds) << 16 | 0x7000 | UInt64(random.0 & 0x0FFF)
        low = 0x8000_0000_0000_0000 | random.1 & 0x3FFF_FFFF_FFFF_FFFF
    }

    /// Sorts before every identifier that is made.
    package static let zero = UUIDv7(high: 0, low: 0)

    /// Milliseconds since 1970.
    package var milliseconds: Int64 { Int64(high >> 16) }
}

extension UUIDv7: Comparable {
    @inlinable
    package static func < (left: UUIDv7, right: UUIDv7) -> Bool {
        left.high == right.high ? left.low < right.low : left.high < right.high
    }
}

extension UUIDv7: CustomStringConvertible {
    /// Reads the canonical form of 36 characters, in either case. Nil for any other text, version or variant.
    package init?(_ text: String) {
        guard text.utf8.count == 36 else { return nil }
        var words: (high: UInt64, low: UInt64) = (0, 0)
        for (index, byte) in text.utf8.enumerated() {
            if Self.isHyphenPosition(index) {
                guard byte == UInt8(ascii: "-") else { return nil }
                continue
            }
            guard let digit = Self.hexadecimalValue(byte) else { return nil }
            if index < 18 { words.high = words.high << 4 | digit } else { words.low = words.low << 4 | digit }
        }
        guard words.high >> 12 & 0xF == 7, words.low >> 62 == 0b10 else { return nil }
        self.init(high: words.high, low: words.low)
    }

    /// The canonical form in lower case: `018f2b6e-7c1a-7c3d-8a55-0123456789ab`.
    @usableFromInline
    package var description: String {
        String(unsafeUninitializedCapacity: 36) { bytes in
            var position = 0
            for half in 0..<2 {
                let word = half == 0 ? high : low
                for shift in stride(from: 60, through: 0, by: -4) {
                    let digit = UInt8(truncatingIfNeeded: word >> UInt64(shift) & 0xF)
                    bytes[position] = digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10
                    position += 1
                    if Self.isHyphenPosition(position) {
                        bytes[position] = UInt8(ascii: "-")
                        position += 1
                    }
                }
            }
            return 36
        }
    }

    private static func isHyphenPosition(_ index: Int) -> Bool {
        index == 8 || index == 13 || index == 18 || index == 23
    }

    private static func hexadecimalValue(_ byte: UInt8) -> UInt64? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt64(byte - UInt8(ascii: "0"))
        case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt64(byte - UInt8(ascii: "a") + 10)
        case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt64(byte - UInt8(ascii: "A") + 10)
        default: nil
        }
    }
}

/// A subscription of a tenant to a plan.
@usableFromInline
package struct SubscriptionID: UUIDIdentifier {
    @usableFromInline package let rawValue: UUIDv7

    @inlinable
    package init(rawValue: UUIDv7) {
        self.rawValue = rawValue
    }
}
