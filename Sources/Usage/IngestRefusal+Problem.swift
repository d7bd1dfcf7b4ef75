import HTTPTypes
import Web

extension IngestRefusal {
    /// The answer to the sender. Nothing of the request was stored, so it may be sent again.
    var problem: Problem {
        switch self {
        case .queueFull:
            .overloaded(detail: "The ingest queue is full. Send the events again: nothing of them was stored.")
        case .stopping:
            .overloaded(detail: "The service is stopping. Send the events again: nothing of them was stored.")
        case .catalogBusy:
            .overloaded(detail: "The catalogue changes faster than events can be measured. Send them again.")
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

extension CounterOverflow {
    var problem: Problem {
        Problem(
            .unprocessableContent,
            code: "counter_overflow",
            detail: "With these events a counter would reach 10^26, more than a quantity can hold. Nothing was stored."
        )
    }
}
