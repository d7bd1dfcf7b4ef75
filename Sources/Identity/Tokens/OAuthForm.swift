import NIOCore
import Web

/// The parameters of a request to the token endpoints, as `application/x-www-form-urlencoded` (RFC 6749, appendix B).
/// One without a value counts as left out, an unknown one is ignored, and a repeated one is refused (section 3.2).
struct OAuthForm: Sendable {
    static let mediaTypes = ["application/x-www-form-urlencoded"]
    /// Room for a token or an assertion of the size we read, escaped.
    static let bodyLimitBytes = 32 * 1024

    private let values: [String: String]

    init(_ request: APIRequest) throws(OAuthError) {
        guard request.queryString.isEmpty else {
            throw OAuthError(.invalidRequest, "Parameters belong into the body and not into the URL.")
        }
        var values: [String: String] = [:]
        for pair in String(buffer: request.body).split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = Self.decoded(parts[0]), let value = Self.decoded(parts.count > 1 ? parts[1] : "") else {
                throw OAuthError(.invalidRequest, "The body is not application/x-www-form-urlencoded.")
            }
            guard values.updateValue(value, forKey: name) == nil else {
                throw OAuthError(.invalidRequest, "A parameter is given more than once.")
            }
        }
        self.values = values
    }

    subscript(_ name: String) -> String? {
        values[name].flatMap { $0.isEmpty ? nil : $0 }
    }

    func required(_ name: String) throws(OAuthError) -> String {
        guard let value = self[name] else { throw OAuthError(.invalidRequest, "The parameter \(name) is missing.") }
        return value
    }

    /// Nil for broken escapes and for control characters, which no parameter has.
    static func decoded(_ text: some StringProtocol) -> String? {
        guard let decoded = PercentEncoding.decoded(text, plusIsSpace: true),
            !decoded.unicodeScalars.contains(where: { $0.value < 0x20 || $0.value == 0x7F })
        else { return nil }
        return decoded
    }
}
