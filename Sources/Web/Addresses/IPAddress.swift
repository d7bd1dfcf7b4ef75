import Foundation
package import NIOCore

/// An IPv4 or IPv6 address. An IPv4 address in the dress of IPv6 (`::ffff:192.0.2.1`, RFC 4291 section 2.5.5.2) is the
/// IPv4 address, so that no list of addresses can be got around by dressing.
package struct IPAddress: Hashable, Sendable, CustomStringConvertible {
    /// An IPv4 address as IPv6 maps it: both kinds are one row of numbers.
    package let bits: UInt128

    package init(bits: UInt128) {
        self.bits = bits
    }

    /// `192.0.2.1` or `2001:db8::1`, without brackets, port or zone.
    package init?(_ text: String) {
        var v4 = in_addr()
        var v6 = in6_addr()
        if inet_pton(AF_INET, text, &v4) == 1 {
            self.init(v4)
        } else if inet_pton(AF_INET6, text, &v6) == 1 {
            self.init(v6)
        } else {
            return nil
        }
    }

    /// Nil for what is no IP address, such as a Unix socket.
    package init?(_ address: SocketAddress?) {
        switch address {
        case .v4(let v4): self.init(v4.address.sin_addr)
        case .v6(let v6): self.init(v6.address.sin6_addr)
        case .unixDomainSocket, nil: return nil
        }
    }

    private init(_ address: in_addr) {
        bits = Self.mappedPrefix | UInt128(UInt32(bigEndian: address.s_addr))
    }

    private init(_ address: in6_addr) {
        bits = withUnsafeBytes(of: address) { $0.reduce(0) { $0 << 8 | UInt128($1) } }
    }

    /// `::`, which nobody calls from: where the address of a caller is not known.
    package static let unspecified = IPAddress(bits: 0)

    package var isIPv4: Bool { bits & ~UInt128(UInt32.max) == Self.mappedPrefix }

    package var description: String {
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        if isIPv4 {
            var v4 = in_addr(s_addr: UInt32(truncatingIfNeeded: bits).bigEndian)
            _ = inet_ntop(AF_INET, &v4, &text, socklen_t(text.count))
        } else {
            var v6 = in6_addr()
            withUnsafeMutableBytes(of: &v6) { $0.storeBytes(of: bits.bigEndian, as: UInt128.self) }
            _ = inet_ntop(AF_INET6, &v6, &text, socklen_t(text.count))
        }
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static let mappedPrefix: UInt128 = 0xFFFF << 32
}

/// Addresses with the same beginning, in CIDR notation (RFC 4632): `10.0.0.0/8`, `2001:db8::/32`; one address alone is
/// itself.
package struct AddressRange: Hashable, Sendable, CustomStringConvertible {
    private let base: IPAddress
    /// Counted in the 128 bits of `IPAddress.bits`.
    private let prefixBits: Int

    /// Nil for what is no range, also for a base with bits beyond its prefix, which is mostly a slip.
    package init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let base = IPAddress(String(parts[0])) else { return nil }
        let width = base.isIPv4 ? 32 : 128
        let given = parts.count == 2 ? Int(parts[1]) : width
        guard let given, (0...width).contains(given) else { return nil }
        prefixBits = 128 - width + given
        self.base = base
        guard base.bits & ~Self.mask(prefixBits) == 0 else { return nil }
    }

    package func contains(_ address: IPAddress) -> Bool {
        address.bits & Self.mask(prefixBits) == base.bits
    }

    package var description: String {
        "\(base)/\(base.isIPv4 ? prefixBits - 96 : prefixBits)"
    }

    private static func mask(_ prefixBits: Int) -> UInt128 {
        prefixBits == 0 ? 0 : UInt128.max << (128 - prefixBits)
    }
}
