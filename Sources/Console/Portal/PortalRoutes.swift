import CEmbedded
import Crypto
import Foundation
import HTTPTypes
package import Web

/// `GET /portal`: the page a customer looks at with a portal session. It is the same for everybody and knows nothing:
/// the token is behind the `#` of its URL, and its script asks the API with it.
package struct PortalRoutes: Sendable {
    private let page: String
    private let policy: String

    /// - Parameter frameAncestors: the origins of pages that may embed this one; none when empty.
    package init(frameAncestors: [String]) {
        let style = Self.text(embedded_portal_style())
        let script = Self.text(embedded_portal_script())
        page = Self.text(embedded_portal_page()).replacing("{{style}}", with: style)
            .replacing("{{script}}", with: script)
        let ancestors = frameAncestors.isEmpty ? "'none'" : frameAncestors.joined(separator: " ")
        policy = [
            "default-src 'none'", "script-src \(Self.source(script))", "style-src \(Self.source(style))",
            "connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors \(ancestors)",
        ].joined(separator: "; ")
    }

    package func register(in operations: Operations) {
        operations.add(.get, fullPath: "/portal", id: "getPortal", access: .open, isQuiet: true) { request, _ in
            try request.query().finish()
            var answer = Answer.text(page, contentType: "text/html; charset=utf-8")
            answer.headers[.contentSecurityPolicy] = policy
            answer.headers[.referrerPolicy] = "no-referrer"
            return answer
        }
    }

    /// What the policy allows: a script or style of exactly this text (CSP Level 3, section 2.3.1).
    private static func source(_ text: String) -> String {
        "'sha256-\(Data(SHA256.hash(data: Data(text.utf8))).base64EncodedString())'"
    }

    private static func text(_ file: embedded_file) -> String {
        String(decoding: UnsafeBufferPointer(start: file.bytes, count: file.count), as: UTF8.self)
    }
}

extension HTTPField.Name {
    fileprivate static let referrerPolicy = Self(constant: "Referrer-Policy")
}
