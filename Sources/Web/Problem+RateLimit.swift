package import HTTPTypes

extension HTTPField.Name {
    package static let rateLimit = Self(constant: "RateLimit")
    package static let rateLimitPolicy = Self(constant: "RateLimit-Policy")
}

extension Problem {
    /// A 429 of a policy of which nothing is left, with `Retry-After`, and the fields and the problem type of
    /// draft-ietf-httpapi-ratelimit-headers.
    ///
    /// - Parameters:
    ///   - quota: how many it lets through in its window.
    ///   - retryAfterSeconds: when there is room again.
    static func exhausted(
        _ policy: String,
        quota: Int,
        windowSeconds: Int,
        retryAfterSeconds: Int,
        code: String,
        detail: String
    ) -> Problem {
        var problem = Problem(
            .tooManyRequests,
            code: code,
            title: "Quota exceeded",
            detail: detail,
            headers: [
                .retryAfter: String(retryAfterSeconds),
                .rateLimit: "\"\(policy)\";r=0;t=\(retryAfterSeconds)",
                .rateLimitPolicy: "\"\(policy)\";q=\(quota);w=\(windowSeconds)",
            ]
        )
        problem.violatedPolicies = [policy]
        return problem
    }
}
