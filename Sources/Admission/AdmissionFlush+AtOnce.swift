import BillingCore
import Catalog
import Limits
import Postgres
import Usage

/// Not all of a flush is admitted, some of it was before, or somebody waits no more: everything is rolled back, to be
/// decided one call after the other.
struct NotAllAdmitted: Error {}

/// A flush was committed, and what it answered is not what the statements let pass. Each call finds its own reservation
/// when it is decided by itself.
struct CommittedOtherwise: Error {}

extension CallHold {
    /// Whether what it takes is known before anybody has looked: amounts and quantities of limits, and units of rates.
    var isKnownBefore: Bool {
        switch take {
        case .amount, .rate, .tiers: true
        case .unpriced: false
        }
    }

    /// Whether a limit that denies admits it exactly where the limit is not exceeded with it: not where nothing is
    /// taken, which is refused at the limit, nor where what is used counts otherwise than the row says it
    /// (`LimitBalance.allowing`).
    fileprivate var isAdmittedUnlessExceeded: Bool {
        switch take {
        case .amount(let amount): !limit.denies || amount > .zero && limit.measure != .charge
        case .rate: true
        case .tiers, .unpriced: false
        }
    }
}

extension AdmissionFlush {
    /// Takes all that the calls ask for and makes their reservations, in one round trip, and looks then whether every
    /// limit admits that; the second round trip commits. Each row is written once. For calls with a
    /// `wanted` reservation, each under another key.
    /// - Throws: `NotAllAdmitted`; `StaleCatalog`; `PostgresError`, by `reservation_identity` where another transaction
    ///   admits a call at the same moment; `DecimalError` when a sum leaves its range.
    func admitAll(
        isAbandoned: (Int) -> Bool,
        in transaction: borrowing Transaction
    ) throws -> [AdmissionOutcome] {
        let takings = try Takings(requests)
        let made = requests.compactMap(\.wanted)
        let tiers = tiers
        let charges = tiers.isEmpty ? nil : try ChargeHolds.Reading(tiers)
        // Versions, and what limits on charges hold, are read behind the locks of limits.
        let statements = [versionsInForce, ReservationStore.insertUnknown(made)] + (charges?.statements ?? [])
        var results = try transaction.pipeline(takings.statements(at: now) + statements)[...]
        let taken = try takings.read(&results)
        try checkVersions(results.removeFirst())
        let isKnown = results.removeFirst().affectedRows < made.count
        guard !isKnown, !requests.indices.contains(where: isAbandoned) else { throw NotAllAdmitted() }
        let held = try charges?.holds(Array(results), in: transaction) ?? [:]
        var states = try takings.before(taken, charges: held)
        let outcomes = try outcomes(made.map(\.reservation), with: &states)
        enqueueComputed(states, in: transaction)
        return outcomes
    }

    /// The same in one round trip: the statements look whether all is admitted, and fail the transaction otherwise.
    /// Nil where they can't tell.
    /// - Throws: `DecimalError` when a sum leaves its range. What is returned fails with `PostgresError`, nothing of it
    ///   committed unless that is unknown, or with `CommittedOtherwise`.
    func admitAllWithCommit() throws -> Commit<[AdmissionOutcome]>? {
        let holds = requests.lazy.flatMap(\.holds)
        guard holds.allSatisfy(\.isAdmittedUnlessExceeded), let versions, let latest = try latestArrivals else {
            return nil
        }
        let takings = try Takings(requests)
        let made = requests.compactMap(\.wanted)
        let bounds = Bounds(denying: Set(holds.filter(\.limit.denies).map(\.limit.id)), latest: latest)
        // Versions are read behind the locks of limits.
        let statements = [
            TenantLedger.requireVersions(versions, shared: shared.version), ReservationStore.insertAllUnknown(made),
        ]
        return Commit(with: takings.statements(at: now, within: bounds) + statements) { results in
            do {
                var results = results[...]
                var states = try takings.before(try takings.read(&results), charges: [:])
                return try outcomes(made.map(\.reservation), with: &states)
            } catch {
                throw CommittedOtherwise()
            }
        }
    }

    /// The latest arrival time that each rate admits; nil where calls have different shares of one, or one takes more
    /// than it ever admits.
    private var latestArrivals: [LimitID: FixedDecimal]? {
        get throws(DecimalError) {
            let present = FixedDecimal(now.microseconds)
            var latest: [LimitID: FixedDecimal] = [:]
            for request in requests {
                for hold in request.holds {
                    guard case .rate(let units, let rate, let shares) = hold.take else { continue }
                    let most = try rate.mostUnits(of: shares[request.call.criticality(within: hold.limit)])
                    let time = try present.adding(rate.duration(of: most))
                    guard units <= most, latest[hold.limit.id] ?? time == time else { return nil }
                    latest[hold.limit.id] = time
                }
            }
            return latest
        }
    }

    /// The version of each tenant that the calls were prepared with; nil where they were prepared with several.
    private var versions: [TenantID: Int64]? {
        var versions: [TenantID: Int64] = [:]
        for request in requests {
            let (tenant, before) = (request.tenant, versions[request.tenant.id])
            guard request.prepared.shared.version == shared.version,
                before ?? tenant.catalogVersion == tenant.catalogVersion
            else { return nil }
            versions[tenant.id] = tenant.catalogVersion
        }
        return versions
    }

    private func outcomes(
        _ reservations: [Reservation],
        with states: inout AdmissionStates
    ) throws -> [AdmissionOutcome] {
        try zip(requests, reservations).map { request, reservation in
            switch try states.decide(request.holds, of: request.call, at: now, keeps: true) {
            case .allowed(let touched):
                return .allowed(reservation: reservation, touched, maximumOutputTokens: request.outputTokens)
            case .refused:
                throw NotAllAdmitted()
            }
        }
    }
}

/// What nothing may be taken beyond.
private struct Bounds {
    /// Limits that admit nothing beyond their amounts.
    let denying: Set<LimitID>
    /// The latest arrival times of rates.
    let latest: [LimitID: FixedDecimal]
}

/// What calls take together of each row.
private struct Takings {
    private(set) var changes: [LimitChange] = []
    private(set) var rates: [LimitRow: RateUse] = [:]
    /// Of limits on charges, whose amounts follow from all that is held of them.
    private var quantities: [(row: LimitRow, totals: [CounterKey: UsageTotal], money: FixedDecimal)] = []
    private var positions: [LimitRow: Int] = [:]

    init(_ requests: [AdmissionRequest]) throws(DecimalError) {
        let count = requests.reduce(0) { $0 + $1.holds.count }
        changes.reserveCapacity(count)
        positions.reserveCapacity(count)
        for request in requests {
            for hold in request.holds { try add(hold) }
        }
    }

    private mutating func add(_ hold: CallHold) throws(DecimalError) {
        switch hold.take {
        case .amount(let amount):
            try add(amount, LimitChange(hold))
        case .rate(let units, let rate, _):
            var use = rates[hold.row] ?? RateUse(row: hold.row, interval: rate.interval)
            use.duration = try use.duration.adding(rate.duration(of: units))
            rates[hold.row] = use
        case .tiers(let totals, let money):
            try add(.zero, LimitChange(hold))
            for part in hold.frees { try add(part.amount, LimitChange(hold, part: part.row)) }
            quantities.append((hold.row, totals, money))
        case .unpriced:
            preconditionFailure("what \(hold.limit.id) holds is not known before somebody has looked")
        }
    }

    private mutating func add(_ amount: FixedDecimal, _ change: LimitChange) throws(DecimalError) {
        let position = positions[change.row] ?? changes.count
        if position == changes.count {
            changes.append(change)
            positions[change.row] = position
        }
        changes[position].held = try changes[position].held.adding(amount)
    }

    /// The rows when it was taken of them.
    struct Taken {
        let states: [LimitState]
        let arrivals: [(row: LimitRow, arrival: FixedDecimal)]
    }

    /// The statements that take it, limits before rates; beyond the bounds they fail the transaction.
    func statements(at now: Instant, within bounds: Bounds? = nil) -> [SQL] {
        var statements: [SQL] = []
        if !changes.isEmpty {
            statements.append(
                bounds.map { LimitStateStore.hold(changes, within: $0.denying) } ?? LimitStateStore.hold(changes)
            )
        }
        if !rates.isEmpty {
            let uses = Array(rates.values)
            statements.append(
                bounds.map { RateStateStore.advance(uses, at: now, until: $0.latest) }
                    ?? RateStateStore.advance(uses, at: now)
            )
        }
        return statements
    }

    /// Takes their results off.
    func read(_ results: inout ArraySlice<PostgresResult>) throws(PostgresError) -> Taken {
        Taken(
            states: changes.isEmpty ? [] : try results.removeFirst().map(LimitStateStore.decode),
            arrivals: rates.isEmpty ? [] : try results.removeFirst().map(RateStateStore.decode)
        )
    }

    /// The rows as they were before this was taken of them.
    /// - Parameter charges: what limits on charges hold with it.
    func before(_ taken: Taken, charges: [LimitRow: ChargeHolds]) throws(DecimalError) -> AdmissionStates {
        // In the order of the changes, of which each has answered its row.
        var states = taken.states
        for var state in taken.states {
            guard let position = positions[state.row] else { continue }
            state.balance.held = try state.balance.held.subtracting(changes[position].held)
            states[position] = state
        }
        var arrivals: [LimitRow: FixedDecimal] = [:]
        for (row, arrival) in taken.arrivals { arrivals[row] = try arrival.subtracting(rates[row]?.duration ?? .zero) }
        var charges = charges
        for (row, totals, money) in quantities { try charges[row]?.free(totals, money: money) }
        return AdmissionStates(states: states, at: positions, arrivals: arrivals, charges: charges)
    }
}
