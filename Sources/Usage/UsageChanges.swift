import BillingCore
import Catalog
import Limits
import Postgres

/// A counter would leave the range of a quantity (10^26): the events that do it cannot be stored.
struct CounterOverflow: Error {
    let tenant: TenantID
    let feature: FeatureID
}

/// An event reached its counters before its billing period had a row: a programmer error, never a silent omission.
struct UnknownBillingPeriod: Error {}

/// What a transaction changes in counters and limits: loaded, changed in memory by pure rules, then written once.
struct UsageChanges {
    private struct LimitKey: Hashable {
        let tenant: TenantID
        let limit: LimitID
        let windowStart: Instant
    }

    private struct DistinctKey: Hashable {
        let counter: CounterKey
        let value: EventKey
    }

    private var counters: [CounterKey: CounterState]
    private var changed: [CounterKey: Price?] = [:]
    private var limits: [LimitKey: LimitUsage] = [:]
    private var distinct: [DistinctKey: Int64] = [:]

    /// - Parameter stored: the counters as they stand, read under the ledger lock.
    init(stored: [CounterRow]) {
        counters = Dictionary(stored.map { ($0.key, $0.state) }) { first, _ in first }
    }

    /// Counts one fresh event, which takes the ledger sequence given.
    mutating func add(
        _ pending: PendingEvent,
        sequence: Int64,
        tenant: TenantSnapshot,
        windows: inout WindowCache
    ) throws {
        let origin = CounterWinner(time: pending.time, id: pending.event.id, key: pending.event.key)
        for measurement in pending.measurements {
            if let place = pending.place {
                guard let period = place.billingPeriodID else { throw UnknownBillingPeriod() }
                let key = CounterKey(tenant: tenant.id, period: period, feature: measurement.feature)
                do {
                    try counters[key, default: CounterState()]
                        .add(measurement.value, cost: measurement.cost, from: origin, sequence: sequence)
                } catch {
                    throw CounterOverflow(tenant: tenant.id, feature: measurement.feature)
                }
                changed[key] = .some(place.subscription.planVersion.charges[measurement.feature])
                if case .unique(let value) = measurement.value {
                    distinct[DistinctKey(counter: key, value: value), default: 0] += 1
                }
            }
            guard let amount = measurement.value.additive else { continue }
            for limit in tenant.limits where limit.featureID == measurement.feature {
                guard let window = limit.window(at: pending.time, place: pending.place, windows: &windows) else {
                    continue
                }
                try add(amount, to: limit, window: window, tenant: tenant.id)
            }
        }
    }

    private mutating func add(
        _ amount: FixedDecimal,
        to limit: UsageLimit,
        window: Interval,
        tenant: TenantID
    ) throws {
        let key = LimitKey(tenant: tenant, limit: limit.id, windowStart: window.start)
        let total: FixedDecimal
        do {
            total = try (limits[key]?.amount ?? .zero).adding(amount)
        } catch {
            throw CounterOverflow(tenant: tenant, feature: limit.featureID)
        }
        limits[key] = LimitUsage(
            tenant: tenant,
            limit: limit.id,
            window: window,
            amount: total,
            limitAmount: limit.amount,
            limitRevision: limit.revision
        )
    }

    /// Sends the writes. They travel with the commit, except where a distinct value must be known to be new first.
    mutating func enqueue(in transaction: borrowing Transaction) throws {
        if !distinct.isEmpty {
            try countDistinct(in: transaction)
        }
        var rows: [CounterRow] = []
        rows.reserveCapacity(changed.count)
        for (key, price) in changed {
            let state = counters[key, default: CounterState()]
            do {
                rows.append(CounterRow(key: key, state: state, charge: try state.charge(price)))
            } catch {
                throw CounterOverflow(tenant: key.tenant, feature: key.feature)
            }
        }
        if !rows.isEmpty {
            transaction.enqueue(CounterStore.store(rows))
        }
        if !limits.isEmpty {
            transaction.enqueue(LimitStateStore.add(Array(limits.values)))
        }
    }

    private mutating func countDistinct(in transaction: borrowing Transaction) throws {
        let changes = distinct.map {
            DistinctChange(counter: $0.key.counter, value: $0.key.value, references: $0.value)
        }
        let seen = try transaction.query(DistinctStore.change(changes), DistinctStore.decode)
        for value in seen
        where value.references == distinct[DistinctKey(counter: value.counter, value: value.value)] {
            let state = counters[value.counter, default: CounterState()]
            counters[value.counter, default: CounterState()].quantity = try state.quantity.adding(.one)
        }
    }
}

extension CounterState {
    /// The unrounded charge of what was counted, kept to 12 digits; zero where the plan has no price for it.
    func charge(_ price: Price?) throws(DecimalError) -> FixedDecimal {
        guard let price else { return .zero }
        return try price.charge(for: total).rounded(toDigits: 12)
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
