package import HTTPTypes
package import NIOCore

/// Tells from which address a request comes: the socket's, or, behind proxies that are trusted, the one they report.
///
/// The reported list is read from its end, where the nearest proxy wrote, for as long as what is read is itself a
/// trusted proxy: what stands before may be made up by the client. Of `X-Forwarded-For` and `Forwarded` a proxy writes
/// one, and the other one may be its client's: where both are there and lead to different addresses, neither is
/// believed.
package struct ClientAddresses: Sendable {
    private let trustedProxies: [AddressRange]

    package init(trustedProxies: [AddressRange] = []) {
        self.trustedProxies = trustedProxies
    }

    package func address(of headers: HTTPFields, socket: SocketAddress?) -> IPAddress {
        guard let peer = IPAddress(socket) else { return .unspecified }
        guard isTrusted(peer) else { return peer }
        let reported = [Self.forwardedFor(headers), Self.forwarded(headers)].compactMap { hops in
            hops.map { origin(of: $0, from: peer) }
        }
        return Set(reported).count == 1 ? reported[0] : peer
    }

    /// Where a request was first, as far as trusted proxies say so.
    private func origin(of hops: [Substring], from peer: IPAddress) -> IPAddress {
        var address = peer
        for hop in hops.reversed() {
            guard let hop = Self.hopAddress(hop) else { return address }
            address = hop
            if !isTrusted(address) { break }
        }
        return address
    }

    private func isTrusted(_ address: IPAddress) -> Bool {
        trustedProxies.contains { $0.contains(address) }
    }

    private static func forwardedFor(_ headers: HTTPFields) -> [Substring]? {
        headers[.xForwardedFor]?.split(separator: ",", omittingEmptySubsequences: false)
    }

    /// The `for` parameters of `Forwarded` (RFC 7239 section 4).
    private static func forwarded(_ headers: HTTPFields) -> [Substring]? {
        headers[.forwarded]?.split(separator: ",", omittingEmptySubsequences: false).map { element in
            for pair in element.split(separator: ";") {
                let parts = pair.split(separator: "=", maxSplits: 1)
                if parts.count == 2, parts[0].trimmingSpaces().lowercased() == "for" { return parts[1] }
            }
            return ""
        }
    }

    /// `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]:4711`, each also in quotes.
    private static func hopAddress(_ hop: Substring) -> IPAddress? {
        var text = hop.trimmingSpaces()
        if text.count >= 2, text.first == "\"", text.last == "\"" { text = text.dropFirst().dropLast() }
        if text.first == "[" {
            return IPAddress(String(text.dropFirst().prefix { $0 != "]" }))
        }
        if text.filter({ $0 == ":" }).count == 1 { text = text.prefix { $0 != ":" } }
        return IPAddress(String(text))
    }
}

extension HTTPField.Name {
    static let xForwardedFor = Self(constant: "X-Forwarded-For")
    static let forwarded = Self(constant: "Forwarded")
}
