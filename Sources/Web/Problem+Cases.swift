package import HTTPTypes

/// The problems every room shares. A room adds its own in an extension beside its routes.
extension Problem {
    /// The same for what does not exist and for what belongs to another tenant, so that the one can't be told
    /// from the other.
    /// - Parameter detail: what to do, where more is known than that there is none.
    package static func notFound(_ resource: String, _ key: String, detail: String? = nil) -> Problem {
        Problem(.notFound, code: "\(resource)_not_found", detail: detail ?? "There is no \(words(resource)) '\(key)'.")
    }

    /// - Parameter detail: what there is, where that is more than one with the key.
    package static func alreadyExists(_ resource: String, _ key: String, detail: String? = nil) -> Problem {
        Problem(
            .conflict,
            code: "\(resource)_exists",
            detail: detail ?? "There is already a \(words(resource)) '\(key)'.",
            errors: [FieldFault(pointer: "/key", code: "taken", detail: "'\(key)' is taken.")]
        )
    }

    package static func conflict(code: String, detail: String) -> Problem {
        Problem(.conflict, code: code, detail: detail)
    }

    /// A request that was understood and refused because of its values.
    package static func validationFailed(_ errors: [FieldFault]) -> Problem {
        let detail =
            errors.count == 1 ? "The request has a fault." : "The request has \(errors.count) faults."
        return Problem(.badRequest, code: "validation_failed", detail: detail, errors: errors)
    }

    package static func malformedJSON(detail: String, pointer: String) -> Problem {
        Problem(
            .badRequest,
            code: "malformed_json",
            title: "Malformed JSON",
            detail: detail,
            errors: [FieldFault(pointer: pointer, code: "malformed_json", detail: detail)]
        )
    }

    package static func unauthenticated(_ detail: String) -> Problem {
        Problem(
            .unauthorized,
            code: "unauthenticated",
            detail: detail,
            headers: [.wwwAuthenticate: #"Bearer realm="turnpike""#]
        )
    }

    package static func insufficientScope(needed: ScopeSet) -> Problem {
        let names = needed.names.joined(separator: " ")
        let detail =
            needed.names.count == 1
            ? "This needs the scope \(names)."
            : "This needs one of the scopes \(needed.names.joined(separator: ", "))."
        return Problem(
            .forbidden,
            code: "insufficient_scope",
            detail: detail,
            headers: [.wwwAuthenticate: #"Bearer realm="turnpike", error="insufficient_scope", scope="\#(names)""#]
        )
    }

    package static func forbidden(code: String, detail: String) -> Problem {
        Problem(.forbidden, code: code, detail: detail)
    }

    package static let tenantSuspended = Problem.forbidden(
        code: "tenant_suspended",
        detail: "This tenant is suspended: its credentials may read, and do nothing else until it is resumed."
    )

    /// Nobody reads it: it is what log and metrics say of a request that was cancelled.
    static let clientGone = Problem(
        HTTPResponse.Status(code: 499, reasonPhrase: "Client Closed Request"),
        code: "client_gone",
        detail: "The client closed its connection before there was an answer."
    )

    package static func preconditionFailed(current: ETag) -> Problem {
        Problem(
            .preconditionFailed,
            code: "precondition_failed",
            detail: "The resource has changed since: it is \(current.fieldValue) now. Read it again and repeat.",
            headers: [.eTag: current.fieldValue]
        )
    }

    package static func routeNotFound(_ path: String) -> Problem {
        Problem(.notFound, code: "route_not_found", detail: "There is nothing at \(path).")
    }

    package static func methodNotAllowed(_ method: HTTPRequest.Method, allowed: [HTTPRequest.Method]) -> Problem {
        let names = allowed.map(\.rawValue).joined(separator: ", ")
        return Problem(
            .methodNotAllowed,
            code: "method_not_allowed",
            detail: "\(method.rawValue) is not possible here; \(names) is.",
            headers: [.allow: names]
        )
    }

    package static func contentTooLarge(limitBytes: Int) -> Problem {
        Problem(
            .contentTooLarge,
            code: "content_too_large",
            detail: "The body may have at most \(limitBytes) bytes."
        )
    }

    package static func unsupportedMediaType(_ given: String?, accepted: [String]) -> Problem {
        let subject = given.map { "'\($0)'" } ?? "A body without Content-Type"
        return Problem(
            .unsupportedMediaType,
            code: "unsupported_media_type",
            detail: "\(subject) is not read here; \(accepted.joined(separator: ", ")) is.",
            headers: [.accept: accepted.joined(separator: ", ")]
        )
    }

    /// A queue is full or a part is stopping. The work was not begun.
    package static func overloaded(detail: String, retryAfterSeconds: Int = 1) -> Problem {
        Problem(
            .serviceUnavailable,
            code: "overloaded",
            detail: detail,
            headers: [.retryAfter: String(retryAfterSeconds)]
        )
    }

    package static func databaseUnavailable(outcomeUnknown: Bool, underlying: (any Error)?) -> Problem {
        let detail =
            outcomeUnknown
            ? "The connection was lost while the change was being committed: whether it was made is not known. "
                + "Repeat the request, with the same Idempotency-Key where the operation takes one."
            : "The database does not answer at the moment. Nothing was changed."
        return Problem(
            .serviceUnavailable,
            code: "database_unavailable",
            detail: detail,
            headers: [.retryAfter: "1"],
            underlying: underlying
        )
    }

    package static func internalError(_ underlying: any Error) -> Problem {
        Problem(
            .internalServerError,
            code: "internal_error",
            detail: "Something went wrong on our side. The request id leads to the record of it.",
            underlying: underlying
        )
    }

    private static func words(_ resource: String) -> String {
        resource.split(separator: "_").joined(separator: " ")
    }
}
