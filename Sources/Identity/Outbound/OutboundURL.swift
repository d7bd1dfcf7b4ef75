import Foundation
import Web

/// A URL that may be configured: http or https, a host, no user.
package struct OutboundURL: Sendable, Equatable {
    package let text: String
    package let isEncrypted: Bool
    let host: String

    package init(_ text: String) throws(OutboundFault) {
        guard text.utf8.count <= 2_000, let components = URLComponents(string: text),
            let scheme = components.scheme?.lowercased()
        else { throw .malformed("it must be a URL of at most 2,000 bytes, such as \"https://example.com/hook\"") }
        guard ["http", "https"].contains(scheme) else { throw .malformed("it must begin with \"https://\"") }
        guard components.user == nil, components.password == nil, components.fragment == nil else {
            throw .malformed("it must be without user, password and fragment")
        }
        // As it is written, which is what the client connects to: `host` would show a name of another script decoded.
        guard let written = components.encodedHost, let authority = Self.authority(of: text),
            Self.isPlain(authority)
        else { throw .malformed(Self.plainHost) }
        let isBracketed = written.hasPrefix("[") && written.hasSuffix("]")
        let host = isBracketed ? String(written.dropFirst().dropLast()) : written
        guard !host.isEmpty else { throw .malformed(Self.plainHost) }
        self.text = text
        self.host = host
        isEncrypted = scheme == "https"
    }

    private static let plainHost =
        "its host must be written in letters, digits, dots and hyphens (one of another script as \"xn--...\"), and its "
        + "port, if any, be one from 1 to 65535"

    /// Why it is not to be configured: it can never be reached, or is not what it seems to be. Nil where that can't be
    /// told before its name is looked up.
    package func refusal(by addresses: OutboundGuard) -> OutboundFault? {
        guard text.utf8.allSatisfy(Self.isOfURL) else {
            return .malformed("spaces, control characters and others that no URL has must be percent-encoded")
        }
        guard let address = IPAddress(host) else {
            guard !Self.isNumber(host) else {
                return .malformed("an address as its host must be written in full, such as 203.0.113.7")
            }
            return isEncrypted || addresses.allowsSome ? nil : .unencrypted
        }
        return refusal(at: address, by: addresses)
    }

    /// What is wrong with a URL that is to be configured under a name; nil where nothing is, as far as can be told.
    package static func fault(in text: String, named name: String, by addresses: OutboundGuard) -> String? {
        let refusal: OutboundFault?
        do throws(OutboundFault) {
            refusal = try OutboundURL(text).refusal(by: addresses)
        } catch {
            refusal = error
        }
        return switch refusal {
        case nil: nil
        case .malformed(let requirement)?: "\"\(name)\": \(OutboundFault.malformed(requirement))"
        default: "\"\(name)\" must be https at a public address, or one that \(addresses.setting) allows"
        }
    }

    /// Why an address that its host has is not spoken with; nil where it may be.
    func refusal(at address: IPAddress, by addresses: OutboundGuard) -> OutboundFault? {
        guard addresses.permits(address) else { return .refused(host) }
        return isEncrypted || addresses.isAllowed(address) ? nil : .unencrypted
    }

    /// Whether a URL has this byte (RFC 3986, appendix A).
    private static func isOfURL(_ byte: UInt8) -> Bool {
        (0x21...0x7E).contains(byte) && !"\"<>\\^`{|}".utf8.contains(byte)
    }

    /// Whether a host is an address to those who look names up, however it is written: 10.1, 167772161, 0xa000001.
    private static func isNumber(_ host: String) -> Bool {
        guard let last = host.split(separator: ".").last?.lowercased() else { return false }
        if last.hasPrefix("0x") { return last.dropFirst(2).allSatisfy(\.isHexDigit) }
        return last.allSatisfy { ("0"..."9").contains($0) }
    }

    private static func authority(of text: String) -> Substring? {
        guard let start = text.firstRange(of: "://")?.upperBound else { return nil }
        return text[start...].prefix { !"/?#".contains($0) }
    }

    /// Whether the host is written in letters, digits and what separates them: one with escapes or of another script
    /// could be one name to who judges it and another to who connects. And whether the port, if there is one, is one
    /// that there can be: what connects takes any other for a fault of the program.
    private static func isPlain(_ authority: Substring) -> Bool {
        let isPlain = authority.utf8.allSatisfy { byte in
            let isLetter = (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
            return isLetter || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || ".:-[]".utf8.contains(byte)
        }
        let port = authority.split(separator: "]", omittingEmptySubsequences: false).last?
            .split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).dropFirst().first
        guard isPlain, let port else { return isPlain }
        return UInt16(port).map { $0 > 0 } ?? false
    }
}
