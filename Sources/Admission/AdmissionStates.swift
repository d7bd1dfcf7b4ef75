import BillingCore
import Catalog
import Limits
import Usage

/// The rows of limits that a flush has locked, and what its calls take of them one after the other. Pure: what a
/// refused call would have taken leaves no trace.
struct AdmissionStates {
    private struct Entry {
        var state: LimitState
        /// Of a rate that has been used.
        var arrival: FixedDecimal?
        /// What the calls add to what the row holds.
        var added = FixedDecimal.zero
        /// What open calls come to hold beyond the amount of a limit that denies.
        var overshoot = FixedDecimal.zero
        /// What it holds is worked out anew, as of a limit on charges.
        var isComputed = false
        var hasMoved = false
    }

    private var entries: [Entry]
    private var positions: [LimitRow: Int]
    private var charges: [LimitRow: ChargeHolds]

    init(states: [LimitState], arrivals: [LimitRow: FixedDecimal], charges: [LimitRow: ChargeHolds]) {
        let positions = Dictionary(states.enumerated().map { ($0.element.row, $0.offset) }) { first, _ in first }
        self.init(states: states, at: positions, arrivals: arrivals, charges: charges)
    }

    /// - Parameter positions: where in `states` each row is.
    init(
        states: [LimitState],
        at positions: [LimitRow: Int],
        arrivals: [LimitRow: FixedDecimal],
        charges: [LimitRow: ChargeHolds]
    ) {
        entries = states.map { Entry(state: $0) }
        self.positions = positions
        self.charges = charges
        for (row, arrival) in arrivals {
            let unused = LimitState(row: row, windowEnd: .maximum, balance: LimitBalance(amount: .zero), revision: 0)
            entries[position(of: row, else: unused)].arrival = arrival
        }
    }

    private mutating func position(of row: LimitRow, else unused: @autoclosure () -> LimitState) -> Int {
        if let position = positions[row] { return position }
        positions[row] = entries.count
        entries.append(Entry(state: unused()))
        return entries.count - 1
    }

    /// What is to be added to what rows hold.
    var held: [LimitChange] {
        entries.compactMap { entry in
            guard !entry.added.isZero else { return nil }
            var change = LimitChange(
                row: entry.state.row,
                windowEnd: entry.state.windowEnd,
                amount: entry.state.balance.amount,
                revision: entry.state.revision
            )
            change.held = entry.added
            change.overshoot = entry.overshoot
            return change
        }
    }

    /// What rows hold of limits on charges by now, worked out anew.
    var computed: [LimitStateStore.Computed] {
        entries.filter(\.isComputed).map { entry in
            LimitStateStore.Computed(
                entry.state.row,
                held: entry.state.balance.held,
                overshoot: entry.overshoot
            )
        }
    }

    /// Arrival times of rates that moved.
    var moved: [LimitRow: FixedDecimal] {
        var moved: [LimitRow: FixedDecimal] = [:]
        for entry in entries where entry.hasMoved { moved[entry.state.row] = entry.arrival }
        return moved
    }

    enum Verdict: Sendable {
        case allowed([TouchedLimit])
        case refused([LimitViolation])
    }

    /// What one hold takes.
    private enum Step {
        case hold(FixedDecimal)
        case arrival(FixedDecimal, remaining: Int64)
        case nothing
    }

    /// What one hold comes to.
    private enum Judgement {
        case passes(Step)
        case refuses(LimitViolation)
    }

    /// Decides one call: every limit must admit it, or it takes nothing of any.
    /// - Parameter keeps: whether what it takes is taken; not for a trial.
    mutating func decide(
        _ holds: [CallHold],
        of call: AdmissionCall,
        at now: Instant,
        keeps: Bool
    ) throws(DecimalError) -> Verdict {
        var steps: [(position: Int, step: Step)] = []
        steps.reserveCapacity(holds.count)
        var violations: [LimitViolation] = []
        for hold in holds {
            let position = position(of: hold.row, else: LimitState(unused: hold))
            switch try judge(hold, entries[position], of: call, now) {
            case .passes(let step): steps.append((position, step))
            case .refuses(let violation): violations.append(violation)
            }
        }
        guard violations.isEmpty else { return .refused(violations) }
        // What is out of range is so before anything is taken.
        var touched: [TouchedLimit] = []
        touched.reserveCapacity(holds.count)
        for (index, hold) in holds.enumerated() {
            touched.append(try self.touched(hold, by: steps[index].step, at: steps[index].position))
        }
        guard keeps else { return .allowed(touched) }
        for (index, hold) in holds.enumerated() {
            try keep(hold, steps[index].step, touched[index].state.balance, at: steps[index].position)
        }
        return .allowed(touched)
    }

    /// The limits that an admitted call touches, as they stand: it takes nothing more of them.
    func standing(_ holds: [CallHold], of call: AdmissionCall, at now: Instant) -> [TouchedLimit] {
        holds.map { hold in
            let entry = positions[hold.row].map { entries[$0] } ?? Entry(state: LimitState(unused: hold))
            if case .rate(_, let rate, let shares) = hold.take {
                let share = shares[call.criticality(within: hold.limit)]
                let left = try? rate.decide(.zero, arrival: entry.arrival, at: now, share: share).remaining
                return TouchedLimit(limit: hold.limit, state: entry.state, rateRemaining: left)
            }
            return TouchedLimit(limit: hold.limit, state: entry.state)
        }
    }

    private func judge(
        _ hold: CallHold,
        _ entry: Entry,
        of call: AdmissionCall,
        _ now: Instant
    ) throws(DecimalError) -> Judgement {
        let balance = entry.state.balance.allowing(hold.limit.measure)
        switch hold.take {
        case .rate(let units, let rate, let shares):
            let share = shares[call.criticality(within: hold.limit)]
            return Self.judge(try rate.decide(units, arrival: entry.arrival, at: now, share: share), of: hold)
        case .unpriced(let use):
            guard hold.limit.denies else { return .passes(.nothing) }
            return .refuses(
                LimitViolation(
                    limit: hold.limit,
                    state: entry.state,
                    reason: .unpricedModel,
                    retryAfterMicroseconds: nil,
                    unpriced: use
                )
            )
        case .amount(let amount):
            guard !hold.limit.denies || balance.admits(amount) else {
                return exceeded(hold, entry.state, byCallOf: amount, now)
            }
            return .passes(.hold(amount))
        case .tiers(let totals, let money):
            let held = try charges[hold.row]?.amount(adding: totals, money: money) ?? balance.held
            guard !hold.limit.denies || balance.admits(heldInAll: held) else {
                let alone = try charges[hold.row]?.least(of: totals, money: money) ?? .zero
                return exceeded(hold, entry.state, byCallOf: alone, now)
            }
            return .passes(.hold(try held.subtracting(balance.held)))
        }
    }

    /// - Parameter alone: what the call takes of the limit at least, whatever else there is.
    private func exceeded(
        _ hold: CallHold,
        _ state: LimitState,
        byCallOf alone: FixedDecimal,
        _ now: Instant
    ) -> Judgement {
        let allowed = state.balance.amount
        let isTooLarge = alone > allowed
        return .refuses(
            LimitViolation(
                limit: hold.limit,
                state: state,
                reason: hold.limit.reason,
                // Where nothing is allowed the limit is reached from the start, and waiting does not help.
                retryAfterMicroseconds: isTooLarge || allowed.isZero ? nil : hold.retryAfter(now),
                isTooLarge: isTooLarge && allowed > .zero
            )
        )
    }

    private static func judge(_ decision: RateDecision, of hold: CallHold) -> Judgement {
        switch decision {
        case .allowed(let arrival, let remaining):
            return .passes(.arrival(arrival, remaining: remaining))
        case .refused(let retryAfter, let remaining):
            return .refuses(
                LimitViolation(
                    limit: hold.limit,
                    state: LimitState(unused: hold),
                    reason: .rateLimited,
                    retryAfterMicroseconds: retryAfter,
                    rateRemaining: remaining
                )
            )
        }
    }

    /// The limit with what a step takes of it.
    private func touched(_ hold: CallHold, by step: Step, at position: Int) throws(DecimalError) -> TouchedLimit {
        switch step {
        case .hold(let amount):
            var state = entries[position].state
            state.balance.held = try state.row.sum(state.balance.held, amount)
            return TouchedLimit(limit: hold.limit, state: state)
        case .arrival(_, let remaining):
            return TouchedLimit(limit: hold.limit, state: LimitState(unused: hold), rateRemaining: remaining)
        case .nothing:
            return TouchedLimit(limit: hold.limit, state: entries[position].state)
        }
    }

    private mutating func keep(
        _ hold: CallHold,
        _ step: Step,
        _ balance: LimitBalance,
        at position: Int
    ) throws(DecimalError) {
        switch step {
        case .arrival(let arrival, _):
            entries[position].arrival = arrival
            entries[position].hasMoved = true
        case .hold(let amount):
            entries[position].state.balance = balance
            guard case .tiers(let totals, let money) = hold.take else {
                entries[position].added = try hold.row.sum(entries[position].added, amount)
                return
            }
            try charges[hold.row]?.hold(totals, money: money)
            entries[position].isComputed = true
            try add(hold.frees, beside: hold)
        case .nothing:
            break
        }
    }

    private mutating func add(_ parts: [ReservationHold], beside hold: CallHold) throws(DecimalError) {
        for part in parts {
            let position = self.position(of: part.row, else: LimitState(unused: hold, part: part.row))
            entries[position].added = try entries[position].added.adding(part.amount)
        }
    }
}

extension AdmissionStates {
    /// Takes what an open call holds anew, whether or not there is room: what a limit that denies comes to hold beyond
    /// its amount is overshoot. Where quantities would count in other counters of a limit on charges by now, that is
    /// done where they cost more there.
    /// - Returns: what was taken.
    mutating func takeAnew(_ revised: [RevisedHold]) throws(DecimalError) -> [RevisedHold] {
        var taken: [RevisedHold] = []
        for revision in revised {
            let hold = revision.hold
            let position = position(of: hold.row, else: LimitState(unused: hold))
            var balance = entries[position].state.balance
            switch hold.take {
            case .amount(let amount):
                balance.held = try hold.row.sum(balance.held, amount)
                entries[position].added = try hold.row.sum(entries[position].added, amount)
            case .tiers(let totals, let money):
                guard var holds = charges[hold.row] else { continue }
                try holds.free(revision.replaced, money: revision.replacedMoney)
                try holds.hold(totals, money: money)
                let held = try holds.amount()
                let movesNothing = revision.replacedRows.allSatisfy(\.amount.isZero)
                guard held > balance.held || movesNothing else { continue }
                balance.held = held
                charges[hold.row] = holds
                entries[position].isComputed = true
                try add(hold.frees, beside: hold)
            case .rate, .unpriced:
                continue
            }
            if hold.limit.denies {
                let beyond = try max(.zero, balance.used.adding(balance.held).subtracting(balance.amount))
                entries[position].overshoot = max(.zero, try beyond.subtracting(balance.overshoot))
            }
            entries[position].state.balance = balance
            taken.append(revision)
        }
        return taken
    }
}

extension LimitRow {
    /// What it holds with more; a row that all share goes no further than it can say, see `LimitStateStore`.
    fileprivate func sum(_ held: FixedDecimal, _ more: FixedDecimal) throws(DecimalError) -> FixedDecimal {
        do {
            return try held.adding(more)
        } catch {
            guard tenant == .operatorWide else { throw error }
            return .greatest
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

    /// Of a row beside the hold's own, which has no amount of its own.
    fileprivate init(unused hold: CallHold, part: LimitRow) {
        self.init(row: part, windowEnd: hold.windowEnd, balance: LimitBalance(amount: .zero), revision: 0)
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
    /// When the window ends, there is a new one; all time has no end. In a window that is still to begin only calls
    /// under way hold something, and most have ended when it does.
    fileprivate func retryAfter(_ now: Instant) -> Int64? {
        let time = row.windowStart > now ? row.windowStart : windowEnd
        return time == .maximum ? nil : max(0, time.microseconds - now.microseconds)
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
