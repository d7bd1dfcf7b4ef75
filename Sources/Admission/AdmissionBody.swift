import BillingCore
import Catalog
import HTTPTypes
import Limits
import Usage
import Web

/// What is answered of one call.
struct AdmissionBody: Sendable {
    struct ReservationBody: Sendable {
        let id: ReservationID
        let expiresAt: Instant
        /// `held`, or what became of it where the call was admitted before.
        let status: String
    }

    let allowed: Bool
    /// Why not; nil when it is allowed.
    var reason: String?
    /// Why not, also where the answer can't say; it is not part of it.
    private(set) var cause: String?
    /// After how many seconds the same call might be allowed; nil where that can't be told, or it never is.
    var retryAfter: Int64?
    /// Nil for a dry run and a refused call, unless the call was admitted before.
    var reservation: ReservationBody?
    /// What the call touches; of a refused one, what refuses it.
    var limits: [LimitBody] = []
    /// How many output tokens the call may use, where it says how many it would.
    var maxOutputTokens: Int64?
    var warnings: [String] = []
    /// What refuses the call, whatever its limits say, where the caller may know of it.
    private(set) var mitigation: Mitigation?
    /// Whether nothing but rates refuse it, and not for ever, for proxies; it is not part of the answer.
    private(set) var isRateLimited = false

    /// Why a call is refused, where no limit is named for it.
    enum Refusal: String, CaseIterable {
        /// By a limit that the caller may not see.
        case hiddenLimit = "limit_exceeded"
        case unknownSubject = "unknown_subject"
        case suspended = "tenant_suspended"
        case mitigated
        case closed = "admission_closed"
        case conflict = "admission_conflict"
        case unavailable = "limits_unavailable"
        case outOfRange = "amount_out_of_range"
    }

    /// Everything that `reason` may be.
    static let reasons = LimitViolation.Reason.allCases.map(\.rawValue) + Refusal.allCases.map(\.rawValue)

    /// - Parameters:
    ///   - tellsAll: whether whoever gets the answer may know of every limit, see `Limit.isOperatorOnly`.
    ///   - catalog: names the features of quotas.
    init(_ answer: AdmissionService.CallAnswer, tellsAll: Bool, catalog: CatalogSnapshot, at now: Instant) {
        switch answer {
        case .unknownSubject: self.init(refusedFor: .unknownSubject)
        case .suspended: self.init(refusedFor: .suspended)
        case .mitigated(let mitigation):
            self.init(refusedFor: .mitigated)
            retryAfter = Int64(secondsCovering: max(1, mitigation.expiresAt.microseconds(since: now)))
            if tellsAll { self.mitigation = mitigation }
        case .unavailable:
            self.init(refusedFor: .unavailable)
            retryAfter = Problem.limitsUnavailableSeconds
        case .open(let tokens):
            self.init(allowed: true)
            maxOutputTokens = tokens
            warnings = ["limits_unavailable"]
        case .decided(let outcome, let remark):
            self.init(outcome, tellsAll, catalog, now)
            if let remark, allowed { warnings.append(remark.rawValue) }
        }
    }

    private init(allowed: Bool) {
        self.allowed = allowed
    }

    private init(refusedFor refusal: Refusal) {
        self.init(allowed: false)
        reason = refusal.rawValue
        cause = reason
    }

    private init(
        _ outcome: AdmissionOutcome,
        _ tellsAll: Bool,
        _ catalog: CatalogSnapshot,
        _ now: Instant
    ) {
        switch outcome {
        case .allowed(let made, let touched, let tokens):
            self.init(allowed: true)
            reservation = made.map(ReservationBody.init)
            maxOutputTokens = tokens
            tell(of: touched, tellsAll, catalog)
        case .repeated(let earlier, let touched):
            self.init(allowed: true)
            reservation = ReservationBody(earlier)
            maxOutputTokens = earlier.maximumOutputTokens
            warnings = earlier.expiresAt <= now ? ["repeated", "expired"] : ["repeated"]
            tell(of: touched, tellsAll, catalog)
        case .refused(let violations):
            self.init(allowed: false)
            let visible = violations.filter { tellsAll || !$0.limit.isOperatorOnly }
            // A rate is soon over: where something else refuses too, that is why.
            cause = (violations.first { $0.reason != .rateLimited } ?? violations.first)?.reason.rawValue
            let lasting = visible.filter { $0.reason != .rateLimited }
            let isOfRates = violations.allSatisfy { $0.reason == .rateLimited }
            reason = isOfRates ? LimitViolation.Reason.rateLimited.rawValue : lasting.first?.reason.rawValue
            reason = reason ?? Refusal.hiddenLimit.rawValue
            // When a rate has room says nothing of what the caller may not know.
            let isKnown = lasting.count == violations.count { $0.reason != .rateLimited }
            retryAfter = isKnown ? Self.seconds(violations) : nil
            isRateLimited = isOfRates && retryAfter != nil
            limits = (lasting + visible.filter { $0.reason == .rateLimited })
                .map { LimitBody($0, tellsAll: tellsAll, catalog) }
        case .closed(let earlier):
            self.init(refusedFor: .closed)
            reservation = ReservationBody(earlier)
        case .conflict:
            self.init(refusedFor: .conflict)
        case .outOfRange:
            self.init(refusedFor: .outOfRange)
        }
    }

    private mutating func tell(of touched: [TouchedLimit], _ tellsAll: Bool, _ catalog: CatalogSnapshot) {
        let visible = touched.filter { tellsAll || !$0.limit.isOperatorOnly }
        limits = visible.map { LimitBody($0, catalog) }
        if visible.contains(where: \.isExceeded) { warnings.append("soft_limit_exceeded") }
    }

    /// When the last of what refuses may have passed; nil where one of them won't by itself.
    private static func seconds(_ violations: [LimitViolation]) -> Int64? {
        var longest: Int64 = 0
        for violation in violations {
            guard let after = violation.retryAfter else { return nil }
            longest = max(longest, after)
        }
        return longest
    }
}

extension AdmissionBody.ReservationBody {
    init(_ reservation: Reservation) {
        self.init(id: reservation.id, expiresAt: reservation.expiresAt, status: reservation.status.rawValue)
    }
}

extension Limit {
    /// A tenant knows of limits within it only, and never of what providers charge.
    var isOperatorOnly: Bool { isOperatorWide || measure == .cost }
}

/// A limit as an admission tells of it.
struct LimitBody: Sendable {
    struct Rate: Sendable {
        let limit: Int64
        let periodSeconds: Int64
        let burst: Int64
        let remaining: Int64?
        /// After how many seconds a call that it refuses might be allowed.
        let retryAfter: Int64?
    }

    struct Unpriced: Sendable {
        /// By their keys.
        let features: [String]
        let modelCall: UnpricedUse.ModelCall?
        let tellsWhatLacks: Bool
    }

    let key: String
    /// `quota`, `spend_cap` or `budget`.
    let origin: String
    let measure: String
    let mode: String
    /// Whether tenants, and whoever calls for one, are to be told nothing of it.
    let isOperatorOnly: Bool
    /// Whose, where the limit counts several values apart.
    let scopeValue: String?
    var limit: FixedDecimal?
    /// Of amounts of money.
    var currency: Currency?
    var used: FixedDecimal?
    var held: FixedDecimal?
    var remaining: FixedDecimal?
    var window: LimitWindowBody?
    /// Instead of an amount in a window.
    var rate: Rate?
    /// What has no known price, where that is why it refuses.
    var unpriced: Unpriced?

    init(_ touched: TouchedLimit, _ catalog: CatalogSnapshot) {
        self.init(touched.limit, touched.state, touched.rateRemaining, retryAfter: nil, catalog)
    }

    init(_ violation: LimitViolation, tellsAll: Bool, _ catalog: CatalogSnapshot) {
        self.init(
            violation.limit,
            violation.state,
            violation.rateRemaining,
            retryAfter: violation.retryAfter,
            catalog
        )
        unpriced = violation.unpriced.map { use in
            Unpriced(
                features: use.features.compactMap { catalog.features[$0]?.key },
                modelCall: use.modelCall,
                tellsWhatLacks: tellsAll
            )
        }
    }

    private init(
        _ limit: Limit,
        _ state: LimitState,
        _ rateRemaining: Int64?,
        retryAfter: Int64?,
        _ catalog: CatalogSnapshot
    ) {
        key = limit.name(in: catalog)
        origin = limit.originName
        measure = limit.measure.rawValue
        mode = limit.mode.rawValue
        isOperatorOnly = limit.isOperatorOnly
        scopeValue = state.row.scopeValue.isEmpty ? nil : state.row.scopeValue
        switch limit.bound {
        case .window(_, let kind, _, _):
            self.limit = state.balance.amount
            currency = limit.currency
            used = state.balance.used
            held = state.balance.held
            remaining = state.balance.allowing(limit.measure).remaining
            window = LimitWindowBody(kind, Interval(start: state.row.windowStart, end: state.windowEnd))
        case .rate(let cells, _):
            rate = Rate(
                limit: cells.limit,
                periodSeconds: cells.periodMicroseconds / 1_000_000,
                burst: cells.burst,
                remaining: rateRemaining,
                retryAfter: retryAfter
            )
        }
    }
}

extension AdmissionBody {
    /// The fields `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers) of the rates among the
    /// limits, and `Retry-After` of a refusal.
    var rateFields: HTTPFields {
        var fields: HTTPFields = [:]
        let rates = namedRates
        if !rates.isEmpty {
            fields[.rateLimit] = rates.map { key, rate, _ in
                "\"\(key)\";r=\(rate.remaining ?? 0)" + (rate.retryAfter.map { ";t=\($0)" } ?? "")
            }.joined(separator: ", ")
            // The unit, where it is not the draft's own.
            fields[.rateLimitPolicy] = rates.map { key, rate, measure in
                let unit = measure == LimitMeasure.requests.rawValue ? "" : ";qu=\"\(measure)\""
                return "\"\(key)\";q=\(rate.limit)\(unit);w=\(rate.periodSeconds)"
            }.joined(separator: ", ")
        }
        if !allowed, let retryAfter { fields[.retryAfter] = "\(retryAfter)" }
        return fields
    }

    /// Of rates of one name, such as a tenant's own beside the operator's, the one with the least left: a name stands
    /// for one policy.
    private var namedRates: [(key: String, rate: LimitBody.Rate, measure: String)] {
        var named: [(key: String, rate: LimitBody.Rate, measure: String)] = []
        for limit in limits {
            guard let rate = limit.rate else { continue }
            let item = (key: limit.key, rate: rate, measure: limit.measure)
            if let index = named.firstIndex(where: { $0.key == limit.key }) {
                if rate.isTighter(than: named[index].rate) { named[index] = item }
            } else {
                named.append(item)
            }
        }
        return named
    }
}

extension LimitBody.Rate {
    /// Of an answer all rates refuse, or none does: one that has never room for the call comes first.
    fileprivate func isTighter(than other: LimitBody.Rate) -> Bool { tightness < other.tightness }

    private var tightness: (Int, Int64, Int64) {
        (retryAfter == nil ? 0 : 1, remaining ?? 0, -(retryAfter ?? 0))
    }
}

extension AdmissionBody {
    func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("allowed", allowed)
            writer.array("limits", limits) { $1.write(to: &$0) }
            writer.member("max_output_tokens", maxOutputTokens)
            if let mitigation {
                writer.object("mitigation") { writer in
                    writer.member("expires_at", mitigation.expiresAt)
                    writer.member("id", mitigation.id)
                    writer.member("reason", mitigation.reason)
                }
            } else {
                writer.null("mitigation")
            }
            writer.member("reason", reason)
            if let reservation {
                writer.object("reservation") { writer in
                    writer.member("expires_at", reservation.expiresAt)
                    writer.member("id", reservation.id)
                    writer.member("status", reservation.status)
                }
            } else {
                writer.null("reservation")
            }
            writer.member("retry_after", retryAfter)
            writer.array("warnings", warnings) { $0.element($1) }
        }
    }
}

extension LimitBody {
    fileprivate func write(to writer: inout JSONWriter) {
        let digits = currency?.minorUnits ?? 0
        writer.object { writer in
            writer.member("currency", currency?.code)
            writer.member("held", held, minimumFractionalDigits: digits)
            writer.member("key", key)
            writer.member("limit", limit, minimumFractionalDigits: digits)
            writer.member("measure", measure)
            writer.member("mode", mode)
            writer.member("operator_only", isOperatorOnly)
            writer.member("origin", origin)
            if let rate { writer.object("rate") { rate.write(to: &$0) } } else { writer.null("rate") }
            writer.member("remaining", remaining, minimumFractionalDigits: digits)
            writer.member("scope_value", scopeValue)
            if let unpriced {
                writer.object("unpriced") { unpriced.write(to: &$0) }
            } else {
                writer.null("unpriced")
            }
            writer.member("used", used, minimumFractionalDigits: digits)
            if let window { writer.object("window") { window.write(to: &$0) } } else { writer.null("window") }
        }
    }
}

extension LimitBody.Unpriced {
    fileprivate func write(to writer: inout JSONWriter) {
        writer.array("features", features) { $0.element($1) }
        guard let modelCall else { return writer.null("model_call") }
        writer.object("model_call") { writer in
            writer.member("lacks", tellsWhatLacks ? modelCall.lacks : nil)
            writer.member("model", modelCall.model)
            writer.member("provider", modelCall.provider)
        }
    }
}

extension LimitBody.Rate {
    fileprivate func write(to writer: inout JSONWriter) {
        writer.member("burst", burst)
        writer.member("limit", limit)
        writer.member("period_seconds", periodSeconds)
        writer.member("remaining", remaining)
    }
}
