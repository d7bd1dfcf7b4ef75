import BillingCore
import Catalog
import Limits
import Postgres
import Usage
import Web

/// An open call as it would be at several times of its reservation's life, in their order.
struct CallTimes: Sendable {
    let first: PreparedCall
    let later: [PreparedCall]

    var last: PreparedCall { later.last ?? first }

    /// - Parameter earlier: the same call at another time.
    /// - Throws: `StaleCatalog` where the catalogue moved on between them.
    func requireOneVersion(as earlier: PreparedCall? = nil) throws(StaleCatalog) {
        let isOfOneVersion = (later + [earlier].compactMap(\.self)).allSatisfy { other in
            other.tenant.catalogVersion == first.tenant.catalogVersion && other.shared.version == first.shared.version
        }
        guard isOfOneVersion else { throw StaleCatalog(tenants: [first.tenant.id], shared: true) }
    }
}

extension AdmissionFlush {
    /// Of what an open call is to hold beyond what its reservation holds.
    init(
        _ call: AdmissionCall,
        of reservation: Reservation,
        prepared: PreparedCall,
        holds: [CallHold],
        policy: LimitPolicy,
        now: Instant
    ) {
        let request = AdmissionRequest(
            call: call,
            prepared: prepared,
            later: [],
            holds: holds,
            life: ReservationLife(
                createdAt: reservation.createdAt,
                expiresAt: reservation.expiresAt,
                suspenseEndsAt: reservation.suspenseEndsAt
            ),
            wanted: nil,
            shrunk: nil,
            isCheck: false
        )
        self.init(requests: [request], policy: policy, now: now)
    }

    /// Locks the rows of limits that are held, which use no rates.
    /// - Throws: `StaleCatalog`, see `checkVersions`.
    func lockedStates(in transaction: borrowing Transaction) throws -> AdmissionStates {
        let rows = LockedRows(requests).changes
        let results = try transaction.pipeline([LimitStateStore.count(rows), versionsInForce])
        try checkVersions(results[1])
        return AdmissionStates(
            states: try results[0].map(LimitStateStore.decode),
            arrivals: [:],
            charges: try ChargeHolds.load(tiers, in: transaction)
        )
    }
}

extension CallPreparation {
    /// The call of an open reservation from one time until another, whenever what it takes may change.
    /// - Returns: nil where it can't be measured any more.
    func lookAgain(
        at call: AdmissionCall,
        of reservation: Reservation,
        from start: Instant,
        until end: Instant
    ) async throws -> CallTimes? {
        guard let first = try await prepare(call, of: reservation, at: start) else { return nil }
        guard start < end else { return CallTimes(first: first, later: []) }
        let holds = try CallHold.all(of: first, later: [], policy: limits)
        var later: [PreparedCall] = []
        for moment in CallHold.moments(of: first, holding: holds, until: end) {
            guard let prepared = try await prepare(call, of: reservation, at: moment) else { return nil }
            later.append(prepared)
        }
        return CallTimes(first: first, later: later)
    }

    /// The call with the tokens that it was admitted with, as it would be at some time.
    func prepare(
        _ call: AdmissionCall,
        of reservation: Reservation,
        at time: Instant
    ) async throws -> PreparedCall? {
        let numbered = [(index: 0, event: call.event)]
        let prepared = try await prepare(
            numbered,
            at: time,
            boundTo: reservation.tenantID,
            believesReports: call.believesCost
        )
        guard let asked = prepared.calls.first, let tokens = reservation.maximumOutputTokens,
            tokens != call.event.usage.outputTokens
        else { return prepared.calls.first }
        return try asked.using(outputTokens: tokens)
    }
}
