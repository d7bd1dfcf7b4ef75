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
    /// After how many microseconds the same call might be admitted; nil where that can't be told.
    let retryAfterMicroseconds: Int64?
    var rateRemaining: Int64?
}

/// A limit that a call touches, as it stands with the call.
struct TouchedLimit: Sendable {
    let limit: Limit
    let state: LimitState
    /// How many units are left of a rate.
    var rateRemaining: Int64?
    /// Whether a limit that denies nothing is exceeded.
    var isExceeded = false
}

/// The rows of limits that a flush has locked, and what its calls take of them one after the other. Pure: what a
/// refused call would have taken leaves no trace.
struct AdmissionStates {
    private var states: [LimitRow: LimitState]
    private var arrivals: [LimitRow: FixedDecimal]
    private var charges: [LimitRow: ChargeHolds]
    /// To be added to what rows hold.
    private(set) var held: [LimitRow: FixedDecimal] = [:]
    /// What rows hold of limits on charges by now, worked out anew.
    private(set) var computed: [LimitRow: FixedDecimal] = [:]
    /// Arrival times of rates that moved.
    private(set) var moved: [LimitRow: FixedDecimal] = [:]

    init(states: [LimitState], arrivals: [LimitRow: FixedDecimal], charges: [LimitRow: ChargeHolds]) {
        self.states = Dictionary(states.map { ($0.row, $0) }) { first, _ in first }
        self.arrivals = arrivals
        self.charges = charges
    }

    enum Verdict: Sendable {
        case allowed([TouchedLimit])
        case refused([LimitViolation])
    }

    /// What one hold comes to.
    private enum Step {
        case hold(FixedDecimal, LimitState)
        case arrival(FixedDecimal, remaining: Int64, LimitState)
        case nothing(LimitState)
        case refused(LimitViolation)
    }

    /// Decides one call: every limit must admit it, or it takes nothing of any.
    /// - Parameter keeps: whether what it takes is taken; not for a trial.
    mutating func decide(
        _ holds: [CallHold],
        criticality: Criticality,
        at now: Instant,
        keeps: Bool
    ) throws(DecimalError) -> Verdict {
        var steps: [Step] = []
        var violations: [LimitViolation] = []
        for hold in holds {
            let step = try step(hold, criticality, now)
            if case .refused(let violation) = step { violations.append(violation) }
            steps.append(step)
        }
        guard violations.isEmpty else { return .refused(violations) }
        var touched: [TouchedLimit] = []
        for (hold, step) in zip(holds, steps) { touched.append(try apply(step, of: hold, keeps: keeps)) }
        return .allowed(touched)
    }

    private func step(_ hold: CallHold, _ criticality: Criticality, _ now: Instant) throws(DecimalError) -> Step {
        let state = states[hold.row] ?? LimitState(unused: hold)
        switch hold.take {
        case .rate(let units):
            return try rate(units, hold, state, criticality, now)
        case .unpriced:
            return hold.limit.denies ? refused(hold, state, .unpricedModel, retryAfter: nil) : .nothing(state)
        case .amount(let amount):
            guard !hold.limit.denies || state.balance.admits(amount) else {
                return refused(hold, state, hold.limit.reason, retryAfter: hold.retryAfter(now))
            }
            return .hold(amount, state)
        case .tiers(let totals, let money):
            let held = try charges[hold.row]?.amount(adding: totals, money: money) ?? state.balance.held
            guard !hold.limit.denies || state.balance.admits(heldInAll: held) else {
                return refused(hold, state, hold.limit.reason, retryAfter: hold.retryAfter(now))
            }
            return .hold(try held.subtracting(state.balance.held), state)
        }
    }

    private func rate(
        _ units: FixedDecimal,
        _ hold: CallHold,
        _ state: LimitState,
        _ criticality: Criticality,
        _ now: Instant
    ) throws(DecimalError) -> Step {
        guard case .rate(let rate, let shares) = hold.limit.bound else { return .nothing(state) }
        switch try rate.decide(units, arrival: arrivals[hold.row], at: now, share: shares[criticality]) {
        case .allowed(let arrival, let remaining):
            return .arrival(arrival, remaining: remaining, state)
        case .refused(let retryAfter, let remaining):
            return refused(hold, state, .rateLimited, retryAfter: retryAfter, remaining: remaining)
        }
    }

    private func refused(
        _ hold: CallHold,
        _ state: LimitState,
        _ reason: LimitViolation.Reason,
        retryAfter: Int64?,
        remaining: Int64? = nil
    ) -> Step {
        .refused(
            LimitViolation(
                limit: hold.limit,
                state: state,
                reason: reason,
                retryAfterMicroseconds: retryAfter,
                rateRemaining: remaining
            )
        )
    }

    private mutating func apply(_ step: Step, of hold: CallHold, keeps: Bool) throws(DecimalError) -> TouchedLimit {
        switch step {
        case .hold(let amount, var state):
            try state.balance.hold(amount)
            let isExceeded = state.balance.isExceeded
            if keeps { try keep(hold, amount, state) }
            return TouchedLimit(limit: hold.limit, state: state, isExceeded: isExceeded)
        case .arrival(let arrival, let remaining, let state):
            if keeps {
                arrivals[hold.row] = arrival
                moved[hold.row] = arrival
            }
            return TouchedLimit(limit: hold.limit, state: state, rateRemaining: remaining)
        case .nothing(let state):
            return TouchedLimit(limit: hold.limit, state: state)
        case .refused(let violation):
            preconditionFailure("a call that \(violation.limit.id) refuses takes nothing")
        }
    }

    private mutating func keep(_ hold: CallHold, _ amount: FixedDecimal, _ state: LimitState) throws(DecimalError) {
        states[hold.row] = state
        guard case .tiers(let totals, let money) = hold.take else {
            held[hold.row] = try held[hold.row, default: .zero].adding(amount)
            return
        }
        try charges[hold.row]?.hold(totals, money: money)
        computed[hold.row] = state.balance.held
        for part in hold.frees {
            held[part.row] = try held[part.row, default: .zero].adding(part.amount)
        }
    }
}

extension LimitState {
    /// Of a row that nothing has been counted in.
    fileprivate init(unused hold: CallHold) {
        self.init(
            row: hold.row,
            windowEnd: hold.windowEnd,
            balance: LimitBalance(amount: hold.limit.amount),
            revision: hold.limit.revision
        )
    }
}

extension Limit {
    fileprivate var reason: LimitViolation.Reason {
        switch origin {
        case .quota: .quotaExceeded
        case .spendCap: .spendCapExceeded
        case .budget: .budgetExceeded
        }
    }
}

extension CallHold {
    /// When the window ends, there is a new one; all time has no end.
    fileprivate func retryAfter(_ now: Instant) -> Int64? {
        windowEnd == .maximum ? nil : max(0, windowEnd.microseconds - now.microseconds)
    }

    /// What a reservation of the call has to free again: of each row so much.
    var frees: [ReservationHold] {
        switch take {
        case .amount(let amount): amount.isZero ? [] : [ReservationHold(row: row, amount: amount)]
        case .tiers(let totals, let money):
            ChargeHolds.rows(beside: row, holding: totals).map { ReservationHold(row: $0.row, amount: $0.amount) }
                + (money.isZero ? [] : [ReservationHold(row: ChargeHolds.moneyRow(beside: row), amount: money)])
        case .rate, .unpriced: []
        }
    }
}
