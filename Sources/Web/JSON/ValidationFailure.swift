/// One thing that is wrong with a request.
package struct FieldFault: Hashable, Sendable {
    /// RFC 6901 pointer into the body (`/tiers/0/up_to`), `?name` for a query parameter, or a header field's name.
    package let pointer: String
    /// Stable, for programs.
    package let code: String
    /// For people: it names the field and says what to send.
    package let detail: String

    package init(pointer: String, code: String, detail: String) {
        self.pointer = pointer
        self.code = code
        self.detail = detail
    }
}

/// A body that is JSON but not an acceptable request, with every fault that was found.
package struct ValidationFailure: Error, Hashable, Sendable {
    package let faults: [FieldFault]

    package init(_ faults: [FieldFault]) {
        self.faults = faults
    }
}
