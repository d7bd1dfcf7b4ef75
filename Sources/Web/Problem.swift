package import HTTPTypes

/// An answer that is not a success, as RFC 9457 problem details. Rooms throw it; the pipeline renders it with
/// the request's path and id, so that every error answer of the service has one shape.
package struct Problem: Error, Sendable {
    package let status: HTTPResponse.Status
    /// Stable, in snake case; clients branch on it.
    package let code: String
    package let title: String
    package var detail: String
    package var errors: [FieldFault]
    package var headers: HTTPFields
    /// The rate limits that refuse it, by their names in `RateLimit-Policy`.
    var violatedPolicies: [String] = []
    /// What went wrong inside. It is logged and never sent.
    package var underlying: (any Error)?

    /// The title, when none is given, is the code in words.
    package init(
        _ status: HTTPResponse.Status,
        code: String,
        title: String? = nil,
        detail: String,
        errors: [FieldFault] = [],
        headers: HTTPFields = [:],
        underlying: (any Error)? = nil
    ) {
        self.status = status
        self.code = code
        self.title = title ?? Self.words(of: code)
        self.detail = detail
        self.errors = errors
        self.headers = headers
        self.underlying = underlying
    }

    private static func words(of code: String) -> String {
        let words = code.split(separator: "_").joined(separator: " ")
        return words.prefix(1).uppercased() + words.dropFirst()
    }
}

extension Problem {
    /// `/problems/<code>`, or for rate limits that of draft-ietf-httpapi-ratelimit-headers.
    private var type: String {
        violatedPolicies.isEmpty
            ? "/problems/\(code)" : "https://iana.org/assignments/http-problem-types#quota-exceeded"
    }

    /// The document of RFC 9457 with the extension members `code`, `errors`, `request_id` and `violated-policies`.
    package func answer(instance: String, requestID: String) -> Answer {
        var members = [
            JSONMember(name: "code", value: .string(code)),
            JSONMember(name: "detail", value: .string(detail)),
        ]
        if !errors.isEmpty {
            let faults = errors.map { fault in
                JSONValue.members([
                    "code": .string(fault.code), "detail": .string(fault.detail), "pointer": .string(fault.pointer),
                ])
            }
            members.append(JSONMember(name: "errors", value: .array(faults)))
        }
        members += [
            JSONMember(name: "instance", value: .string(instance)),
            JSONMember(name: "request_id", value: .string(requestID)),
            JSONMember(name: "status", value: .number(String(status.code))),
            JSONMember(name: "title", value: .string(title)),
            JSONMember(name: "type", value: .string(type)),
        ]
        if !violatedPolicies.isEmpty {
            let policies = JSONValue.array(violatedPolicies.map(JSONValue.string))
            members.append(JSONMember(name: "violated-policies", value: policies))
        }
        var answer = Answer(
            status: status,
            contentType: "application/problem+json",
            bytes: JSONValue.object(members).bytes
        )
        answer.headers.append(contentsOf: headers)
        answer.headers[.cacheControl] = "no-store"
        return answer
    }
}
