import HTTPTypes
import Postgres
package import Web

extension Problem {
    /// What the sender is told when events could not be stored; errors of other rooms pass as they are.
    static func ofIngest(_ error: any Error) -> any Error {
        switch error {
        case let refusal as IngestRefusal: refusal.problem
        case _ where error.isOverflow: counterOverflow
        case let failure as PostgresError
        where failure.isUnavailable || failure.outcomeUnknown || failure.isRetryable:
            databaseUnavailable(duringIngest: failure)
        default: error
        }
    }

    static let counterOverflow = counterOverflow("Nothing was stored.")

    fileprivate static func counterOverflow(_ outcome: String, _ faults: [EventFault] = []) -> Problem {
        Problem(
            .unprocessableContent,
            code: "counter_overflow",
            detail: """
                With these events a counter, or what is charged for it, would reach 10^26, more than can be counted. \
                \(outcome)
                """,
            errors: faults.map(\.told)
        )
    }

    /// PostgreSQL is away, or went away while it committed: either way all of the request may be sent again.
    private static func databaseUnavailable(duringIngest failure: PostgresError) -> Problem {
        Problem(
            .serviceUnavailable,
            code: "database_unavailable",
            detail:
                "The database does not answer now. Send the events again: what of them was stored counts once.",
            headers: [.retryAfter: "1"],
            underlying: failure
        )
    }
}

extension IngestRefusal {
    /// The answer to the sender. The request may be sent again: a part of it that another lane stored counts once.
    var problem: Problem {
        switch self {
        case .queueFull:
            .overloaded(
                detail: """
                    The ingest queue, or what one tenant may have of it, is full. Send the events again: what of them \
                    was stored counts once.
                    """
            )
        case .stopping:
            .overloaded(detail: "The service is stopping. Send the events again: what of them was stored counts once.")
        case .catalogBusy:
            .overloaded(detail: "The catalogue changes faster than events can be measured. Send them again.")
        case .ledgerHeld:
            .overloaded(
                detail: """
                    A tenant's usage is being changed or counted anew, which takes longer than events wait. Send the \
                    events again: what of them was stored counts once.
                    """
            )
        case .overflow(let faults):
            .counterOverflow("Nothing was stored.", faults)
        case .partOverflows(let faults):
            .counterOverflow("Some of the others have been stored; sent again, they count once.", faults)
        case .partFaults(let faults):
            Problem(
                .badRequest,
                code: "validation_failed",
                detail: """
                    The catalogue has changed meanwhile, and by it some of the events have faults. Some of the others \
                    have been stored; sent again, they count once.
                    """,
                errors: faults.map(\.told)
            )
        case .faults(let faults):
            if let fault = faults.first, fault.code == EventFault.malformedCode {
                .malformedJSON(detail: fault.detail, pointer: fault.pointer)
            } else if faults.contains(where: Narrowing.isRefusal) {
                .useNotAllowed(
                    detail: "This credential may not be used for all of these events. Nothing was stored.",
                    errors: faults.map(\.told)
                )
            } else {
                .validationFailed(faults.map(\.told))
            }
        }
    }
}

extension EventFault {
    /// As answers tell it.
    package var told: FieldFault {
        FieldFault(pointer: pointer, code: code, detail: detail)
    }
}
