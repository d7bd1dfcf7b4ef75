import HTTPTypes
import Web

/// A refusal of the token endpoints, in the form of RFC 6749, section 5.2, which OAuth libraries read.
struct OAuthError: Error, Sendable {
    enum Code: String, Sendable, CaseIterable {
        case invalidRequest = "invalid_request"
        case invalidClient = "invalid_client"
        case unsupportedGrantType = "unsupported_grant_type"
        case invalidScope = "invalid_scope"
    }

    let code: Code
    /// For a developer; ASCII without quotation marks and backslashes, and nothing of the request.
    let description: String

    init(_ code: Code, _ description: String) {
        self.code = code
        self.description = description
    }

    /// The same for an unknown client, a wrong secret and a client that is revoked.
    static let unknownClient = OAuthError(.invalidClient, "Client authentication failed.")

    var answer: Answer {
        let body = JSONValue.members([
            "error": .string(code.rawValue), "error_description": .string(description),
        ])
        var answer = Answer(
            status: code == .invalidClient ? .unauthorized : .badRequest,
            contentType: "application/json",
            bytes: body.bytes
        )
        if code == .invalidClient { answer.headers[.wwwAuthenticate] = #"Basic realm="turnpike""# }
        return answer.uncached
    }
}

extension Answer {
    /// As RFC 6749, section 5.1, wants every answer of the token endpoint.
    var uncached: Answer {
        var answer = self
        answer.headers[.cacheControl] = "no-store"
        answer.headers[.pragma] = "no-cache"
        return answer
    }
}
