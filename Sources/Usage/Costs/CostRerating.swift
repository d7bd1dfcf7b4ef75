import BillingCore
import Catalog
import Limits
import Postgres
import Web

/// Rates what was unpriced of one model, tenant and day, hour by hour and page by page: no statement reads more than an
/// hour of the tenant's log. A page is one transaction under the tenant's ledger lock; what was rated is no longer
/// looked at, so it can be repeated after a kill at any point.
struct CostRerating: Sendable {
    /// How many events one transaction rates at most.
    private static let pageSize = 1_000
    /// How often a page is tried again when the catalogue changes under it.
    private static let attempts = 8

    let key: UnpricedKey
    let catalog: Catalog
    let pool: PostgresPool
    let policy: CostPolicy
    let limits: LimitPolicy
    let priceSets: PriceSets
    let clock: Clock

    /// - Returns: how many events have a cost now.
    func run() async throws -> Int {
        // Who had the ledger before may store usage by older prices still; who has it afterwards uses those in force.
        try await pool.transaction(.worker, retries: .idempotent(attempts: 3)) { transaction in
            _ = try TenantLedger.lock(key.tenant, in: transaction)
        }
        var rated = 0
        for hour in key.hours {
            var after: EventPosition?
            repeat {
                guard !Task.isCancelled else { return rated }
                let page = try await rate(hour, after: after)
                rated += page.ratedCount
                after = page.next
            } while after != nil
        }
        return rated
    }

    private struct Page: Sendable {
        let ratedCount: Int
        /// Where the next one begins; nil behind the last.
        let next: EventPosition?
    }

    private func rate(_ hour: Interval, after position: EventPosition?) async throws -> Page {
        let events = events(in: hour, after: position)
        for _ in 0..<Self.attempts {
            guard let tenant = try await catalog.tenant(key.tenant, lane: .worker) else {
                return Page(ratedCount: 0, next: nil)
            }
            let shared = catalog.current
            do {
                let found = try await pool.query(.worker, events, EventLogStore.decode)
                guard !found.isEmpty else { return Page(ratedCount: 0, next: nil) }
                try await storePriceSets(of: found, tenant: tenant, shared: shared)
                return try await pool.transaction(.worker, retries: .idempotent(attempts: 3)) { transaction in
                    try rate(events, tenant: tenant, shared: shared, in: transaction)
                }
            } catch is PriceVanished {
                try await catalog.reload(lane: .worker)
            } catch let stale as StaleCatalog {
                for tenant in stale.tenants { catalog.invalidate(tenant: tenant) }
                if stale.shared { try await catalog.reload(lane: .worker) }
            }
        }
        throw IngestRefusal.catalogBusy
    }

    /// Stores what the costs of a page will refer to, so that its transaction finds it.
    private func storePriceSets(
        of events: [StoredEvent],
        tenant: TenantSnapshot,
        shared: CatalogSnapshot
    ) async throws {
        let rated = rated(events, tenant: tenant, shared: shared)
        try await priceSets.ensure(
            rated.compactMap(\.set).filter { $0.id == nil },
            rates: Set(rated.compactMap(\.conversion.rate?.id).filter { !priceSets.isUsed($0) }),
            at: clock.now(),
            lane: .worker,
            pool: pool
        )
    }

    private func rate(
        _ events: SQL,
        tenant: TenantSnapshot,
        shared: CatalogSnapshot,
        in transaction: borrowing Transaction
    ) throws -> Page {
        let ledger = try TenantLedger.allocate([tenant.id: 1], in: transaction)[tenant.id]
        let version = try CatalogVersion.read(in: transaction)
        guard let ledger, ledger.catalogVersion == tenant.catalogVersion, version == shared.version else {
            throw StaleCatalog(tenants: [tenant.id], shared: version != shared.version)
        }
        let events = try transaction.query(events, EventLogStore.decode)
        let rated = rated(events, tenant: tenant, shared: shared)
        // A set that is not stored belongs to an event that came since: its page is tried again.
        guard rated.allSatisfy({ $0.priceSet != nil }) else { throw StaleCatalog(tenants: [], shared: false) }
        if !rated.isEmpty {
            transaction.enqueue(RatedEventStore.update(rated, tenant: tenant.id, sequence: ledger.ledgerSequence))
            try count(rated, sequence: ledger.ledgerSequence, tenant: tenant, shared: shared, in: transaction)
        }
        return Page(
            ratedCount: rated.count,
            next: events.count < Self.pageSize ? nil : events.last?.position
        )
    }

    /// Those of the events that have a cost, or the conversion of it, by now.
    private func rated(
        _ events: [StoredEvent],
        tenant: TenantSnapshot,
        shared: CatalogSnapshot
    ) -> [RatedEvent] {
        // What a source that is trusted now reported before stays as it was judged when it came.
        var rater = CallRater(
            costs: shared.costs,
            version: shared.version,
            policy: policy,
            sets: priceSets,
            believesReports: false
        )
        var costs = StoredCosts(costs: shared.costs, currency: tenant.currency)
        return events.compactMap { stored in
            switch key.reason {
            case .price:
                let cost = rater.cost(of: stored.event, at: stored.time, currency: tenant.currency)
                return cost.priced.map { RatedEvent(stored, call: $0, version: shared.version) }
            case .fxRate:
                return costs.converted(stored).flatMap { RatedEvent(stored, conversion: $0.0, measured: $0.1) }
            }
        }
    }

    /// Brings the costs into the counters, and takes the events out of what is unpriced.
    private func count(
        _ rated: [RatedEvent],
        sequence: Int64,
        tenant: TenantSnapshot,
        shared: CatalogSnapshot,
        in transaction: borrowing Transaction
    ) throws {
        let periods = try BillingPeriodStore.all(of: tenant.id, in: transaction)
        var locator = PeriodLocator(tenant: tenant, periodIDs: BillingPeriodMap(periods))
        var unpriced = UnpricedChanges()
        var counted: [(stored: StoredEvent, event: PendingEvent)] = []
        var unconverted: [(stored: StoredEvent, event: PendingEvent)] = []
        var late = LateUsage()
        let now = clock.now()
        for event in rated {
            let stored = event.stored
            try unpriced.remove(stored.event, at: stored.time, of: tenant.id, key.reason)
            let place = locator.place(of: stored.time)
            let measured = event.measured(at: place, shared)
            guard event.conversion != .missing else {
                try unpriced.add(stored.event, at: stored.time, of: tenant.id, .fxRate)
                unconverted.append((stored, measured))
                continue
            }
            late.note(place, of: tenant.id, at: now)
            counted.append((stored, measured))
        }
        var alerts = UsageAlerts(at: now)
        for newly in try unpriced.write(triedWith: shared.costs.version, in: transaction) {
            alerts.add(newly, from: sequence, of: tenant)
        }
        let keys = Set(counted.flatMap { $0.event.counterKeys(of: tenant.id) }).sorted()
        guard !counted.isEmpty || !unconverted.isEmpty else {
            return try AlertStore.raise(alerts.drafts, at: now, ids: limits.ids, in: transaction)
        }
        let surroundings = LimitSurroundings(limits, shared: shared, now: now)
        var changes = UsageChanges(
            stored: try transaction.query(CounterStore.counters(keys), CounterStore.decode),
            chargedTenants: surroundings.tenantsWithChargeLimits([tenant])
        )
        try count(counted, unconverted, sequence: sequence, by: tenant, into: &changes, surroundings, in: transaction)
        alerts.add(try changes.enqueue(surroundings, in: transaction))
        try AlertStore.raise(alerts.drafts, at: now, ids: limits.ids, in: transaction)
        late.enqueue(in: transaction)
    }

    /// - Parameter unconverted: what they cost in the operator's currency is known, and counts in budgets of that.
    private func count(
        _ counted: [(stored: StoredEvent, event: PendingEvent)],
        _ unconverted: [(stored: StoredEvent, event: PendingEvent)],
        sequence: Int64,
        by tenant: TenantSnapshot,
        into changes: inout UsageChanges,
        _ surroundings: LimitSurroundings,
        in transaction: borrowing Transaction
    ) throws {
        var (matching, windows) = (surroundings.matching, WindowCache(zone: tenant.zone))
        let all = counted + unconverted
        let uses = all.map { matching.uses(of: LimitedUse($0.event), by: tenant, windows: &windows) }
        let known = try CountedUses(in: uses.flatMap { $0.map(\.limit) }, of: tenant.id, transaction)
        for (index, (stored, event)) in all.enumerated() {
            let isConverted = index < counted.count
            if isConverted { try changes.addCost(of: event, sequence: sequence, tenant: tenant.id) }
            let counting = uses[index].filter { use in
                (isConverted || use.limit.measure == .cost) && known.counted(stored, in: use.limit, at: event.place)
            }
            try changes.limitCost(of: event, counting, by: tenant)
        }
    }

    private func events(in hour: Interval, after position: EventPosition?) -> SQL {
        EventLogStore.unpriced(key, in: hour, after: position, limit: Self.pageSize)
    }
}

/// A stored event with the cost, or the conversion of its cost, that was found for it.
struct RatedEvent: Sendable {
    let stored: StoredEvent
    let amount: FixedDecimal
    let conversion: CostConversion
    let measured: MeasuredCost
    /// The newly found cost; nil where only its conversion is new.
    let call: PricedCall?
    /// The set of newly found prices; nil where the event keeps those it was stored with.
    let set: PriceSets.Reference?
    /// The version of the shared catalogue whose prices it has, where that is not the one it was stored with.
    let version: Int64?

    init(_ stored: StoredEvent, call: PricedCall, version: Int64) {
        self.stored = stored
        amount = call.amount
        conversion = call.conversion
        measured = MeasuredCost(.priced(call))
        self.call = call
        set = call.set
        self.version = version
    }

    /// Nil for an event that has no cost yet.
    init?(_ stored: StoredEvent, conversion: CostConversion, measured: MeasuredCost) {
        guard let cost = stored.cost else { return nil }
        self.stored = stored
        amount = cost.amount
        self.conversion = conversion
        self.measured = measured
        call = nil
        set = nil
        version = stored.laterRating?.version
    }

    /// Nil while the set is not stored.
    var priceSet: PriceSetID? {
        if let set { set.id } else { stored.cost?.priceSet }
    }
}

extension RatedEvent {
    /// The event as it is counted now.
    fileprivate func measured(at place: EventPlace?, _ shared: CatalogSnapshot) -> PendingEvent {
        PendingEvent(
            event: stored.event,
            time: stored.time,
            receivedAt: stored.receivedAt,
            index: 0,
            measurements: Metering.measureStored(
                stored.event,
                features: shared.features(of: stored.event.type, at: stored.catalogVersion),
                under: place?.planVersion,
                cost: measured
            ),
            place: place,
            cost: call.map(CallCost.priced) ?? .none
        )
    }
}

/// Writes costs onto stored events.
enum RatedEventStore {
    static func update(_ events: [RatedEvent], tenant: TenantID, sequence: Int64) -> SQL {
        """
        UPDATE usage_event AS event
        SET provider_cost = rated.provider_cost, price_set_id = rated.price_set_id, fx_rate_id = rated.fx_rate_id,
            rated_ledger_seq = \(sequence), rated_version = rated.rated_version
        FROM unnest(
            \(events.map(\.stored.time))::timestamptz[], \(events.map(\.stored.ledgerSequence))::bigint[],
            \(events.map(\.amount))::numeric[], \(events.map(\.priceSet))::bigint[],
            \(events.map(\.conversion.rate?.id))::uuid[], \(events.map(\.version))::bigint[]
        ) AS rated (event_time, ledger_seq, provider_cost, price_set_id, fx_rate_id, rated_version)
        WHERE event.tenant_id = \(tenant) AND event.event_time = rated.event_time
            AND event.ledger_seq = rated.ledger_seq
            AND event.event_time >= \(events.first?.stored.time ?? .minimum)
            AND event.event_time <= \(events.last?.stored.time ?? .minimum)
        """
    }
}

extension PendingEvent {
    fileprivate func counterKeys(of tenant: TenantID) -> [CounterKey] {
        guard let place, let period = place.billingPeriodID else { return [] }
        var keys: [CounterKey] = []
        for measurement in measurements {
            measurement.forEachCounter(of: tenant, in: period) { key, _, _ in
                keys.append(key)
                if !place.parts.isEmpty { keys += place.keys(beside: key) }
            }
        }
        return keys
    }
}
