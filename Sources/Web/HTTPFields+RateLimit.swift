package import HTTPTypes

extension HTTPField.Name {
    package static let rateLimit = Self(constant: "RateLimit")
    package static let rateLimitPolicy = Self(constant: "RateLimit-Policy")
}

extension HTTPFields {
    /// What a 429 says of the policy that refuses, of which nothing is left: `Retry-After` and the fields of
    /// draft-ietf-httpapi-ratelimit-headers.
    ///
    /// - Parameters:
    ///   - quota: how many it lets through in its window.
    ///   - retryAfterSeconds: when there is room again.
    static func exhausted(
        _ policy: String,
        quota: Int,
        windowSeconds: Int,
        retryAfterSeconds: Int
    ) -> HTTPFields {
        [
            .retryAfter: String(retryAfterSeconds),
            .rateLimit: "\"\(policy)\";r=0;t=\(retryAfterSeconds)",
            .rateLimitPolicy: "\"\(policy)\";q=\(quota);w=\(windowSeconds)",
        ]
    }
}
