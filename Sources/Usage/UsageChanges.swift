import BillingCore
import Catalog
import Limits
import Postgres

/// An event reached its counters before its billing period had a row: a programmer error, never a silent omission.
struct UnknownBillingPeriod: Error {}

/// What a transaction changes in counters and limits: loaded, changed in memory by pure rules, then written once.
struct UsageChanges {
    struct Counter {
        var state = CounterState()
        var storedCharge = FixedDecimal.zero
        /// What it charges so far, where the events' own charges are asked for.
        var charged: FixedDecimal?
        /// The period's quantity through the counter, as it was stored; nil where it was not.
        var storedRunning: FixedDecimal?
        /// Set with the first change.
        var counted: CountedPlace?
    }

    private struct DistinctKey: Hashable {
        let counter: CounterKey
        let value: EventKey
    }

    var counters: [CounterKey: Counter]
    var limits = LimitTally()
    var distinctCharges: [TenantID: DistinctCharges] = [:]
    /// Those whose charges have to be told of each event, because some limit counts those of some.
    let chargedTenants: [TenantID: TenantSnapshot]
    /// Values that are new to counters, as long as no event has brought them.
    private var unseen: Set<DistinctKey> = []
    private var moves = DistinctMoves()

    /// - Parameters:
    ///   - stored: the counters as they stand, read under the ledger lock.
    ///   - chargedTenants: those with limits on charges.
    init(stored: [CounterRow], chargedTenants: [TenantID: TenantSnapshot]) {
        self.chargedTenants = chargedTenants
        let counters = stored.map { row in
            let running = row.runningQuantity ?? row.state.quantity
            return (row.key, Counter(state: row.state, storedCharge: row.charge, storedRunning: running))
        }
        self.counters = Dictionary(counters) { first, _ in first }
    }

    /// Refers to the distinct values of fresh events, and learns which are new to their counters. Before the events
    /// are added: the first of those that bring a new value is charged for it.
    mutating func refer(
        to events: [(event: PendingEvent, tenant: TenantID)],
        in transaction: borrowing Transaction
    ) throws {
        var references: [DistinctKey: Int64] = [:]
        for (pending, tenant) in events {
            guard let place = pending.place else { continue }
            guard let period = place.billingPeriodID else { throw UnknownBillingPeriod() }
            for measurement in pending.measurements {
                measurement.forEachCounter(of: tenant, in: period) { key, value, _ in
                    guard case .unique(let value) = value else { return }
                    references[DistinctKey(counter: key, value: value), default: 0] += 1
                }
            }
        }
        guard !references.isEmpty else { return }
        let changes = references.map {
            DistinctChange(counter: $0.key.counter, value: $0.key.value, references: $0.value)
        }
        for seen in try transaction.query(DistinctStore.change(changes), DistinctStore.decode) {
            let key = DistinctKey(counter: seen.counter, value: seen.value)
            if seen.references == references[key] { unseen.insert(key) }
        }
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
                    guard case .unique(let value) = value,
                        unseen.remove(DistinctKey(counter: key, value: value)) != nil
                    else { return }
                    do throws(DecimalError) {
                        let quantity = counters[key, default: Counter()].state.quantity
                        counters[key, default: Counter()].state.quantity = try quantity.adding(.one)
                    } catch {
                        throw CounterOverflow(tenant: tenant, feature: key.feature)
                    }
                    if !place.parts.isEmpty { moves.appearing[key, default: []].insert(value) }
                }
            }
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

    /// Sends the writes. They travel with the commit, except where it must be known first where limits stand now.
    /// - Returns: the alerts of limits, for the caller to raise.
    mutating func enqueue(
        _ surroundings: LimitSurroundings,
        in transaction: borrowing Transaction
    ) throws -> [AlertDraft] {
        let rows = try rows(in: transaction)
        CounterStore.enqueue(rows, in: transaction)
        do {
            try limitRest(of: rows)
            let moved = Set(rows.map(\.key.tenant)).compactMap { chargedTenants[$0] }
            return try limits.write(surroundings, chargesMovedOf: moved, in: transaction)
        } catch is DecimalError {
            throw CounterOverflow(tenant: rows.first?.key.tenant ?? .operatorWide, feature: nil)
        }
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

extension UsageLimit {
    /// The window of this limit that usage at `time` counts in; `nil` when it counts in none.
    func window(at time: Instant, place: EventPlace?, windows: inout WindowCache) -> Interval? {
        guard let countedFrom, time >= countedFrom else { return nil }
        if window == .billingPeriod { return place?.period }
        return windows.window(window, containing: time)
    }
}
