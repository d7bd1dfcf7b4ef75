import BillingCore
import Web

/// The body of a new subscription.
struct SubscriptionInput: Sendable {
    let tenant: String
    let plan: String
    /// Nil asks for the latest published one.
    let version: Int?
    /// Nil is now.
    let startsAt: Instant?

    /// How far ahead a start may lie.
    private static let futureMicroseconds: Int64 = 5 * 366 * 86_400 * 1_000_000
    /// 2000-01-01T00:00:00Z.
    private static let earliest = Instant(microseconds: 946_684_800_000_000)

    static func read(_ fields: JSONObjectReader, now: Instant) throws -> SubscriptionInput {
        let input = SubscriptionInput(
            tenant: fields.key("tenant"),
            plan: fields.key("plan"),
            version: fields.optionalInteger("version", in: 1...Int(Int32.max)),
            startsAt: fields.optionalInstant("starts_at")
        )
        if let start = input.startsAt, start < earliest || start > now.adding(microseconds: futureMicroseconds) {
            let detail = "\"starts_at\" must lie between the year 2000 and five years from now"
            fields.fault(at: "starts_at", code: "out_of_range", detail: detail)
        }
        try fields.finish()
        return input
    }
}

/// When a subscription is to end.
enum CancellationTime: Sendable, Equatable {
    case now
    case periodEnd
    case instant(Instant)

    static func read(_ fields: JSONObjectReader, now: Instant) throws -> CancellationTime {
        let time = fields.value("at", default: .now, expecting: "\"now\", \"period_end\" or an RFC 3339 time") { text in
            switch text {
            case "now": CancellationTime.now
            case "period_end": CancellationTime.periodEnd
            default: CancellationTime.instant(try Instant(parsing: text))
            }
        }
        if case .instant(let instant) = time, instant < now {
            fields.fault(at: "at", code: "out_of_range", detail: "\"at\" must not lie in the past; \"now\" is allowed")
        }
        try fields.finish()
        return time
    }
}
