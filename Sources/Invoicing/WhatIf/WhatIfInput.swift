import BillingCore
import Web

/// Which plan version is to be tried on which periods.
struct WhatIfInput: Sendable {
    enum Periods: Sendable {
        /// The one that contains an instant; now without one.
        case containing(Instant?)
        /// Those that begin before the interval's end and end after its start.
        case overlapping(Interval)
    }

    let plan: String
    let version: Int
    let periods: Periods

    init(_ fields: JSONObjectReader) throws {
        plan = fields.key("plan")
        version = fields.integer("version", in: 1...Int(Int32.max))
        let instant = fields.optionalInstant("period")
        let from = fields.optionalInstant("from")
        let to = fields.optionalInstant("to")
        if let from, let to, from < to {
            periods = .overlapping(Interval(start: from, end: to))
        } else {
            periods = .containing(instant)
            if from != nil || to != nil {
                fields.fault(
                    at: from == nil ? "from" : "to",
                    code: "invalid_interval",
                    detail: "\"from\" and \"to\" stand together, and the first is earlier"
                )
            }
        }
        if instant != nil, from != nil || to != nil {
            fields.fault(at: "period", code: "contradiction", detail: "\"period\" excludes \"from\" and \"to\"")
        }
        try fields.finish()
    }
}
