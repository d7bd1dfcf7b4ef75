import AsyncHTTPClient
import Glibc
import NIOCore
import NIOHTTP1
import NIOSSL

/// Why a configured URL could not be read. The texts name nothing of the answer, which may come from inside.
package enum OutboundFault: Error, Equatable, CustomStringConvertible {
    /// With what it must be.
    case malformed(String)
    case unencrypted
    /// Too many other names were being looked up for the same owner, or at all.
    case notLookedUp(String)
    /// The system's resolver got no answer, or could not ask.
    case resolverFailed(String)
    case unresolved(String)
    case refused(String)
    case status(Int)
    case tooLarge(limitBytes: Int)
    case unanswered(String)

    /// Whether nothing was tried, so that it says nothing of the URL.
    package var isLocal: Bool {
        switch self {
        case .notLookedUp, .resolverFailed: true
        default: false
        }
    }

    package var description: String {
        switch self {
        case .malformed(let requirement): requirement
        case .unencrypted: "http is possible only to addresses in TURNPIKE_OUTBOUND_ALLOW"
        case .notLookedUp(let host): "'\(host)' was not looked up: too many lookups are under way"
        case .resolverFailed(let host): "'\(host)' was not looked up: the system's resolver has no answer"
        case .unresolved(let host): "'\(host)' has no address"
        case .refused(let host): "'\(host)' is at an address that is not public and not in TURNPIKE_OUTBOUND_ALLOW"
        case .status(let code): "the answer was \(code) and not 200"
        case .tooLarge(let limitBytes): "the answer has more than \(limitBytes) bytes"
        case .unanswered(let reason): "there was no answer: \(reason)"
        }
    }

    static let late = OutboundFault.unanswered("it was not complete in time")

    /// What a failed exchange comes to, in words that whoever owns the URL can act on.
    init(_ error: any Error) {
        switch error {
        case let fault as OutboundFault: self = fault
        case let error as HTTPClientError where Self.timeouts.contains(error): self = .late
        case let error as HTTPClientError where error == .remoteConnectionClosed:
            self = .unanswered("the connection was closed before")
        case let error as IOError: self = .unanswered(Self.reason(error))
        case is NIOSSLError, is NIOSSLExtraError, is BoringSSLError: self = .unanswered(Self.reason(ofTLS: error))
        case is HTTPParserError: self = .unanswered("it was not HTTP")
        case let fault as StatusGuard.Fault: self = .unanswered("\(fault)")
        default: self = .unanswered("the connection failed")
        }
    }

    private static let timeouts: [HTTPClientError] = [
        .deadlineExceeded, .connectTimeout, .readTimeout, .writeTimeout, .tlsHandshakeTimeout,
        .getConnectionFromPoolTimeout,
    ]

    private static func reason(_ error: IOError) -> String {
        switch error.errnoCode {
        case ECONNREFUSED: "the connection was refused"
        case ECONNRESET, EPIPE: "the connection was reset"
        case EHOSTUNREACH, ENETUNREACH: "there is no way to its address"
        case ETIMEDOUT: "its address does not react"
        default: "the connection failed"
        }
    }

    private static func reason(ofTLS error: any Error) -> String {
        if let error = error as? NIOSSLExtraError, error == .failedToValidateHostname {
            return "its certificate is for another name"
        }
        // The library has no kinds of failures but in texts.
        let text = "\(error)"
        if text.contains("CERTIFICATE_VERIFY_FAILED") || text.contains("CERTIFICATE_EXPIRED") {
            return "its certificate is not one that is trusted"
        }
        if text.contains("WRONG_VERSION_NUMBER") || text.contains("HTTP_REQUEST") { return "it does not speak TLS" }
        return "TLS could not be agreed on"
    }
}
