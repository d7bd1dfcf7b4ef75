import Metrics

/// What becomes of requests for tokens, and of tokens.
struct OAuthMetrics: Sendable {
    private let issued: [OAuthClient.AuthenticationMethod: Counter]
    private let errors: [OAuthError.Code: Counter]
    private let refusals: [JWTFault: Counter]
    private let revoked = Counter(label: "turnpike_oauth_tokens_revoked_total")

    init() {
        issued = Self.counters("turnpike_oauth_tokens_issued_total", "method")
        errors = Self.counters("turnpike_oauth_errors_total", "error")
        refusals = Self.counters("turnpike_oauth_tokens_refused_total", "reason")
    }

    func issuedToken(to client: OAuthClient) { issued[client.method]?.increment() }
    func failed(_ error: OAuthError) { errors[error.code]?.increment() }
    func refused(_ fault: JWTFault) { refusals[fault]?.increment() }
    func revokedToken() { revoked.increment() }

    private static func counters<Label: RawRepresentable<String> & CaseIterable & Hashable>(
        _ name: String,
        _ dimension: String
    ) -> [Label: Counter] {
        Dictionary(
            uniqueKeysWithValues: Label.allCases.map {
                ($0, Counter(label: name, dimensions: [(dimension, $0.rawValue)]))
            }
        )
    }
}
