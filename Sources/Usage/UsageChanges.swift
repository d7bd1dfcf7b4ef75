import BillingCore
import Catalog
import Limits
import Postgres

/// An event reached its counters before its billing period had a row: a programmer error, never a silent omission.
struct UnknownBillingPeriod: Error {}

/// What a transaction changes in counters and limits: loaded, changed in memory by pure rules, then written once.
struct UsageChanges {
    fileprivate struct Counter {
        var state = CounterState()
        var storedCharge = FixedDecimal.zero
        /// What it charges so far, where the events' own charges are asked for.
        var charged: FixedDecimal?
        /// The period's quantity through the counter, as it was stored; nil where it was not.
        var storedRunning: FixedDecimal?
        /// Set with the first change.
        var counted: CountedPlace?
    }

    /// What a tenant's events were charged one by one, and the limits that the last one counts in: what only the whole
    /// transaction can tell, as of distinct values and of periods in segments, is counted there.
    private struct TenantCharges {
        let tenant: TenantSnapshot
        var attributed = FixedDecimal.zero
        var last: [LimitUse] = []
    }

    private struct DistinctKey: Hashable {
        let counter: CounterKey
        let value: EventKey
    }

    private var counters: [CounterKey: Counter]
    private var limits = LimitTally()
    /// Of tenants with limits on charges.
    private var charges: [TenantID: TenantCharges] = [:]
    private var distinct: [DistinctKey: Int64] = [:]
    private var moves = DistinctMoves()

    /// - Parameter stored: the counters as they stand, read under the ledger lock.
    init(stored: [CounterRow]) {
        let counters = stored.map { row in
            let running = row.runningQuantity ?? row.state.quantity
            return (row.key, Counter(state: row.state, storedCharge: row.charge, storedRunning: running))
        }
        self.counters = Dictionary(counters) { first, _ in first }
    }

    /// Counts one fresh event, which takes the ledger sequence given.
    mutating func add(
        _ pending: PendingEvent,
        sequence: Int64,
        tenant: TenantID
    ) throws {
        let origin = CounterWinner(time: pending.time, id: pending.event.id, key: pending.event.key)
        for measurement in pending.measurements {
            if let place = pending.place {
                guard let period = place.billingPeriodID else { throw UnknownBillingPeriod() }
                try measurement.forEachCounter(of: tenant, in: period) {
                    (key, value, cost) throws(CounterOverflow) in
                    do {
                        try counters[key, default: Counter()]
                            .add(value, cost: cost, from: origin, sequence: sequence, at: place)
                    } catch {
                        throw CounterOverflow(tenant: tenant, feature: key.feature)
                    }
                    if case .unique(let value) = value {
                        distinct[DistinctKey(counter: key, value: value), default: 0] += 1
                    }
                }
            }
        }
    }

    /// Counts an event, which is added already, in every limit that it touches, and frees what its reservation held.
    /// - Parameter uses: what it adds to limits.
    mutating func limit(
        _ pending: PendingEvent,
        _ uses: [LimitUse],
        by tenant: TenantSnapshot,
        settling settlements: inout Settlements
    ) throws {
        let reservation = pending.event.reservation(of: tenant.id)
        let isPartial = pending.event.reservationPartial
        do {
            let charges = uses.filter { $0.amount == .charge }
            let charge = charges.isEmpty ? FixedDecimal.zero : try charge(of: pending, in: charges, by: tenant)
            for use in uses {
                let amount: FixedDecimal
                switch use.amount {
                case .known(let known): amount = known
                case .charge: amount = charge
                case .unpriced: continue
                }
                let freed = settlements.take(use.row, of: reservation, using: amount, isPartial: isPartial)
                try limits.use(use, amount, releasing: freed, by: tenant)
                if use.limit.followsTiers, let reservation, isPartial {
                    try settle(pending, beside: use.row, of: reservation, tenant, &settlements)
                }
            }
            if let reservation, !isPartial {
                for (row, rest) in settlements.takeRest(of: reservation) {
                    try limits.release(rest, of: row, by: tenant)
                }
            }
        } catch is DecimalError {
            throw CounterOverflow(tenant: tenant.id, feature: nil)
        }
    }

    /// Counts a cost that was found out later in the limits on costs, and what it adds to the tenant's charges in those
    /// on charges.
    mutating func limitCost(of pending: PendingEvent, _ uses: [LimitUse], by tenant: TenantSnapshot) throws {
        let charges = uses.filter { $0.amount == .charge }
        let charge = charges.isEmpty ? FixedDecimal.zero : try charge(of: pending, in: charges, by: tenant)
        for use in uses {
            switch use.amount {
            case .known(let amount) where use.limit.measure == .cost: try limits.use(use, amount, by: tenant)
            case .charge: try limits.use(use, charge, by: tenant)
            case .known, .unpriced: continue
            }
        }
    }

    /// Frees the quantities that a part of a call uses, of those that its reservation holds of a limit on charges.
    private mutating func settle(
        _ pending: PendingEvent,
        beside row: LimitRow,
        of reservation: TenantReservation,
        _ tenant: TenantSnapshot,
        _ settlements: inout Settlements
    ) throws {
        for part in ChargeHolds.rows(beside: row, holding: pending.heldTotals(of: tenant.id)) {
            let freed = settlements.take(part.row, of: reservation, using: part.amount, isPartial: true)
            try limits.release(freed, of: part.row, by: tenant)
        }
    }

    /// What the event was charged, as far as that can be told of it alone.
    private mutating func charge(
        of pending: PendingEvent,
        in uses: [LimitUse],
        by tenant: TenantSnapshot
    ) throws -> FixedDecimal {
        guard let place = pending.place, let period = place.billingPeriodID else { return .zero }
        var sum = FixedDecimal.zero
        if place.parts.isEmpty {
            for measurement in pending.measurements {
                let price = place.price(of: measurement.feature)
                try measurement.forEachCounter(of: tenant.id, in: period) { key, value, _ in
                    if case .unique = value { return }
                    guard let own = price?.price(ofCell: key.cell), var counter = counters[key] else { return }
                    let charge = try counter.state.charge(own)
                    sum = try sum.adding(charge.subtracting(counter.charged ?? counter.storedCharge))
                    counter.charged = charge
                    counters[key] = counter
                }
            }
        }
        var known = charges[tenant.id] ?? TenantCharges(tenant: tenant)
        known.attributed = try known.attributed.adding(sum)
        known.last = uses
        charges[tenant.id] = known
        return sum
    }

    /// Counts what the tenants' charges moved by beyond what was told of single events.
    private mutating func limitRest(of rows: [CounterRow]) throws {
        guard !charges.isEmpty else { return }
        var moved: [TenantID: FixedDecimal] = [:]
        for row in rows where row.key.isPooled && charges[row.key.tenant] != nil {
            let change = try row.charge.subtracting(counters[row.key]?.storedCharge ?? .zero)
            moved[row.key.tenant] = try moved[row.key.tenant, default: .zero].adding(change)
        }
        for (tenant, known) in charges {
            let rest = try moved[tenant, default: .zero].subtracting(known.attributed)
            guard !rest.isZero else { continue }
            for use in known.last { try limits.use(use, rest, by: known.tenant) }
        }
    }

    /// Adds the cost of an event that was counted before its cost was known.
    /// - Parameter sequence: of the rating.
    mutating func addCost(of pending: PendingEvent, sequence: Int64, tenant: TenantID) throws {
        guard let place = pending.place else { return }
        guard let period = place.billingPeriodID else { throw UnknownBillingPeriod() }
        for measurement in pending.measurements {
            try measurement.forEachCounter(of: tenant, in: period) { (key, value, cost) throws(CounterOverflow) in
                do {
                    try counters[key, default: Counter()].addCost(cost, of: value, sequence: sequence, at: place)
                } catch {
                    throw CounterOverflow(tenant: tenant, feature: key.feature)
                }
            }
        }
    }

    /// Sends the writes. They travel with the commit, except where something must be known first: whether a distinct
    /// value is new, and where limits stand now.
    /// - Returns: the alerts of limits, for the caller to raise.
    mutating func enqueue(
        _ surroundings: LimitSurroundings,
        in transaction: borrowing Transaction
    ) throws -> [AlertDraft] {
        if !distinct.isEmpty {
            try countDistinct(in: transaction)
        }
        let rows = try rows(in: transaction)
        CounterStore.enqueue(rows, in: transaction)
        do {
            try limitRest(of: rows)
        } catch is DecimalError {
            throw CounterOverflow(tenant: rows.first?.key.tenant ?? .operatorWide, feature: nil)
        }
        return try limits.write(surroundings, in: transaction)
    }

    /// The counters that changed, with their charges, and in periods of several segments those that depend on them.
    private func rows(in transaction: borrowing Transaction) throws -> [CounterRow] {
        var whole: [ChangedCounter] = []
        whole.reserveCapacity(counters.count)
        var split: [CounterKey: CountedPlace] = [:]
        for (key, counter) in counters {
            guard let counted = counter.counted else { continue }
            guard counted.place.parts.isEmpty else {
                split[key] = counted
                continue
            }
            whole.append(
                ChangedCounter(
                    key: key,
                    state: counter.state,
                    price: counted.place.price(of: key.feature),
                    storedCharge: counter.storedCharge
                )
            )
        }
        let rows = try CounterRow.charged(whole)
        guard !split.isEmpty else { return rows }
        let segmented = SegmentedCounters(
            states: counters.mapValues(\.state),
            storedCharges: counters.mapValues(\.storedCharge),
            firstSeen: try moves.firstSeen(
                of: split,
                running: counters.compactMapValues(\.storedRunning),
                in: transaction
            )
        )
        return rows + (try segmented.rows(of: split))
    }

    private mutating func countDistinct(in transaction: borrowing Transaction) throws {
        let changes = distinct.map {
            DistinctChange(counter: $0.key.counter, value: $0.key.value, references: $0.value)
        }
        let seen = try transaction.query(DistinctStore.change(changes), DistinctStore.decode)
        for value in seen
        where value.references == distinct[DistinctKey(counter: value.counter, value: value.value)] {
            let quantity = counters[value.counter, default: Counter()].state.quantity
            counters[value.counter, default: Counter()].state.quantity = try quantity.adding(.one)
            if counters[value.counter]?.counted?.place.parts.isEmpty == false {
                moves.appearing[value.counter, default: []].insert(value.value)
            }
        }
    }
}

extension UsageChanges.Counter {
    fileprivate mutating func add(
        _ value: MeasuredValue,
        cost: FixedDecimal?,
        from origin: CounterWinner,
        sequence: Int64,
        at place: EventPlace
    ) throws(DecimalError) {
        if counted == nil { counted = CountedPlace(place, value) }
        try state.add(value, cost: cost, from: origin, sequence: sequence)
    }

    /// Adds the cost of an event that was counted without one.
    fileprivate mutating func addCost(
        _ cost: FixedDecimal?,
        of value: MeasuredValue,
        sequence: Int64,
        at place: EventPlace
    ) throws(DecimalError) {
        if counted == nil { counted = CountedPlace(place, value) }
        try state.addCost(cost, of: value, sequence: sequence)
    }
}

extension UsageEvent {
    /// The reservation that it settles.
    func reservation(of tenant: TenantID) -> TenantReservation? {
        reservationID.map { TenantReservation(tenant: tenant, id: ReservationID(rawValue: $0)) }
    }
}

extension UsageLimit {
    /// The window of this limit that usage at `time` counts in; `nil` when it counts in none.
    func window(at time: Instant, place: EventPlace?, windows: inout WindowCache) -> Interval? {
        guard let countedFrom, time >= countedFrom else { return nil }
        if window == .billingPeriod { return place?.period }
        return windows.window(window, containing: time)
    }
}
