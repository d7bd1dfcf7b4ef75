import BillingCore
import Catalog
import Limits
import Usage

/// What a call would take of one row of a limit.
struct CallHold: Sendable {
    enum Take: Sendable {
        case amount(FixedDecimal)
        /// Quantities of a limit on a tenant's charges, whose amount follows from all that is held of it; and money
        /// beside them for what has no known price.
        case tiers([CounterKey: UsageTotal], money: FixedDecimal)
        case rate(FixedDecimal, of: GenericCellRate, shares: CriticalityShares)
        /// The call's price is not known, and the limit names none to fall back to.
        case unpriced(UnpricedUse)
    }

    let limit: Limit
    let row: LimitRow
    let windowEnd: Instant
    let take: Take
}

extension CallHold {
    /// Everything that a call takes, by the limits in force: in its windows, by the highest price that it can reach,
    /// and in those too that its reservation can come to be settled in (for minutes and hours in the first only).
    /// - Parameters:
    ///   - later: the same call at later moments of its reservation's life, see `CallTimes`.
    ///   - withInactive: whether limits that have gone out of force count too.
    static func all(
        of call: PreparedCall,
        later: [PreparedCall],
        policy: LimitPolicy,
        withInactive: Bool = false
    ) throws(DecimalError) -> [CallHold] {
        var matching = LimitMatching(shared: call.shared, operatorZone: policy.operatorZone)
        var windows = WindowCache(zone: call.tenant.zone)
        let uses = matching.uses(of: LimitedUse(call.pending), by: call.tenant, windows: &windows, withRates: true)
        var holds: [CallHold] = []
        holds.reserveCapacity(uses.count)
        for use in uses where use.limit.isActive || withInactive { holds.append(try CallHold(use, call)) }
        guard !later.isEmpty else { return holds }
        var positions = Dictionary(holds.enumerated().map { ($0.element.row, $0.offset) }) { first, _ in first }
        var known = KnownCharges()
        for hold in holds { try known.add(hold, of: call) }
        for later in later {
            let next = matching.uses(of: LimitedUse(later.pending), by: call.tenant, windows: &windows)
            for use in next
            where use.limit.isActive && (use.limit.holdsOverTheEnd || positions[use.row] != nil) {
                let hold = try CallHold(use, later)
                try known.add(hold, of: later)
                if let position = positions[use.row] {
                    holds[position] = try holds[position].joined(with: hold)
                } else {
                    positions[use.row] = holds.count
                    holds.append(hold)
                }
            }
        }
        for (row, whole) in known.whole {
            guard let position = positions[row] else { continue }
            holds[position] = try holds[position].inPlaceOfFallback(whole, beside: known.parts[row] ?? .zero)
        }
        return holds
    }

    /// What calls are charged in any case, in limits that name a price to fall back to.
    private struct KnownCharges {
        /// At moments when every price is known, the most.
        var whole: [LimitRow: FixedDecimal] = [:]
        /// At moments when some are, and the fallback stands beside: the most, so that it is enough for each of them.
        var parts: [LimitRow: FixedDecimal] = [:]

        mutating func add(_ hold: CallHold, of call: PreparedCall) throws(DecimalError) {
            guard hold.limit.fallbackUnitAmount != nil, case .tiers(let totals, let money) = hold.take else { return }
            let charge = try call.pending.lowestCharge(of: totals)
            if money.isZero {
                whole[hold.row] = max(charge, whole[hold.row] ?? charge)
            } else {
                parts[hold.row] = max(charge, parts[hold.row] ?? charge)
            }
        }
    }

    /// What it holds where it comes to be charged so much: of a fallback price only what is beyond that, and what the
    /// known prices come to beside it.
    private func inPlaceOfFallback(
        _ charge: FixedDecimal,
        beside known: FixedDecimal
    ) throws(DecimalError) -> CallHold {
        guard case .tiers(let totals, let money) = take, !money.isZero else { return self }
        let more = max(.zero, try charge.subtracting(known))
        let rest = max(.zero, try money.subtracting(more))
        return CallHold(limit: limit, row: row, windowEnd: windowEnd, take: .tiers(totals, money: rest))
    }

    /// The same row at two moments of a reservation's life: a billing period, a trial or a plan may end in between, so
    /// that the call counts in other counters then, at other prices. It holds in both counters, or the higher amount.
    /// One of which some price is not known at either is refused for that, unless the limit refuses nothing.
    private func joined(with later: CallHold) throws(DecimalError) -> CallHold {
        switch (take, later.take) {
        case (_, .unpriced): return limit.denies ? later : self
        case (.unpriced, _): return limit.denies ? self : later
        // Of one counter the call takes as much at any time, but for what it costs.
        default: return try merged(with: later, { $0.cost < $1.cost ? $1 : $0 }) { max($0, $1) }
        }
    }

    /// Both of one row, where one is taken beside the other.
    func adding(_ more: CallHold) throws(DecimalError) -> CallHold {
        if case .unpriced = more.take { return more }
        return try merged(with: more) { own, other throws(DecimalError) in
            try own.adding(other)
        } _: { own, other throws(DecimalError) in
            try own.adding(other)
        }
    }

    /// In the counters of both, and what comes of amounts, and of totals of one counter.
    private func merged(
        with other: CallHold,
        _ total: (UsageTotal, UsageTotal) throws(DecimalError) -> UsageTotal,
        _ amount: (FixedDecimal, FixedDecimal) throws(DecimalError) -> FixedDecimal
    ) throws(DecimalError) -> CallHold {
        let merged: Take
        switch (take, other.take) {
        case (.tiers(let own, let money), .tiers(let others, let otherMoney)):
            var totals = own
            for (counter, other) in others {
                totals[counter] =
                    try totals[counter].map { (own) throws(DecimalError) in try total(own, other) } ?? other
            }
            merged = .tiers(totals, money: try amount(money, otherMoney))
        case (.amount(let own), .amount(let others)):
            merged = .amount(try amount(own, others))
        default:
            return self
        }
        return CallHold(limit: limit, row: row, windowEnd: windowEnd, take: merged)
    }

    init(_ use: LimitUse, _ call: PreparedCall) throws(DecimalError) {
        limit = use.limit
        row = use.row
        windowEnd = use.window.end
        take = try Self.take(use, call)
    }

    private static func take(_ use: LimitUse, _ call: PreparedCall) throws(DecimalError) -> Take {
        if case .rate(let rate, let shares) = use.limit.bound {
            guard case .known(let units) = use.amount else { return .rate(.zero, of: rate, shares: shares) }
            return .rate(units, of: rate, shares: shares)
        }
        switch use.amount {
        case .known(let amount):
            return .amount(amount)
        case .unpriced:
            guard let fallback = try fallback(use.limit, call) else { return .unpriced(call.pending.unpricedCost) }
            let known = use.limit.currency.flatMap { pricedParts(of: call)?.cost(in: $0) }
            return .amount(try fallback.adding(known ?? .zero))
        case .charge(let feature):
            var (call, money) = (call, FixedDecimal.zero)
            let withDistinct = use.limit.boundsAllCharges
            if let unpriced = call.pending.unpricedCharge(of: feature, withDistinct: withDistinct) {
                guard let fallback = try fallback(use.limit, call) else { return .unpriced(unpriced) }
                money = fallback
                call = pricedParts(of: call) ?? call
            }
            // Of what has a price.
            let totals = call.pending.heldTotals(of: call.tenant.id, feature: feature, withDistinct: withDistinct)
            guard !use.limit.followsTiers else { return .tiers(totals, money: money) }
            return .amount(try call.pending.highestCharge(of: totals).adding(money))
        }
    }

    /// The call as if those parts cost nothing whose price is not known. What is measured was measured before, so that
    /// nothing of it can fail.
    private static func pricedParts(of call: PreparedCall) -> PreparedCall? { try? call.atKnownPrices() }

    /// What the limit holds a call at of which something has no known price; nil where it names no such price.
    private static func fallback(_ limit: Limit, _ call: PreparedCall) throws(DecimalError) -> FixedDecimal? {
        guard let unit = limit.fallbackUnitAmount else { return nil }
        let tokens = FixedDecimal(call.pending.event.usage.tokens ?? 0)
        return try tokens.multiplied(by: unit).rounded(toDigits: 12)
    }
}

extension Limit {
    /// Whether calls that were admitted at a time hold nothing of it in the windows that they were in when it was made.
    func isBudget(madeAfter time: Instant) -> Bool {
        guard case .budget = origin else { return false }
        return countedFrom ?? .minimum > time
    }

    /// Whether a hold counts in the next window too when it can expire there.
    var holdsOverTheEnd: Bool {
        guard case .window(_, let kind, _, _) = bound else { return false }
        return kind != .minute && kind != .hour
    }
}
