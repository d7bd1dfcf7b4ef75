import HTTPTypes

/// The fields that keep a browser from doing more with an answer than it is for. What an answer has said itself stays.
struct SecurityHeaders: Sendable {
    /// Whether the service itself speaks TLS; behind a proxy that does, the proxy says it.
    let isTLS: Bool

    private static let everywhere: [HTTPField] = [
        (.cacheControl, "no-store"),
        (.contentSecurityPolicy, "default-src 'none'; frame-ancestors 'none'"),
        (.crossOriginResourcePolicy, "same-origin"),
        (.referrerPolicy, "no-referrer"),
        (.xContentTypeOptions, "nosniff"),
        (.xFrameOptions, "DENY"),
    ].map { HTTPField(name: $0, value: $1) }
    private static let alone = HTTPFields(everywhere)
    private static let onPages: [HTTPField] = [
        (.crossOriginOpenerPolicy, "same-origin"),
        (.permissionsPolicy, "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ].map { HTTPField(name: $0, value: $1) }

    func add(to fields: inout HTTPFields) {
        if Self.everywhere.contains(where: { fields.contains($0.name) }) {
            for field in Self.everywhere where !fields.contains(field.name) { fields.append(field) }
        } else {
            // Nearly always: a copy, to which few are added.
            let own = fields
            fields = Self.alone
            for field in own { fields.append(field) }
        }
        if fields.value(of: .contentType)?.hasPrefix("text/html") == true {
            for field in Self.onPages where !fields.contains(field.name) { fields.append(field) }
        }
        if isTLS { fields[.strictTransportSecurity] = "max-age=31536000" }
    }
}

extension HTTPField.Name {
    fileprivate static let crossOriginOpenerPolicy = Self(constant: "Cross-Origin-Opener-Policy")
    fileprivate static let permissionsPolicy = Self(constant: "Permissions-Policy")
    fileprivate static let referrerPolicy = Self(constant: "Referrer-Policy")
    fileprivate static let xFrameOptions = Self(constant: "X-Frame-Options")
}
