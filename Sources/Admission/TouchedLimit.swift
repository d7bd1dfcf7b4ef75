import BillingCore
import Catalog
import Limits
import Usage

/// Why a limit refuses a call.
struct LimitViolation: Sendable {
    enum Reason: String, Sendable, CaseIterable {
        case quotaExceeded = "quota_exceeded"
        case budgetExceeded = "budget_exceeded"
        case spendCapExceeded = "spend_cap_exceeded"
        case rateLimited = "rate_limited"
        case unpricedModel = "unpriced_model"
    }

    let limit: Limit
    let state: LimitState
    let reason: Reason
    /// After how many microseconds the same call might be admitted; nil where that can't be told, or it never is.
    let retryAfterMicroseconds: Int64?
    var rateRemaining: Int64?
    /// What has no known price; nil unless that is why.
    var unpriced: UnpricedUse?
    /// Whether the call alone is more than the limit ever allows.
    var isTooLarge = false

    /// The same in seconds, rounded up.
    var retryAfter: Int64? { retryAfterMicroseconds.map { Int64(secondsCovering: $0) } }
}

/// A limit that a call touches, as it stands with the call.
struct TouchedLimit: Sendable {
    let limit: Limit
    let state: LimitState
    /// How many units are left of a rate.
    var rateRemaining: Int64?

    /// Whether a limit that denies nothing is exceeded.
    var isExceeded: Bool { !limit.denies && state.balance.allowing(limit.measure).isExceeded }
}
