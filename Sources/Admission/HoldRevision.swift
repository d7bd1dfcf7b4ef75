import BillingCore
import Catalog
import Limits
import Postgres
import Usage
import Web

/// What an open call is to hold beyond what it holds, since a plan or a price was changed.
struct RevisedHold: Sendable {
    let hold: CallHold
    /// What it holds of a limit on charges in counters in which it does not come to count any more.
    let replaced: [CounterKey: UsageTotal]
    /// What it holds there in place of a price that was not known.
    let replacedMoney: FixedDecimal

    /// Of each row beside the limit's own so much.
    var replacedRows: [(row: LimitRow, amount: FixedDecimal)] {
        let money = (row: ChargeHolds.moneyRow(beside: hold.row), amount: replacedMoney)
        return ChargeHolds.rows(beside: hold.row, holding: replaced) + (replacedMoney.isZero ? [] : [money])
    }
}

/// Has open calls hold what they can come to cost by plans and prices that were changed after their admission. They
/// stay admitted: what they come to hold beyond a limit is overshoot, and leaves room for no further call.
struct HoldRevision: Sendable {
    private static let attempts = 8

    let pool: PostgresPool
    /// Reads beside admission, whose connections are for calls that wait.
    private let calls: CallPreparation

    private let lane: PostgresLane
    /// How long calls and usage in its rows wait for one that somebody else has locked.
    private let patience: Duration

    init(_ admission: AdmissionService, on lane: PostgresLane, waiting patience: Duration) {
        pool = admission.pool
        calls = admission.calls.reading(on: lane)
        self.lane = lane
        self.patience = patience
    }

    /// Revises one call alone, see below.
    func revise(_ reservation: Reservation, _ stored: ReservedCall, at now: Instant) async throws {
        let name = TenantReservation(tenant: reservation.tenantID, id: reservation.id)
        let inForce = try await VersionsInForce(of: [name.tenant], pool: pool, lane: lane)
        let holds = try await pool.query(lane, ReservationStore.holds(of: [name]), ReservationStore.decodeHold)
        try await revise(reservation, stored, holding: HeldReservation(holds), by: inForce, at: now)
    }

    /// - Parameters:
    ///   - holding: what the reservation was read to hold; looked at again where that is too little.
    ///   - inForce: the change may have been made elsewhere a moment ago.
    /// - Throws: `PostgresError` that `isLockTimeout` where somebody has a row locked.
    func revise(
        _ reservation: Reservation,
        _ stored: ReservedCall,
        holding: HeldReservation,
        by inForce: VersionsInForce,
        at now: Instant
    ) async throws {
        // What has expired, or can't be read or measured any more, holds what it holds.
        guard reservation.expiresAt > now, let call = AdmissionCall(stored) else { return }
        for _ in 0..<Self.attempts {
            do {
                guard let admitted = try await calls.prepare(call, of: reservation, at: reservation.createdAt),
                    let coming = try await calls.lookAgain(
                        at: call,
                        of: reservation,
                        from: now,
                        until: reservation.expiresAt
                    )
                else { return }
                for call in [admitted, coming.last] { try inForce.requireKnown(to: call) }
                let revising = Revising(
                    reservation: reservation,
                    call: call,
                    admitted: admitted,
                    coming: coming,
                    policy: calls.limits,
                    patience: patience,
                    now: now
                )
                guard try !revising.revised(holding).isEmpty else { return }
                return try await pool.transaction(lane, retries: .idempotent(attempts: 4)) { transaction in
                    try revising.run(in: transaction)
                }
            } catch let stale as StaleCatalog {
                try await calls.refresh(stale)
            }
        }
        throw Problem.limitsUnavailable
    }
}

/// Which versions of the catalogue were in force when reservations were read.
struct VersionsInForce: Sendable {
    private let tenants: [TenantID: Int64]
    private let shared: Int64

    init(of tenants: Set<TenantID>, pool: PostgresPool, lane: PostgresLane) async throws {
        let rows = try await pool.query(
            lane,
            TenantLedger.versionsInForce(of: tenants.sorted()),
            TenantLedger.versionInForce
        )
        self.tenants = Dictionary(rows.map { ($0.tenant, $0.version) }) { first, _ in first }
        shared = rows.first?.shared ?? 0
    }

    /// - Throws: `StaleCatalog` where the call was prepared by an earlier one.
    func requireKnown(to call: PreparedCall) throws(StaleCatalog) {
        let isTenantStale = call.tenant.catalogVersion < tenants[call.tenant.id] ?? 0
        let isSharedStale = call.shared.version < shared
        guard isTenantStale || isSharedStale else { return }
        throw StaleCatalog(tenants: isTenantStale ? [call.tenant.id] : [], shared: isSharedStale)
    }
}

/// An open call whose holds are worked out anew.
private struct Revising: Sendable {
    let reservation: Reservation
    let call: AdmissionCall
    /// The call when it was admitted.
    let admitted: PreparedCall
    /// The call from now until its reservation's end.
    let coming: CallTimes
    let policy: LimitPolicy
    let patience: Duration
    let now: Instant

    /// What it is to hold beyond what it holds.
    func revised(_ holding: HeldReservation) throws(DecimalError) -> [RevisedHold] {
        var asked: [CallHold] = []
        if holding.isPartlySettled {
            asked = try CallHold.all(of: admitted, later: [], policy: policy, withInactive: true)
        }
        let held = try HeldByCall(holding.holds, asked: asked)
        guard held.hasRest else { return [] }
        var revised: [RevisedHold] = []
        for hold in try CallHold.all(of: coming.first, later: coming.later, policy: policy)
        where comesToHold(hold, held) {
            if let more = try held.missing(of: hold) { revised.append(more) }
        }
        return revised
    }

    /// Whether the call would have held it too had it been admitted by what is in force now: not of budgets that are
    /// newer, and of minutes and hours only in the one that it began in. What comes into force with a plan counts what
    /// its window has seen.
    private func comesToHold(_ hold: CallHold, _ held: HeldByCall) -> Bool {
        if held.isHeld(hold.row) { return true }
        guard hold.limit.holdsOverTheEnd || hold.row.windowStart <= reservation.createdAt else { return false }
        return !hold.limit.isBudget(madeAfter: reservation.createdAt)
    }

    /// The reservation is locked before the limits.
    /// - Throws: `StaleCatalog` where the catalogue moved on, or did while the call was prepared.
    func run(in transaction: borrowing Transaction) throws {
        try coming.requireOneVersion(as: admitted)
        transaction.waitForLocks(atMost: patience)
        let name = TenantReservation(tenant: reservation.tenantID, id: reservation.id)
        let locked = try transaction.query(ReservationStore.close([name: .held], at: now), ReservationStore.decodeHold)
        let holding = HeldReservation(locked)
        let revised = try revised(holding)
        // Settled, or looked at by somebody else meanwhile.
        guard !locked.isEmpty, !revised.isEmpty else { return }
        let flush = AdmissionFlush(
            call,
            of: reservation,
            prepared: coming.last,
            holds: revised.map(\.hold),
            policy: policy,
            now: now
        )
        var states = try flush.lockedStates(in: transaction)
        let taken = try states.takeAnew(revised)
        let untaken = Set(revised.map(\.hold.row)).subtracting(taken.map(\.hold.row))
        if !untaken.isEmpty { transaction.enqueue(LimitStateStore.removeUnused(Array(untaken))) }
        guard !taken.isEmpty else { return }
        flush.enqueue(AdmissionDecisions(existing: [:], ids: policy.ids), states, in: transaction)
        let replaced = taken.flatMap(\.replacedRows)
        if !replaced.isEmpty {
            let freed = replaced.map { row, amount in
                var change = LimitChange(keeping: row)
                change.released = amount
                return change
            }
            transaction.enqueue(LimitStateStore.count(freed))
        }
        let held = try holding.holds.with(taken.flatMap(\.hold.frees), without: replaced)
        transaction.enqueue(ReservationStore.setHolds([name: held]))
    }
}

/// What an open reservation holds.
struct HeldReservation: Sendable {
    let holds: [ReservationHold]
    /// Whether an event has settled a part of it, so that what is left tells no more what the call can come to.
    let isPartlySettled: Bool

    /// - Parameter rows: what `ReservationStore` answers of it.
    init(_ rows: [(reservation: TenantReservation, isPartlySettled: Bool, hold: ReservationHold?)]) {
        holds = rows.compactMap(\.hold)
        isPartlySettled = rows.first?.isPartlySettled ?? false
    }
}

/// What an open call holds, beside what it asked for.
private struct HeldByCall {
    /// A limit's rows of one value, whatever the window.
    private struct Kind: Hashable {
        let limit: TenantLimit
        let scopeValue: String

        init(_ row: LimitRow) {
            limit = TenantLimit(of: row)
            scopeValue = row.scopeValue
        }
    }

    private let holding: [ReservationHold]
    private var amounts: [LimitRow: FixedDecimal] = [:]
    private var asked: [Kind: FixedDecimal] = [:]
    private var askedCosts: [CounterKey: FixedDecimal] = [:]
    /// How much of the call is not settled yet, so much of so much, by the quantities that it holds.
    private var rest: (held: FixedDecimal, of: FixedDecimal)?
    /// Whether it holds money: how much of that is left says nothing once prices have changed.
    private var holdsMoney = false
    private var asksForMoney = false

    /// - Parameter holds: what it would have taken when it was admitted, of what has come into force since as well.
    ///   Nothing of one of which nothing is settled: it is to hold whatever it can come to.
    init(_ holding: [ReservationHold], asked holds: [CallHold]) throws(DecimalError) {
        self.holding = holding
        for hold in holding { amounts[hold.row] = try amounts[hold.row, default: .zero].adding(hold.amount) }
        // What is settled wholly stays as a row that holds nothing.
        let kinds = Set(holding.map { Kind(ChargeHolds.mainRow(beside: $0.row) ?? $0.row) })
        for hold in holds where kinds.contains(Kind(hold.row)) {
            switch hold.take {
            case .amount(let amount):
                asked[Kind(hold.row)] = amount
                let held = amounts[hold.row] ?? .zero
                switch hold.limit.measure {
                case .units:
                    noteRest(held, of: amount)
                case .charge, .cost:
                    asksForMoney = asksForMoney || amount > .zero
                    holdsMoney = holdsMoney || held > .zero
                case .requests, .tokens:
                    // The first part frees the request.
                    break
                }
            case .tiers(let totals, _):
                let held = try ChargeHolds.totals(of: holding, beside: hold.row)
                for (counter, total) in totals {
                    askedCosts[counter] = total.cost
                    // What a change has moved to a later segment is the rest there.
                    let own = held.filter { $0.key.isSame(as: counter) }.values.map(\.quantity).max()
                    noteRest(own ?? .zero, of: total.quantity)
                }
            case .rate, .unpriced:
                break
            }
        }
    }

    /// A part may have counted in one limit and not in another.
    private mutating func noteRest(_ held: FixedDecimal, of asked: FixedDecimal) {
        guard asked > .zero else { return }
        let isMore = rest.map { held.multiplied(by: $0.of) > $0.held.multiplied(by: asked) } ?? true
        if isMore { rest = (min(held, asked), asked) }
    }

    /// Whether anything of the call is still to come. A limit in which nothing was ever held says nothing of it.
    var hasRest: Bool {
        let asksForNothing = rest == nil && !asksForMoney
        return holdsMoney || asksForNothing || rest.map { $0.held > .zero } ?? false
    }

    func isHeld(_ row: LimitRow) -> Bool {
        amounts[row] != nil || amounts.keys.contains { ChargeHolds.mainRow(beside: $0) == row }
    }

    /// What the call is to hold of a row beyond what it holds; nil where that is nothing.
    /// - Parameter hold: what all of it takes by what is in force now.
    func missing(of hold: CallHold) throws(DecimalError) -> RevisedHold? {
        let take: CallHold.Take
        var replaced: [CounterKey: UsageTotal] = [:]
        var replacedMoney = FixedDecimal.zero
        switch hold.take {
        case .amount(let amount):
            guard amount > asked[Kind(hold.row)] ?? .zero else { return nil }
            let more = try left(of: amount).subtracting(amounts[hold.row] ?? .zero)
            guard more > .zero else { return nil }
            take = .amount(more)
        case .tiers(let totals, let money):
            let held = try ChargeHolds.totals(of: holding, beside: hold.row)
            let more = try missing(of: totals, beside: held)
            let heldMoney = amounts[ChargeHolds.moneyRow(beside: hold.row)]
            let moreMoney = heldMoney == nil ? try left(of: money) : .zero
            if !more.isEmpty { replacedMoney = max(.zero, try (heldMoney ?? .zero).subtracting(left(of: money))) }
            guard !more.isEmpty || !moreMoney.isZero else { return nil }
            replaced = held.filter { own in
                totals[own.key] == nil && more.keys.contains { $0.isSame(as: own.key) }
            }
            take = .tiers(more, money: moreMoney)
        case .rate, .unpriced:
            return nil
        }
        let more = CallHold(limit: hold.limit, row: hold.row, windowEnd: hold.windowEnd, take: take)
        return RevisedHold(hold: more, replaced: replaced, replacedMoney: replacedMoney)
    }

    /// What is to be held in further counters, and of those that are held, what the providers charge more.
    private func missing(
        of totals: [CounterKey: UsageTotal],
        beside held: [CounterKey: UsageTotal]
    ) throws(DecimalError) -> [CounterKey: UsageTotal] {
        var missing: [CounterKey: UsageTotal] = [:]
        for (counter, total) in totals where total != .zero {
            let cost = try left(of: total.cost)
            if let own = held[counter] {
                guard total.cost > askedCost(of: counter), cost > own.cost else { continue }
                missing[counter] = UsageTotal(quantity: .zero, eventCount: 0, cost: try cost.subtracting(own.cost))
            } else {
                let quantity = try left(of: total.quantity)
                missing[counter] = UsageTotal(quantity: quantity, eventCount: total.eventCount, cost: cost)
            }
        }
        return missing
    }

    /// What the providers would have charged at the admission, in whichever billing period and segment that was.
    private func askedCost(of counter: CounterKey) -> FixedDecimal {
        askedCosts.first { $0.key.isSame(as: counter) }?.value ?? .zero
    }

    /// So much of an amount as of the call is left; all of it where only money is held.
    private func left(of amount: FixedDecimal) throws(DecimalError) -> FixedDecimal {
        guard let rest, rest.held > .zero, rest.held < rest.of else { return amount }
        let part = amount.multiplied(
            byNumerator: rest.held.unscaled.magnitude,
            denominator: rest.of.unscaled.magnitude
        )
        guard let part else { throw .outOfRange }
        return part
    }
}

extension CounterKey {
    /// Whether it counts the same in another billing period or segment.
    fileprivate func isSame(as other: CounterKey) -> Bool { feature == other.feature && cell == other.cell }
}

extension [ReservationHold] {
    fileprivate func with(
        _ more: [ReservationHold],
        without freed: [(row: LimitRow, amount: FixedDecimal)]
    ) throws(DecimalError) -> [ReservationHold] {
        var amounts: [LimitRow: FixedDecimal] = [:]
        for hold in self + more { amounts[hold.row] = try amounts[hold.row, default: .zero].adding(hold.amount) }
        for (row, amount) in freed { amounts[row] = try amounts[row, default: .zero].subtracting(amount) }
        // What is settled wholly stays as a row that holds nothing, what has moved does not.
        let moved = Set(freed.map(\.row))
        return amounts.filter { !$0.value.isZero || !moved.contains($0.key) }
            .map { ReservationHold(row: $0.key, amount: $0.value) }
    }
}
