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
    /// Nil is the plan version's own trial.
    var trialDays: Int?
    /// What stands in place of the plan version's own; its features not yet looked up.
    var overrides: PlanDraft?
    var isDryRun = false

    /// How far ahead a start may lie.
    private static let futureMicroseconds: Int64 = 5 * 366 * 86_400 * 1_000_000
    /// 2000-01-01T00:00:00Z.
    private static let earliest = Instant(microseconds: 946_684_800_000_000)

    static func read(_ fields: JSONObjectReader, now: Instant) throws -> SubscriptionInput {
        let input = SubscriptionInput(
            tenant: fields.key("tenant"),
            plan: fields.key("plan"),
            version: fields.optionalInteger("version", in: 1...Int(Int32.max)),
            startsAt: fields.optionalInstant("starts_at"),
            trialDays: fields.optionalInteger("trial_days", in: 0...PlanTerms.longestTrialDays),
            overrides: fields.optionalObject("overrides") { PlanDraft.readOverrides($0, isStored: false) },
            isDryRun: fields.bool("dry_run", default: false)
        )
        if let start = input.startsAt, start < earliest || start > now.adding(microseconds: futureMicroseconds) {
            let detail = "\"starts_at\" must lie between the year 2000 and five years from now"
            fields.fault(at: "starts_at", code: "out_of_range", detail: detail)
        }
        try fields.finish()
        return input
    }
}

/// The body of a change of plan.
struct PlanChangeInput: Sendable {
    let plan: String
    /// Nil asks for the latest published one.
    let version: Int?
    let time: ChangeTime
    /// What stands in place of the plan version's own; its features not yet looked up. Those of the segment before do
    /// not live on.
    let overrides: PlanDraft?
    let isDryRun: Bool

    static func read(_ fields: JSONObjectReader, now: Instant) throws -> PlanChangeInput {
        let input = PlanChangeInput(
            plan: fields.key("plan"),
            version: fields.optionalInteger("version", in: 1...Int(Int32.max)),
            time: ChangeTime.read(fields, now: now),
            overrides: fields.optionalObject("overrides") { PlanDraft.readOverrides($0, isStored: false) },
            isDryRun: fields.bool("dry_run", default: false)
        )
        try fields.finish()
        return input
    }
}

/// The body of a cancellation.
struct CancellationInput: Sendable {
    let time: ChangeTime
    let isDryRun: Bool

    static func read(_ fields: JSONObjectReader, now: Instant) throws -> CancellationInput {
        let input = CancellationInput(
            time: ChangeTime.read(fields, now: now),
            isDryRun: fields.bool("dry_run", default: false)
        )
        try fields.finish()
        return input
    }
}

/// When a subscription is to change or to end.
enum ChangeTime: Sendable, Equatable {
    case now
    case periodEnd
    case instant(Instant)

    /// Reads `at`; without it, now. The past is refused.
    static func read(_ fields: JSONObjectReader, now: Instant) -> ChangeTime {
        let time = fields.value("at", default: .now, expecting: "\"now\", \"period_end\" or an RFC 3339 time") { text in
            switch text {
            case "now": ChangeTime.now
            case "period_end": ChangeTime.periodEnd
            default: ChangeTime.instant(try Instant(parsing: text))
            }
        }
        if case .instant(let instant) = time, instant < now {
            fields.fault(at: "at", code: "out_of_range", detail: "\"at\" must not lie in the past; \"now\" is allowed")
        }
        return time
    }

    /// The instant that is asked for.
    func instant(for subscription: Subscription, now: Instant) -> Instant {
        let asked =
            switch self {
            case .now: now
            case .periodEnd: subscription.currentPeriod(at: now)?.end ?? now
            case .instant(let instant): instant
            }
        return max(subscription.startsAt, asked)
    }
}
