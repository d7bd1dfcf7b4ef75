import HTTPTypes
import Postgres
import Web

extension IngestRefusal {
    /// The answer to the sender, who may send the whole request again. The events of one tenant are stored together or
    /// not at all; those of another tenant in the same request may have been stored, and then count once all the same.
    var problem: Problem {
        switch self {
        case .queueFull:
            .overloaded(detail: "The ingest queue is full. \(Self.advice)")
        case .stopping:
            .overloaded(detail: "The service is stopping. \(Self.advice)")
        case .catalogBusy:
            .overloaded(detail: "The catalogue changes faster than events can be measured. \(Self.advice)")
        case .faults(let faults):
            if let fault = faults.first, fault.code == "malformed_json" {
                .malformedJSON(detail: fault.detail, pointer: fault.pointer)
            } else {
                .validationFailed(
                    faults.map { Problem.Fault(pointer: $0.pointer, code: $0.code, detail: $0.detail) }
                )
            }
        }
    }
}

extension IngestRefusal {
    fileprivate static let advice = "Send all of the events again: one that was stored already counts once."

    /// The answer when PostgreSQL is away, or went away while it committed.
    static func databaseUnavailable(_ failure: PostgresError) -> Problem {
        Problem(
            .serviceUnavailable,
            code: "database_unavailable",
            detail: "The database does not answer at the moment. \(advice)",
            headers: [.retryAfter: "1"],
            underlying: failure
        )
    }
}

extension CounterOverflow {
    var problem: Problem {
        Problem(
            .unprocessableContent,
            code: "counter_overflow",
            detail: "With these events a counter of one tenant would reach 10^26, more than a quantity can hold. "
                + "Nothing of that tenant's events was stored; another tenant's may have been."
        )
    }
}
