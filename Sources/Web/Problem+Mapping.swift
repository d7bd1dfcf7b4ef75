import HTTPTypes
import Hummingbird
import NIOCore
import NIOHTTP1
import Postgres

extension Problem {
    /// The one place where an error that no room has turned into a problem becomes one.
    /// - Parameter mayHaveChanged: whether the request had got to where it could change anything. If not, a lost
    ///   connection leaves nothing in doubt.
    package init(mapping error: any Error, mayHaveChanged: Bool = true) {
        switch error {
        case let problem as Problem:
            self = problem
        case let failure as ValidationFailure:
            self = .validationFailed(failure.faults)
        case let fault as JSONFault:
            self = .malformedJSON(
                detail: "The body is not acceptable JSON: \(fault.description).",
                pointer: fault.pointer
            )
        case let failure as PostgresError:
            self = Self.mapping(failure, mayHaveChanged)
        case is HTTPParserError:
            self = Problem(.badRequest, code: "malformed_request", detail: "The body does not arrive as HTTP/1.1 says.")
        case is NIOTooManyBytesError:
            self = Problem(.contentTooLarge, code: "content_too_large", detail: "The body is too large.")
        case let failure as HTTPError:
            self = Self.mapping(failure)
        default:
            self = .internalError(error)
        }
    }

    private static func mapping(_ failure: PostgresError, _ mayHaveChanged: Bool) -> Problem {
        // What is still retryable after the retries came from contention: nothing was changed, and later it may work.
        if failure.outcomeUnknown || failure.isUnavailable || failure.isRetryable {
            return .databaseUnavailable(outcomeUnknown: failure.outcomeUnknown && mayHaveChanged, underlying: failure)
        }
        return .internalError(failure)
    }

    private static func mapping(_ failure: HTTPError) -> Problem {
        guard failure.status.kind == .clientError else { return .internalError(failure) }
        return Problem(
            failure.status,
            code: failure.status == .notFound ? "route_not_found" : "bad_request",
            detail: failure.body ?? failure.status.reasonPhrase,
            headers: failure.headers
        )
    }
}
