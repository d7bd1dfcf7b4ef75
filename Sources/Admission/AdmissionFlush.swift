import BillingCore
import Catalog
import Limits
import Postgres
import Usage
import Web

/// A call with what it takes of limits, ready to be decided. It is handed from thread to thread, hence a class.
final class AdmissionRequest: Sendable {
    let call: AdmissionCall
    let prepared: PreparedCall
    /// The tenant as it was prepared with, knowing the billing periods of all that the call may hold of.
    let tenant: TenantSnapshot
    let holds: [CallHold]
    let life: ReservationLife
    /// Made where the call is admitted as it asks; nil for one that reserves nothing, and where what it takes is not
    /// known before somebody has looked.
    let wanted: NewReservation?
    /// What the same call takes with fewer output tokens; only where it says that it may use fewer.
    let shrunk: (@Sendable (Int64) throws -> [CallHold])?
    /// Whether nothing is to be held although rates are used: a check that no usage event will settle.
    let isCheck: Bool
    /// Names the admission among those of all tenants.
    let key: AdmissionKey

    /// - Parameter later: the call as it would be at other times of its reservation, in their order.
    init(
        call: AdmissionCall,
        prepared: PreparedCall,
        later: [PreparedCall],
        holds: [CallHold],
        life: ReservationLife,
        wanted: NewReservation?,
        shrunk: (@Sendable (Int64) throws -> [CallHold])?,
        isCheck: Bool
    ) {
        self.call = call
        self.prepared = prepared
        // One of another version is judged by the version of the call, which is out of date then.
        let known = later.last?.tenant
        tenant = known.flatMap { $0.catalogVersion == prepared.tenant.catalogVersion ? $0 : nil } ?? prepared.tenant
        self.holds = holds
        self.life = life
        self.wanted = wanted
        self.shrunk = shrunk
        self.isCheck = isCheck
        key = AdmissionKey(prepared.tenant.id, prepared.pending.event.key.postgres)
    }

    /// What names it among those of its tenant.
    var eventKey: PostgresUUID { prepared.pending.event.key.postgres }

    var contentHash: Int64 { prepared.pending.event.contentHash }

    /// Whether a reservation that it made before is given to it, to keep: a trial is only told of it.
    var mayRepeat: Bool { !isCheck && !call.isDryRun }

    /// Whether the reservation is that of this very call, and open.
    func isCall(of reservation: Reservation) -> Bool {
        reservation.status == .held && reservation.contentHash == contentHash
    }

    var outputTokens: Int64? { prepared.pending.event.usage.outputTokens }

    /// How much it adds to a flush, in rows. What it may use, if not all of it, is searched for by halving what is
    /// between the fewest tokens and those it asks for, up to 2^50, while all rows of the flush are locked.
    var weight: Int {
        guard shrunk != nil, let asked = outputTokens, let fewest = call.minimumOutputTokens else { return holds.count }
        return holds.count * max(1, Int64.bitWidth - max(0, asked - fewest).leadingZeroBitCount)
    }

    /// Whether it is refused when it can't be decided, by one of the limits that it touches.
    var failsClosed: Bool { holds.contains { $0.limit.failurePolicy == .closed } }
}

/// What became of a call.
enum AdmissionOutcome: Sendable {
    /// `reservation` is nil for a dry run and for a check.
    case allowed(reservation: Reservation?, [TouchedLimit], maximumOutputTokens: Int64?)
    case refused([LimitViolation])
    /// The same call was admitted before; with what it touches as that stands now.
    case repeated(Reservation, [TouchedLimit])
    /// The same call was admitted before, and its reservation is closed: an id names one call.
    case closed(Reservation)
    /// Another call was admitted under the same source and id.
    case conflict
    /// What it would take of a limit, with what others have, is more than an amount can be.
    case outOfRange
}

/// Nothing was admitted: the transaction is rolled back, so that refused calls leave no trace.
struct NothingAdmitted: Error {
    let outcomes: [AdmissionOutcome]
}

/// A call was admitted by somebody else while its limits were waited for, and is not noted as repeated, which is done
/// before they are locked.
struct ReservationAppeared: Error {}

/// Calls that are decided together, in one transaction: at once where all of them are admitted (`admitAll`), and
/// otherwise one after the other by pure rules, on rows that are locked in the order in which everybody does.
struct AdmissionFlush: Sendable {
    let requests: [AdmissionRequest]
    let policy: LimitPolicy
    let now: Instant

    var shared: CatalogSnapshot { requests.first?.prepared.shared ?? .empty }

    /// Decides one call after the other in two round trips, and more where limits on charges are touched or an alert is
    /// raised: the first locks the rows, the last writes and commits. A key that another transaction admits at the same
    /// moment fails it as a whole by `reservation_identity`; the caller tries it again, and it finds that admission.
    /// - Throws: `StaleCatalog`, `NothingAdmitted`, `ReservationAppeared` (which the caller tries again, too),
    ///   `PostgresError`, and `DecimalError` when a sum leaves its range.
    func run(
        isAbandoned: (Int) -> Bool,
        told: RefusalAlerts,
        in transaction: borrowing Transaction
    ) throws -> [AdmissionOutcome] {
        let rows = LockedRows(requests)
        let asking = requests.indices.filter { !isAbandoned($0) && requests[$0].mayRepeat }.map { requests[$0] }
        // What is read behind the locks is what whoever held them before has committed.
        let results = try transaction.pipeline([
            Self.noteRepeated(asking), LimitStateStore.count(rows.changes), RateStateStore.lock(rows.rates, at: now),
            versionsInForce,
            ReservationStore.existing(tenants: requests.map(\.tenant.id), keys: requests.map(\.eventKey)),
        ])
        try checkVersions(results[3])
        let existing = try Self.existing(results[4], askedForBy: asking)
        let arrivals = try results[2].map(RateStateStore.decode).map { ($0.row, $0.arrival) }
        var states = AdmissionStates(
            states: try results[1].map(LimitStateStore.decode),
            arrivals: Dictionary(arrivals) { first, _ in first },
            charges: try ChargeHolds.load(tiers, in: transaction)
        )
        var decisions = AdmissionDecisions(existing: existing, ids: policy.ids)
        for (index, request) in requests.enumerated() {
            decisions.decide(request, isAbandoned: isAbandoned(index), at: now, with: &states)
        }
        let alerts = told.drafts(of: decisions.outcomes, requests, at: now, catalog: shared, in: transaction)
        let isNews = results[0].affectedRows > 0
        guard !decisions.made.isEmpty || !states.moved.isEmpty || !alerts.isEmpty || isNews else {
            throw NothingAdmitted(outcomes: decisions.outcomes)
        }
        enqueue(decisions, states, in: transaction)
        let again = zip(requests, decisions.outcomes).filter { $0.mayRepeat && decisions.isOfThis($1) }.map(\.0)
        if !again.isEmpty { transaction.enqueue(Self.noteRepeated(again)) }
        forget(rows, states, in: transaction)
        try AlertStore.raise(alerts, at: now, ids: policy.ids, in: transaction)
        return decisions.outcomes
    }

    /// What was admitted before.
    /// - Throws: `ReservationAppeared` where that is given to one of `asking` and is not noted as repeated.
    private static func existing(
        _ result: PostgresResult,
        askedForBy asking: [AdmissionRequest]
    ) throws -> [AdmissionKey: Reservation] {
        var existing: [AdmissionKey: Reservation] = [:]
        for (key, isRepeated, reservation) in try result.map(ReservationStore.decodeKeyed) {
            let key = AdmissionKey(reservation.tenantID, key)
            existing[key] = reservation
            if !isRepeated, asking.contains(where: { $0.key == key && $0.isCall(of: reservation) }) {
                throw ReservationAppeared()
            }
        }
        return existing
    }

    private static func noteRepeated(_ requests: [AdmissionRequest]) -> SQL {
        ReservationStore.noteRepeated(
            tenants: requests.map(\.tenant.id),
            keys: requests.map(\.eventKey),
            contentHashes: requests.map(\.contentHash)
        )
    }

    func enqueue(
        _ decisions: AdmissionDecisions,
        _ states: AdmissionStates,
        in transaction: borrowing Transaction
    ) {
        let held = states.held
        if !held.isEmpty { transaction.enqueue(LimitStateStore.hold(held)) }
        enqueueComputed(states, in: transaction)
        if !states.moved.isEmpty { transaction.enqueue(RateStateStore.set(states.moved)) }
        if !decisions.made.isEmpty { transaction.enqueue(ReservationStore.insert(decisions.made)) }
    }

    /// Takes the rows away again that were made to be locked and that nothing was taken of: a call that is refused, or
    /// only tried, leaves no trace.
    private func forget(_ rows: LockedRows, _ states: AdmissionStates, in transaction: borrowing Transaction) {
        let taken = Set(states.held.map(\.row)).union(states.computed.map(\.row))
        let untaken = rows.changes.map(\.row).filter { !taken.contains($0) }
        if !untaken.isEmpty { transaction.enqueue(LimitStateStore.removeUnused(untaken)) }
        let moved = states.moved
        let unmoved = rows.rates.map(\.row).filter { moved[$0] == nil }
        if !unmoved.isEmpty { transaction.enqueue(RateStateStore.removeUnused(unmoved)) }
    }

    /// Writes what limits on charges hold by now.
    func enqueueComputed(_ states: AdmissionStates, in transaction: borrowing Transaction) {
        let computed = states.computed
        if !computed.isEmpty { transaction.enqueue(LimitStateStore.set(computed)) }
    }

    /// The limits on charges that calls touch, with the counters that they may come to hold of.
    var tiers: [ChargeHolds.Wanted] {
        var wanted: [LimitRow: ChargeHolds.Wanted] = [:]
        for request in requests {
            for hold in request.holds {
                guard case .tiers(let totals, _) = hold.take else { continue }
                wanted[hold.row, default: ChargeHolds.Wanted(row: hold.row, tenant: request.tenant)]
                    .add(totals.keys, of: request.tenant)
            }
        }
        return Array(wanted.values)
    }

    /// A statement whose result `checkVersions` judges.
    var versionsInForce: SQL { TenantLedger.versionsInForce(of: Set(requests.map(\.tenant.id)).sorted()) }

    /// - Throws: `StaleCatalog` where the calls were prepared with another version than is in force.
    func checkVersions(_ result: PostgresResult) throws {
        var inForce: [TenantID: Int64] = [:]
        var shared: Int64?
        for entry in try result.map(TenantLedger.versionInForce) {
            inForce[entry.tenant] = entry.version
            shared = entry.shared
        }
        let stale = requests.map(\.tenant).filter { inForce[$0.id] != $0.catalogVersion }
        let isStale = requests.contains { $0.prepared.shared.version != shared }
        guard stale.isEmpty, !isStale else { throw StaleCatalog(tenants: Set(stale.map(\.id)), shared: isStale) }
    }
}

/// The rows that calls touch, each once. Not those beside a limit on charges that hold quantities: whoever changes one
/// of them has locked the limit's own row.
struct LockedRows {
    private(set) var changes: [LimitChange] = []
    private(set) var rates: [RateUse] = []

    init(_ requests: [AdmissionRequest]) {
        var seen: Set<LimitRow> = []
        for request in requests {
            for hold in request.holds {
                guard seen.insert(hold.row).inserted else { continue }
                if case .rate(_, let rate, _) = hold.take {
                    rates.append(RateUse(row: hold.row, interval: rate.interval))
                } else {
                    changes.append(LimitChange(hold))
                }
            }
        }
    }
}

extension LimitChange {
    /// Of the row that the hold is of; it adds nothing yet.
    init(_ hold: CallHold) {
        self.init(
            row: hold.row,
            windowEnd: hold.windowEnd,
            amount: hold.limit.amount,
            revision: hold.limit.revision
        )
    }

    /// Of a row beside the hold's own, which has no amount of its own.
    init(_ hold: CallHold, part: LimitRow) {
        self.init(row: part, windowEnd: hold.windowEnd, amount: .zero, revision: 0)
    }
}
