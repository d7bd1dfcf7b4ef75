import BillingCore
import Catalog
import Limits
import Postgres
import Usage
import Web

/// A call with what it takes of limits, ready to be decided.
struct AdmissionRequest: Sendable {
    let call: AdmissionCall
    let prepared: PreparedCall
    let holds: [CallHold]
    let createdAt: Instant
    let expiresAt: Instant
    let suspenseEndsAt: Instant
    /// What the same call takes with fewer output tokens; only where it says that it may use fewer.
    let shrunk: (@Sendable (Int64) throws -> [CallHold])?
    /// Whether nothing is to be held although rates are used: a check that no usage event will settle.
    var isCheck = false

    var tenant: TenantSnapshot { prepared.tenant }
    var key: PostgresUUID { prepared.pending.event.key.postgres }
    var outputTokens: Int64? { prepared.pending.event.usage.outputTokens }
}

/// What became of a call.
enum AdmissionOutcome: Sendable {
    /// `reservation` is nil for a dry run and for a check.
    case allowed(reservation: Reservation?, [TouchedLimit], maximumOutputTokens: Int64?)
    case refused([LimitViolation])
    /// The same call was admitted before.
    case repeated(Reservation)
    /// The same call was admitted before, and its reservation is closed: an id names one call.
    case closed(Reservation)
    /// Another call was admitted under the same source and id.
    case conflict
}

/// Nothing was admitted: the transaction is rolled back, so that refused calls leave no trace.
struct NothingAdmitted: Error {
    let outcomes: [AdmissionOutcome]
}

/// Calls that are decided together, in one transaction of two round trips: the first locks every row that they touch,
/// in the order in which everybody does; then each call is decided after the other by pure rules, and what they take is
/// written with the commit.
struct AdmissionFlush: Sendable {
    let requests: [AdmissionRequest]
    let policy: LimitPolicy
    let now: Instant

    private var shared: CatalogSnapshot { requests.first?.prepared.shared ?? .empty }

    /// Runs in its transaction. A key that another transaction admits at the same moment fails it as a whole by
    /// `reservation_identity`; the caller tries it again, and it finds that admission.
    /// - Throws: `StaleCatalog`, `NothingAdmitted`, `PostgresError`, and `DecimalError` when a sum leaves its range.
    func run(
        isAbandoned: (Int) -> Bool,
        told: ReachedLimits,
        in transaction: borrowing Transaction
    ) throws -> [AdmissionOutcome] {
        let rows = LockedRows(requests)
        // What is read behind the locks is what whoever held them before has committed.
        let results = try transaction.pipeline([
            LimitStateStore.count(rows.changes), RateStateStore.lock(rows.rates),
            TenantLedger.versions(of: Set(requests.map(\.tenant.id)).sorted()), CatalogVersion.current,
            ReservationStore.existing(tenants: requests.map(\.tenant.id), keys: requests.map(\.key)),
        ])
        try checkVersions(tenants: results[2], shared: results[3])
        let existing = try results[4].map(ReservationStore.decodeKeyed)
        let arrivals = try results[1].map(RateStateStore.decode).map { ($0.row, $0.arrival) }
        var states = AdmissionStates(
            states: try results[0].map(LimitStateStore.decode),
            arrivals: Dictionary(arrivals) { first, _ in first },
            charges: try ChargeHolds.load(rows.tiers, in: transaction)
        )
        var decisions = AdmissionDecisions(existing: existing, ids: policy.ids)
        for (index, request) in requests.enumerated() {
            try decisions.decide(request, isAbandoned: isAbandoned(index), at: now, with: &states)
        }
        let alerts = told.drafts(of: decisions.outcomes, requests, catalog: shared, in: transaction)
        guard !decisions.reservations.isEmpty || !states.moved.isEmpty || !alerts.isEmpty else {
            throw NothingAdmitted(outcomes: decisions.outcomes)
        }
        enqueue(decisions, states, in: transaction)
        try AlertStore.raise(alerts, at: now, ids: policy.ids, in: transaction)
        return decisions.outcomes
    }

    func enqueue(
        _ decisions: AdmissionDecisions,
        _ states: AdmissionStates,
        in transaction: borrowing Transaction
    ) {
        if !states.held.isEmpty {
            transaction.enqueue(LimitStateStore.hold(Array(states.held.keys), Array(states.held.values)))
        }
        if !states.computed.isEmpty {
            let rows = Array(states.computed.keys)
            transaction.enqueue(
                LimitStateStore.setHeld(
                    rows,
                    held: Array(states.computed.values),
                    overshoot: rows.map { _ in .zero }
                )
            )
        }
        if !states.moved.isEmpty { transaction.enqueue(RateStateStore.set(states.moved)) }
        guard !decisions.reservations.isEmpty else { return }
        transaction.enqueue(
            ReservationStore.insert(decisions.reservations, keys: decisions.keys, calls: decisions.calls)
        )
        if !decisions.holds.isEmpty { transaction.enqueue(ReservationStore.insert(decisions.holds)) }
    }

    func checkVersions(tenants: PostgresResult, shared current: PostgresResult) throws {
        let versions = try tenants.map { row throws(PostgresError) in
            (try row.next(TenantID.self), try row.next(Int64.self))
        }
        let inForce = Dictionary(versions) { first, _ in first }
        let stale = requests.map(\.tenant).filter { inForce[$0.id] != $0.catalogVersion }
        let version = try current.map { row throws(PostgresError) in try row.next(Int64.self) }.first
        let isStale = requests.contains { $0.prepared.shared.version != version }
        guard stale.isEmpty, !isStale else { throw StaleCatalog(tenants: Set(stale.map(\.id)), shared: isStale) }
    }
}

/// The rows that calls touch, each once.
struct LockedRows {
    private(set) var changes: [LimitChange] = []
    private(set) var rates: [LimitRow] = []
    private var tenants: [LimitRow: TenantSnapshot] = [:]
    private var counters: [LimitRow: Set<CounterKey>] = [:]

    /// Those of limits whose holds follow tiers.
    var tiers: [ChargeHolds.Wanted] {
        tenants.map { row, tenant in ChargeHolds.Wanted(row: row, tenant: tenant, counters: counters[row] ?? []) }
    }

    init(_ requests: [AdmissionRequest]) {
        var seen: Set<LimitRow> = []
        for request in requests {
            for hold in request.holds {
                switch hold.take {
                case .rate:
                    if seen.insert(hold.row).inserted { rates.append(hold.row) }
                    continue
                case .tiers(let totals, _):
                    tenants[hold.row] = request.tenant
                    counters[hold.row, default: []].formUnion(totals.keys)
                    let parts = ChargeHolds.allRows(beside: hold.row, of: totals.keys)
                    for part in parts + [ChargeHolds.moneyRow(beside: hold.row)] where seen.insert(part).inserted {
                        changes.append(LimitChange(row: part, windowEnd: hold.windowEnd, amount: .zero, revision: 0))
                    }
                case .amount, .unpriced:
                    break
                }
                guard seen.insert(hold.row).inserted else { continue }
                changes.append(
                    LimitChange(
                        row: hold.row,
                        windowEnd: hold.windowEnd,
                        amount: hold.limit.amount,
                        revision: hold.limit.revision
                    )
                )
            }
        }
    }
}
