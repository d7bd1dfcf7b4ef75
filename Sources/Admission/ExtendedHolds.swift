import BillingCore
import Catalog
import Limits
import Usage

/// What a call takes beyond what its reservation holds when that gets a later end: in the windows that it enters, and
/// of a window that it is in, in the counters of a billing period that it enters, or what it is charged more there.
struct ExtendedHolds {
    private let reservation: Reservation
    /// Of which rows the reservation holds something, those beside a limit's own aside.
    private let ofReservation: Set<LimitRow>
    /// The rows that something is held of, or need not be held of.
    private var held: Set<LimitRow>
    /// The most that it held or took of each row.
    private var amounts: [LimitRow: FixedDecimal]
    private var costs: HighestCosts
    /// Of which something had no known price.
    private var unpriced: Set<LimitRow> = []
    /// What it was in until now, whether it holds of it or not: of a limit that came after its admission, and of one
    /// that it takes nothing of, it holds nothing.
    private var reached: Set<LimitRow> = []

    /// - Parameters:
    ///   - reservation: as it was until now.
    ///   - holding: what it holds of each row.
    init(of reservation: Reservation, holding: [LimitRow: FixedDecimal]) {
        self.reservation = reservation
        ofReservation = Set(holding.keys.map { ChargeHolds.mainRow(beside: $0) ?? $0 })
        held = Set(holding.keys)
        amounts = holding
        costs = HighestCosts(holding)
    }

    /// - Parameters:
    ///   - call: at the end that it has until now.
    ///   - later: at the moments from then until the new end.
    /// - Returns: what is to be held beside.
    mutating func beyond(
        _ call: PreparedCall,
        later: [PreparedCall],
        policy: LimitPolicy
    ) throws(DecimalError) -> [CallHold] {
        var matching = LimitMatching(shared: call.shared, operatorZone: policy.operatorZone)
        var windows = WindowCache(zone: call.tenant.zone)
        for use in matching.uses(of: LimitedUse(call.pending), by: call.tenant, windows: &windows) {
            reached.insert(use.row)
            if concerns(use) { try note(try CallHold(use, call)) }
        }
        var holds: [CallHold] = []
        var positions: [LimitRow: Int] = [:]
        for later in later {
            for use in matching.uses(of: LimitedUse(later.pending), by: call.tenant, windows: &windows)
            where concerns(use) {
                guard let more = try more(of: try CallHold(use, later)) else { continue }
                if let position = positions[use.row] {
                    holds[position] = try holds[position].adding(more)
                } else {
                    positions[use.row] = holds.count
                    holds.append(more)
                }
            }
        }
        return holds
    }

    /// Whether the call has been in the window, before or now.
    private func hasReached(_ row: LimitRow) -> Bool {
        row.windowStart <= reservation.createdAt || reached.contains(row)
    }

    /// Of a budget that is newer than the call it holds in the windows alone that it enters.
    private func concerns(_ use: LimitUse) -> Bool {
        guard use.limit.isActive, use.limit.holdsOverTheEnd || use.row.windowStart <= reservation.createdAt else {
            return false
        }
        return !use.limit.isBudget(madeAfter: reservation.createdAt) || !hasReached(use.row)
            || ofReservation.contains(use.row)
    }

    /// Of what it counts in until now it holds what it should: where a plan changed at once, under the one before or
    /// the new one.
    private mutating func note(_ hold: CallHold) throws(DecimalError) {
        switch hold.take {
        case .unpriced: unpriced.insert(hold.row)
        case .amount(let amount): amounts[hold.row] = max(amount, amounts[hold.row] ?? .zero)
        case .tiers: held.formUnion(hold.frees.map(\.row))
        case .rate: break
        }
        _ = try costs.note(hold)
    }

    /// What it takes at a later moment beyond what is held; nil where that is nothing.
    private mutating func more(of hold: CallHold) throws(DecimalError) -> CallHold? {
        let isEntered = !hasReached(hold.row) && !held.contains(hold.row)
        let more: CallHold?
        switch hold.take {
        case .amount(let amount):
            let before = amounts[hold.row] ?? .zero
            amounts[hold.row] = max(amount, before)
            if isEntered {
                more = hold
            } else {
                more = amount > before ? hold.taking(.amount(try amount.subtracting(before))) : nil
            }
        case .tiers(let totals, let money):
            let before = try costs.note(hold)
            more = try inCounters(hold, totals, money, costs: before, isEntered: isEntered)
        case .unpriced: more = isEntered || !unpriced.contains(hold.row) ? hold : nil
        case .rate: more = isEntered ? hold : nil
        }
        if let more { held.formUnion(more.frees.map(\.row)) }
        return more
    }

    /// What it takes in counters of which nothing is held, and in others what providers charge more; nil where that is
    /// nothing. In a window that it enters it is judged also where it takes nothing, as a call that is admitted is.
    private func inCounters(
        _ hold: CallHold,
        _ totals: [CounterKey: UsageTotal],
        _ money: FixedDecimal,
        costs: [CounterKey: FixedDecimal],
        isEntered: Bool
    ) throws(DecimalError) -> CallHold? {
        var more: [CounterKey: UsageTotal] = [:]
        for (counter, total) in totals where isEntered || total != .zero {
            if held.isDisjoint(with: ChargeHolds.allRows(beside: hold.row, of: [counter])) {
                more[counter] = total
            } else if let cost = costs[counter], total.cost > cost {
                more[counter] = UsageTotal(quantity: .zero, eventCount: 0, cost: try total.cost.subtracting(cost))
            }
        }
        let moreMoney = held.contains(ChargeHolds.moneyRow(beside: hold.row)) ? .zero : money
        guard isEntered || !more.isEmpty || !moreMoney.isZero else { return nil }
        return hold.taking(.tiers(more, money: moreMoney))
    }
}

/// What providers charge at most for what a call counts in each counter, as far as it was looked at.
private struct HighestCosts {
    private let holding: [ReservationHold]
    private var costs: [LimitRow: [CounterKey: FixedDecimal]] = [:]

    init(_ holding: [LimitRow: FixedDecimal]) {
        self.holding = holding.map { ReservationHold(row: $0.key, amount: $0.value) }
    }

    /// Looks at another moment.
    /// - Returns: of the counters of its row the most up to then, or what is held, if that is more.
    mutating func note(_ hold: CallHold) throws(DecimalError) -> [CounterKey: FixedDecimal] {
        guard case .tiers(let totals, _) = hold.take else { return [:] }
        let before: [CounterKey: FixedDecimal]
        if let known = costs[hold.row] {
            before = known
        } else {
            before = try ChargeHolds.totals(of: holding, beside: hold.row).mapValues(\.cost)
        }
        costs[hold.row] = before.merging(totals.mapValues(\.cost)) { max($0, $1) }
        return before
    }
}

extension CallHold {
    fileprivate func taking(_ take: Take) -> CallHold {
        CallHold(limit: limit, row: row, windowEnd: windowEnd, take: take)
    }
}
