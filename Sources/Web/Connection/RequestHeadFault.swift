import NIOHTTP1

/// What the parser lets pass and RFC 9112 has a server refuse, or what two servers in a row may understand differently,
/// so that one of them sees a request that the other does not. The parser itself refuses the rest of it: two lengths,
/// length and chunks, line folding, bare line feeds, control characters, odd chunk sizes.
enum RequestHeadFault: Error, Equatable {
    /// None, several, or one that is no host (RFC 9112 section 3.2).
    case host
    /// Not exactly `chunked`, or with HTTP/1.0, which has no chunks (RFC 9112 section 6.1).
    case transferEncoding
    /// `CONNECT`, or an absolute form that names another host than `Host` does (RFC 9112 section 3.2).
    case target

    static func fault(in head: HTTPRequestHead) -> RequestHeadFault? {
        let isOld = head.version.isOld
        let codings = head.headers["transfer-encoding"]
        if !codings.isEmpty {
            guard !isOld, codings.count == 1, codings[0].lowercased() == "chunked" else {
                return .transferEncoding
            }
        }
        let hosts = head.headers["host"]
        guard hosts.count == 1 || (isOld && hosts.isEmpty), hosts.allSatisfy(isHost) else { return .host }
        return isTarget(head, host: hosts.first) ? nil : .target
    }

    private static func isTarget(_ head: HTTPRequestHead, host: String?) -> Bool {
        if head.method == .CONNECT { return false }
        if head.uri.utf8.first == UInt8(ascii: "/") || head.uri == "*" { return true }
        guard let scheme = ["http://", "https://"].first(where: { head.uri.lowercased().hasPrefix($0) }) else {
            return false
        }
        let authority = head.uri.dropFirst(scheme.count).prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        return host.map { $0.lowercased() == authority.lowercased() } ?? true
    }

    /// A registered name or address with a port, as far as its characters tell; without user information.
    private static func isHost(_ text: String) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"):
                    true
                default:
                    "-._~!$&'()*+;=%:[]".utf8.contains(byte)
                }
            }
    }

    var detail: String {
        switch self {
        case .host: "A request needs exactly one Host field, with a host."
        case .transferEncoding: "The only Transfer-Encoding read here is 'chunked', with HTTP/1.1."
        case .target: "The target of a request is a path, or a URL of the very host that the Host field names."
        }
    }
}

extension HTTPVersion {
    /// Before HTTP/1.1, the first with chunks, and where `Host` is a duty and connections stay open by themselves.
    var isOld: Bool { major < 1 || (major == 1 && minor < 1) }
}
