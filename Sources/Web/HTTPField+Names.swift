package import HTTPTypes

extension HTTPField.Name {
    package static let xRequestID = Self(constant: "X-Request-Id")
    package static let xAPIKey = Self(constant: "X-Api-Key")
    package static let idempotencyKey = Self(constant: "Idempotency-Key")
    package static let idempotencyReplayed = Self(constant: "Idempotency-Replayed")
    package static let pragma = Self(constant: "Pragma")

    /// A name written in the source; a name that is no token is a programmer's error.
    package init(constant: StaticString) {
        guard let name = Self("\(constant)") else { preconditionFailure("\(constant) is no field name") }
        self = name
    }
}

extension HTTPFields {
    /// What the subscript gives, for what is read of each request: the subscript joins the values even of one field.
    package func value(of name: HTTPField.Name) -> String? {
        var found: String?
        for field in self where field.name == name {
            guard found == nil else { return self[name] }
            found = field.value
        }
        return found
    }

    /// How long the body is, where that is announced.
    var announcedBytes: Int? { value(of: .contentLength).flatMap { Int($0) } }
}
