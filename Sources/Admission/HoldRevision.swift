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
}

/// Has open calls hold what they can come to cost by plans and prices that were changed after their admission. They
/// stay admitted: what they come to hold beyond a limit is overshoot, and leaves room for no further call.
struct HoldRevision: Sendable {
    private static let attempts = 8

    let admission: AdmissionService

    /// - Parameter holding: what the reservation was read to hold; looked at again where that is too little.
    func revise(
        _ reservation: Reservation,
        _ stored: ReservedCall,
        holding: [ReservationHold],
        at now: Instant
    ) async throws {
        // What can't be read or measured any more holds what it holds.
        guard let call = AdmissionCall(stored) else { return }
        for _ in 0..<Self.attempts {
            do {
                let end = max(reservation.expiresAt, now)
                let times = try await admission.lookAgain(
                    at: call,
                    of: reservation,
                    from: reservation.createdAt,
                    until: end,
                    also: now
                )
                guard let times else { return }
                let revising = Revising(
                    reservation: reservation,
                    call: call,
                    times: times,
                    policy: admission.calls.limits,
                    now: now
                )
                guard try !revising.revised(holding).isEmpty else { return }
                return try await admission.pool.transaction(.worker, retries: .idempotent(attempts: 4)) { transaction in
                    try revising.run(in: transaction)
                }
            } catch let stale as StaleCatalog {
                try await admission.calls.refresh(stale)
            }
        }
        throw Problem.limitsUnavailable
    }
}

/// An open call whose holds are worked out anew.
private struct Revising: Sendable {
    let reservation: Reservation
    let call: AdmissionCall
    /// The call from its admission until its reservation's end.
    let times: CallTimes
    let policy: LimitPolicy
    let now: Instant

    /// What it is to hold beyond what it holds.
    func revised(_ holding: [ReservationHold]) throws -> [RevisedHold] {
        var amounts: [LimitRow: FixedDecimal] = [:]
        for hold in holding { amounts[hold.row] = try amounts[hold.row, default: .zero].adding(hold.amount) }
        let coming = times.later.filter { $0.pending.time >= now }
        let holds = try CallHold.beyond(
            reservation,
            of: times.first,
            later: coming,
            holding: amounts,
            policy: policy
        )
        let counters = Set(coming.flatMap { $0.pending.heldTotals(of: $0.tenant.id).keys })
        return try holds.compactMap { hold in
            if case .unpriced = hold.take { return nil }
            let held = try ChargeHolds.totals(of: holding, beside: hold.row).filter { !counters.contains($0.key) }
            return RevisedHold(hold, replacing: held)
        }
    }

    /// The reservation is locked before the limits.
    /// - Throws: `StaleCatalog` where the catalogue moved on, or did while the call was prepared.
    func run(in transaction: borrowing Transaction) throws {
        try times.requireOneVersion()
        transaction.waitForLocks(atMost: ReservationClosing.patience)
        let name = TenantReservation(tenant: reservation.tenantID, id: reservation.id)
        let locked = try transaction.query(ReservationStore.close([name: .held], at: now), ReservationStore.decodeHold)
        let holding = locked.compactMap(\.hold)
        let revised = try revised(holding)
        // Settled, or looked at by somebody else meanwhile.
        guard !locked.isEmpty, !revised.isEmpty else { return }
        let request = AdmissionRequest(
            call: call,
            prepared: times.last,
            later: [],
            holds: revised.map(\.hold),
            life: ReservationLife(
                createdAt: reservation.createdAt,
                expiresAt: reservation.expiresAt,
                suspenseEndsAt: reservation.suspenseEndsAt
            ),
            wanted: nil,
            shrunk: nil,
            isCheck: false
        )
        let flush = AdmissionFlush(requests: [request], policy: policy, now: now)
        let results = try transaction.pipeline([
            LimitStateStore.count(LockedRows([request]).changes), flush.versionsInForce,
        ])
        try flush.checkVersions(results[1])
        var states = AdmissionStates(
            states: try results[0].map(LimitStateStore.decode),
            arrivals: [:],
            charges: try ChargeHolds.load(flush.tiers, in: transaction)
        )
        let taken = try states.takeAnew(revised)
        guard !taken.isEmpty else { return }
        flush.enqueue(AdmissionDecisions(existing: [], ids: policy.ids), states, in: transaction)
        let replaced = taken.flatMap { ChargeHolds.rows(beside: $0.hold.row, holding: $0.replaced) }
        if !replaced.isEmpty {
            transaction.enqueue(LimitStateStore.count(replaced.map { LimitChange(freeing: $0.amount, of: $0.row) }))
        }
        let held = try holding.with(taken.flatMap(\.hold.frees), without: replaced)
        transaction.enqueue(ReservationStore.setHolds([name: held]))
    }
}

extension RevisedHold {
    /// A part of the call may be settled already: of what it held in the place of a counter, the rest is held there.
    fileprivate init(_ hold: CallHold, replacing held: [CounterKey: UsageTotal]) {
        guard case .tiers(var totals, let money) = hold.take else {
            self.init(hold: hold, replaced: [:])
            return
        }
        var replaced: [CounterKey: UsageTotal] = [:]
        for (counter, total) in totals {
            let before = held.filter { $0.key.feature == counter.feature && $0.key.cell == counter.cell }
            replaced.merge(before) { first, _ in first }
            if let rest = before.values.max(by: { $0.quantity < $1.quantity }), rest.quantity < total.quantity {
                totals[counter] = rest
            }
        }
        let take = CallHold.Take.tiers(totals, money: money)
        self.init(
            hold: CallHold(limit: hold.limit, row: hold.row, windowEnd: hold.windowEnd, take: take),
            replaced: replaced
        )
    }
}

extension LimitChange {
    /// Of a row that is there, whose amount in force is left as it is.
    fileprivate init(freeing amount: FixedDecimal, of row: LimitRow) {
        self.init(row: row, windowEnd: row.windowStart, amount: .zero, revision: 0)
        released = amount
    }
}

extension [ReservationHold] {
    fileprivate func with(
        _ more: [ReservationHold],
        without freed: [(row: LimitRow, amount: FixedDecimal)]
    ) throws(DecimalError) -> [ReservationHold] {
        var amounts: [LimitRow: FixedDecimal] = [:]
        for hold in self + more { amounts[hold.row] = try amounts[hold.row, default: .zero].adding(hold.amount) }
        for (row, amount) in freed { amounts[row] = try amounts[row, default: .zero].subtracting(amount) }
        return amounts.filter { !$0.value.isZero }.map { ReservationHold(row: $0.key, amount: $0.value) }
    }
}
