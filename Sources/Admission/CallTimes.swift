import BillingCore
import Catalog
import Limits
import Postgres
import Usage
import Web

/// A call as it would be whenever what it takes may change until its reservation ends, in the order of time: where it
/// counts in other counters or costs something else, at the end, and where a window begins of which none of these
/// tells what the call takes from there on, because a change comes later or it may be over by the end.
struct CallTimes: Sendable {
    let first: PreparedCall
    let later: [PreparedCall]

    var last: PreparedCall { later.last ?? first }

    /// 22 hours: in some zones clocks are set forward by two.
    private static let shortestDay: Int64 = 22 * 3_600

    /// - Parameters:
    ///   - end: of the reservation; not before the call.
    ///   - prepare: the call at another time; where that is nil, it is not looked at then.
    init(
        of first: PreparedCall,
        until end: Instant,
        policy: LimitPolicy,
        _ prepare: (Instant) async throws -> PreparedCall?
    ) async throws {
        let changes = first.changes(until: end)
        let lastChange = changes.last ?? .minimum
        var matching = LimitMatching(shared: first.shared, operatorZone: policy.operatorZone)
        var windows = WindowCache(zone: first.tenant.zone)
        var (call, time) = (first, first.pending.time)
        var coming = Set(changes).union([end])
        var later: [PreparedCall] = []
        while true {
            let uses = matching.uses(of: LimitedUse(call.pending), by: call.tenant, windows: &windows)
            let ends = uses.lazy.filter { $0.limit.holdsOverTheEnd }.map(\.window.end)
            coming.formUnion(ends.filter { $0 < lastChange || $0.adding(seconds: Self.shortestDay) <= end })
            guard let next = coming.filter({ $0 > time }).min() else { break }
            time = next
            guard let prepared = try await prepare(next) else { continue }
            later.append(prepared)
            call = prepared
        }
        self.first = first
        self.later = later
    }

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
        struct Unmeasurable: Error {}
        do {
            return try await CallTimes(of: first, until: end, policy: limits) { time in
                guard let later = try await prepare(call, of: reservation, at: time) else { throw Unmeasurable() }
                return later
            }
        } catch is Unmeasurable {
            return nil
        }
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
