import BillingCore
import Catalog
import Limits
import Postgres
import Usage
import Web

/// Gives an open reservation a later end. Where it can expire in another window then, it holds there too, as a call
/// that is admitted until then would; where that does not fit it stays as it is.
struct ReservationExtension: Sendable {
    enum Outcome: Sendable {
        case extended(Reservation)
        /// It is not held any more, or has expired.
        case closed(Reservation)
        /// What it would hold in further windows does not fit.
        case refused([LimitViolation])
        /// What it was asked for can't be measured any more.
        case unreadable
    }

    private static let attempts = 8

    let admission: AdmissionService

    /// - Parameter reservation: as it was read last.
    func extend(_ reservation: Reservation, to expiry: Instant, at now: Instant) async throws -> Outcome {
        var reservation = reservation
        for _ in 0..<Self.attempts {
            guard reservation.status == .held, reservation.expiresAt > now else { return .closed(reservation) }
            do {
                if let outcome = try await extendOnce(reservation, to: max(expiry, reservation.expiresAt), at: now) {
                    return outcome
                }
                // Closed, or extended by somebody else meanwhile.
                let found = try await admission.pool.query(
                    .interactive,
                    ReservationStore.reservation(reservation.id, of: reservation.tenantID),
                    ReservationStore.decode
                ).first
                guard let found else { return .closed(reservation) }
                reservation = found
            } catch let stale as StaleCatalog {
                try await admission.calls.refresh(stale)
            }
        }
        throw Problem.limitsUnavailable
    }

    /// Nil where the reservation is not as it was read any more.
    private func extendOnce(_ reservation: Reservation, to expiry: Instant, at now: Instant) async throws -> Outcome? {
        let name = TenantReservation(tenant: reservation.tenantID, id: reservation.id)
        let stored = try await admission.pool.query(
            .interactive,
            ReservationStore.call(of: name),
            ReservationStore.decodeCall
        ).first
        guard let stored else { return nil }
        // What it holds in further counters of a changed plan, it would hold twice otherwise.
        if try await HoldChangeStore.isUnderWay(of: name.tenant, pool: admission.pool) {
            let revision = HoldRevision(admission, on: .interactive, waiting: ReservationClosing.patience)
            try await revision.revise(reservation, stored, at: now)
        }
        guard let call = AdmissionCall(stored),
            let times = try await admission.calls.lookAgain(
                at: call,
                of: reservation,
                from: reservation.expiresAt,
                until: expiry
            )
        else { return .unreadable }
        guard times.first.tenant.status == .active else { throw Problem.tenantSuspended }
        let moving = Moving(
            reservation: reservation,
            call: call,
            times: times,
            expiry: expiry,
            suspenseEndsAt: expiry.adding(seconds: Int64(admission.limits.suspenseSeconds)),
            policy: admission.calls.limits,
            now: now
        )
        do {
            return try await admission.pool.transaction(.interactive, retries: .idempotent(attempts: 4)) {
                transaction in try moving.run(in: transaction).map { .extended($0) }
            }
        } catch let refused as ExtensionRefused {
            return .refused(refused.violations)
        }
    }
}

/// A further window has no room: the transaction is rolled back, and the reservation ends when it did.
private struct ExtensionRefused: Error {
    let violations: [LimitViolation]
}

/// A reservation's end on its way to a later one.
private struct Moving: Sendable {
    let reservation: Reservation
    let call: AdmissionCall
    /// The call from the end that the reservation has until the new one.
    let times: CallTimes
    let expiry: Instant
    let suspenseEndsAt: Instant
    let policy: LimitPolicy
    let now: Instant

    /// Moves the end and takes what is to be held beyond. The reservation is locked before the limits.
    /// - Returns: nil when it is not as it was read any more.
    /// - Throws: `StaleCatalog` where the catalogue moved on, or did while the call was prepared; `ExtensionRefused`.
    func run(in transaction: borrowing Transaction) throws -> Reservation? {
        try times.requireOneVersion()
        transaction.waitForLocks(atMost: ReservationClosing.patience)
        let moved = ReservationStore.extend(reservation, to: expiry, suspenseEndsAt: suspenseEndsAt, at: now)
        guard let extended = try transaction.query(moved, ReservationStore.decode).first else { return nil }
        let name = TenantReservation(tenant: reservation.tenantID, id: reservation.id)
        var holding: [LimitRow: FixedDecimal] = [:]
        for held in try transaction.query(ReservationStore.holds(of: [name]), ReservationStore.decodeHold) {
            guard let hold = held.hold else { continue }
            holding[hold.row] = try holding[hold.row, default: .zero].adding(hold.amount)
        }
        var beside = ExtendedHolds(of: reservation, holding: holding)
        let holds = try beside.beyond(times.first, later: times.later, policy: policy)
        let flush = AdmissionFlush(
            call,
            of: extended,
            prepared: times.last,
            holds: holds,
            policy: policy,
            now: now
        )
        var states = try flush.lockedStates(in: transaction)
        let verdict = try states.decide(holds, of: call, at: now, keeps: true)
        if case .refused(let violations) = verdict { throw ExtensionRefused(violations: violations) }
        flush.enqueue(AdmissionDecisions(existing: [:], ids: policy.ids), states, in: transaction)
        let taken = holds.flatMap(\.frees)
        if !taken.isEmpty { transaction.enqueue(ReservationStore.add(taken, to: name)) }
        return extended
    }
}
