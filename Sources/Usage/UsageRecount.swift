package import BillingCore
package import Catalog
import Limits
package import Postgres

/// Counts a tenant's usage anew from its raw events, by the same rules that counted it the first time: for `verify`,
/// for a subscription that begins after its usage, and for voids that a running counter cannot undo.
package struct UsageRecount: Sendable {
    /// How many events one page of the raw log reads.
    private static let pageSize = 5_000

    private let catalog: CatalogSnapshot
    private let tenant: TenantSnapshot
    private let periods: [BillingPeriod]

    package private(set) var counters: [CounterKey: CounterState] = [:]
    package private(set) var limits: [WindowKey: FixedDecimal] = [:]
    private var distinct: [CounterKey: [EventKey: Int64]] = [:]
    /// How many distinct values a counter saw that no earlier segment of its period did. Events come in order of time,
    /// so the first to see a value is in the earliest segment.
    private var firstSeen: [CounterKey: FixedDecimal] = [:]
    private var places: [CounterKey: CountedPlace] = [:]
    /// Is told of usage that the plan does not price; nil where that was told of when it came.
    var alerts: UsageAlerts?
    private var locator: PeriodLocator
    private var windows: WindowCache
    private var costs: StoredCosts

    /// Names one window of one limit.
    package struct WindowKey: Sendable, Hashable {
        package let limit: LimitID
        package let window: Interval
    }

    /// - Parameters:
    ///   - periods: every billing period of the tenant's that has a row.
    ///   - costsThroughSequence: costs that were found out after this ledger sequence are left out.
    package init(
        tenant: TenantSnapshot,
        periods: [BillingPeriod],
        catalog: CatalogSnapshot,
        costsThroughSequence: Int64 = .max
    ) {
        self.tenant = tenant
        self.periods = periods
        self.catalog = catalog
        locator = PeriodLocator(tenant: tenant, periodIDs: BillingPeriodMap(periods))
        windows = WindowCache(zone: tenant.zone)
        costs = StoredCosts(
            costs: catalog.costs,
            currency: tenant.currency,
            throughSequence: costsThroughSequence
        )
    }

    /// The event's provider cost as it is stored and as the price book gives it, where they differ.
    package mutating func costDifference(_ stored: StoredEvent) -> (stored: String, rebuilt: String)? {
        costs.difference(stored)
    }

    package var tenantID: TenantID { tenant.id }

    package func limit(_ id: LimitID) -> UsageLimit? {
        tenant.limits.first { $0.id == id }
    }

    /// The distinct values of a `unique_count` counter and how many events carry each.
    package func distinctValues(of counter: CounterKey) -> [EventKey: Int64] {
        distinct[counter] ?? [:]
    }

    /// Folds in every event of the interval, page by page, up to a ledger sequence. Voided events are left out
    /// together with their reversals, which stand at the same time.
    /// - Parameter type: the only type whose counters will be asked for; nil for those of every type.
    package mutating func add(
        eventsOf interval: Interval,
        type: String? = nil,
        throughSequence: Int64 = .max,
        in transaction: borrowing Transaction
    ) throws {
        var after: EventPosition?
        repeat {
            let page = try transaction.query(
                page(of: interval, type: type, after: after, throughSequence: throughSequence),
                EventLogStore.decode
            )
            guard !page.isEmpty else { return }
            let voided = Set(
                try transaction.query(
                    EventLogStore.voided(among: page, of: tenant.id, throughSequence: throughSequence),
                    EventLogStore.decodeVoided
                )
            )
            for stored in page where !voided.contains(stored.key) {
                try add(stored)
            }
            after = type == nil && page.count < Self.pageSize ? nil : page.last.map(\.position)
        } while after != nil
    }

    private func page(of interval: Interval, type: String?, after: EventPosition?, throughSequence: Int64) -> SQL {
        guard let type else {
            return EventLogStore.page(
                tenant: tenant.id,
                interval: interval,
                after: after,
                throughSequence: throughSequence,
                limit: Self.pageSize
            )
        }
        return EventLogStore.page(
            tenant: tenant.id,
            interval: interval,
            type: type,
            after: after,
            throughSequence: throughSequence,
            limit: Self.pageSize * 4
        )
    }

    /// Folds in one event that is not voided. A reversal counts nothing: the counters it changed keep its sequence.
    package mutating func add(_ stored: StoredEvent) throws {
        let place = locator.place(of: stored.time)
        let measurements = Metering.measureStored(
            stored.event,
            features: catalog.features(of: stored.event.type, at: stored.catalogVersion),
            under: place?.planVersion,
            cost: costs.measured(stored)
        )
        if let place { alerts?.addUnsold(stored.event, measurements, at: place, of: tenant, catalog.features) }
        for measurement in measurements {
            if let place {
                guard let period = place.billingPeriodID else { throw UnknownBillingPeriod() }
                try measurement.forEachCounter(of: tenant.id, in: period) { (key, value, cost) throws(DecimalError) in
                    try count(value, cost: cost, of: stored, in: key, at: place)
                }
            }
            guard stored.reversalOf == nil, let amount = measurement.value.additive else { continue }
            for limit in tenant.limits where limit.featureID == measurement.feature {
                guard let window = limit.window(at: stored.time, place: place, windows: &windows) else { continue }
                let key = WindowKey(limit: limit.id, window: window)
                limits[key] = try (limits[key] ?? .zero).adding(amount)
            }
        }
    }

    /// Lets go of the distinct values of periods that ended before a time: when events come in order, no later one
    /// can change them.
    package mutating func forgetDistinctValues(before time: Instant) {
        let ended = Set(periods.filter { $0.interval.end < time }.map(\.id))
        distinct = distinct.filter { !ended.contains($0.key.period) }
    }

    private mutating func count(
        _ value: MeasuredValue,
        cost: FixedDecimal?,
        of stored: StoredEvent,
        in key: CounterKey,
        at place: EventPlace
    ) throws(DecimalError) {
        if places[key] == nil { places[key] = CountedPlace(place, value) }
        guard stored.reversalOf == nil else {
            let sequence = max(counters[key]?.ledgerSequence ?? 0, stored.ledgerSequence)
            counters[key, default: CounterState()].ledgerSequence = sequence
            return
        }
        var state = counters[key] ?? CounterState()
        try state.add(
            value,
            cost: cost,
            from: CounterWinner(time: stored.time, id: stored.event.id, key: stored.key),
            sequence: max(stored.ledgerSequence, costs.laterSequence(stored) ?? 0)
        )
        if case .unique(let distinctValue) = value {
            distinct[key, default: [:]][distinctValue, default: 0] += 1
            if distinct[key]?[distinctValue] == 1 {
                state.quantity = try state.quantity.adding(.one)
                try see(distinctValue, first: key, at: place)
            }
        }
        counters[key] = state
    }

    private mutating func see(
        _ value: EventKey,
        first key: CounterKey,
        at place: EventPlace
    ) throws(DecimalError) {
        guard !place.parts.isEmpty else { return }
        let others = place.keys(beside: key).filter { $0 != key }
        let isFirst = others.allSatisfy { distinct[$0]?[value] == nil }
        firstSeen[key] = try (firstSeen[key] ?? .zero).adding(isFirst ? .one : .zero)
    }
}

extension UsageRecount {
    /// The counters with their charges, each under the plan version of its segment.
    /// - Throws: `CounterOverflow` when a charge leaves the range of an amount.
    func rows() throws(CounterOverflow) -> [CounterRow] {
        try SegmentedCounters(states: counters, firstSeen: firstSeen).rows(of: places)
    }
}

extension UsageRecount {
    /// What was counted, with its charges: for invoices that are made anew.
    package func countedRows() throws -> [CounterRow] { try rows() }
}

extension StoredEvent {
    package var position: EventPosition { EventPosition(time: time, ledgerSequence: ledgerSequence) }
}
