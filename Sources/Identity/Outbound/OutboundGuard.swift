package import Web

/// Which addresses the service may connect to on behalf of what somebody configured: public ones, and those the
/// operator allows. A URL leading into the operator's own network would make the service a way into it (OWASP: SSRF).
package struct OutboundGuard: Sendable {
    private let allowed: [AddressRange]
    /// What the operator allows addresses by.
    package let setting: String

    /// - Parameter allowed: addresses that may be reached although they are not public.
    package init(allowed: [AddressRange] = [], setting: String = "TURNPIKE_OUTBOUND_ALLOW") {
        self.allowed = allowed
        self.setting = setting
    }

    package func permits(_ address: IPAddress) -> Bool {
        isAllowed(address) || Self.isPublic(address)
    }

    /// Whether there are addresses that may be spoken with in plain HTTP.
    var allowsSome: Bool { !allowed.isEmpty }

    func isAllowed(_ address: IPAddress) -> Bool {
        allowed.contains { $0.contains(address) }
    }

    /// Of IPv6 only what is handed out as global unicast is public, so that nothing new has to be listed here; what
    /// carries an IPv4 address inside (6to4, Teredo, NAT64) is not.
    private static func isPublic(_ address: IPAddress) -> Bool {
        guard address.isIPv4 || globalUnicast.contains(address) else { return false }
        return !reserved.contains { $0.contains(address) }
    }

    private static let globalUnicast = range("2000::/3")

    /// The special-purpose registries of IANA (RFC 6890), and multicast. Cloud metadata is link-local: 169.254.169.254.
    private static let reserved: [AddressRange] = [
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
    ].map(range)

    private static func range(_ text: String) -> AddressRange {
        guard let range = AddressRange(text) else { preconditionFailure("\(text) is no range") }
        return range
    }
}
