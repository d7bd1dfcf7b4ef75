import BillingCore
import Catalog
import Postgres
import Web

/// Something is not in memory that would have to be read, or made, in the database.
package struct NotCached: Error {}

/// Attributes decoded events to tenants and measures them, against the snapshots at hand. Whatever these get wrong
/// because they are stale is found out inside the flush's transaction, and prepared again.
struct IngestPreparation: Sendable {
    let catalog: Catalog
    let pool: PostgresPool
    let partitions: PartitionRegistry
    var costs: CostPolicy
    let limits: LimitPolicy
    let priceSets: PriceSets
    let clock: Clock
    var reach = Reach.database
    /// What reads tenants and the shared catalogue. What events need to be stored is made on the lane of ingest: it may
    /// wait for a tenant's ledger, and admission has no connection to spare for that.
    var lane = PostgresLane.ingest
    /// Set where ledgers are waited for only briefly; nil waits as long as a statement may.
    var ledgers: HeldLedgers?

    /// What may be done about what is not in memory.
    enum Reach: Sendable {
        /// It is read, or made.
        case database
        /// It is `NotCached`.
        case memory
        /// Rows that have to be there before anything is stored are left out, tenants are as they were known last, and
        /// the rest is `NotCached`: enough to tell what limits are touched.
        case limits
    }

    /// How often events are rated again when prices go at the same time.
    private static let attempts = 3

    /// An event on its way in, before anything is known of its tenant.
    struct Incoming: Sendable {
        let event: UsageEvent
        let time: Instant
        let receivedAt: Instant
        /// Its position in the request.
        let index: Int
    }

    struct Prepared: Sendable {
        /// The catalogue that the events were measured with.
        var shared: CatalogSnapshot
        var groups: [TenantGroup]
        var unmatched: [UnmatchedEvent]
        var faults: [EventFault] = []

        var eventCount: Int { groups.reduce(unmatched.count) { $0 + $1.events.count } }

        var tenants: Set<TenantID> { Set(groups.lazy.map(\.tenant.id)) }

        /// What is of some tenants, and the rest.
        func divided(by tenants: Set<TenantID>) -> (of: Prepared, others: Prepared) {
            var (own, others) = (self, self)
            own.unmatched = []
            own.groups.removeAll { !tenants.contains($0.tenant.id) }
            others.groups.removeAll { tenants.contains($0.tenant.id) }
            return (own, others)
        }

        /// Whether these events could make a counter overflow.
        var mayOverflow: Bool {
            groups.contains { group in
                group.tenant.hasLargeCounters || group.events.contains { $0.measurements.contains(where: \.isHuge) }
            }
        }

        /// About how much memory the events' text takes.
        var byteCount: Int {
            let matched = groups.reduce(0) { $0 + $1.events.reduce(0) { $0 + $1.event.byteCount } }
            return unmatched.reduce(matched) { $0 + $1.event.byteCount }
        }
    }

    /// The same, which waits for ledgers that others hold.
    var waitingForLedgers: IngestPreparation {
        var preparation = self
        preparation.ledgers = nil
        return preparation
    }

    /// The same on another lane.
    func reading(on lane: PostgresLane) -> IngestPreparation {
        var preparation = self
        preparation.lane = lane
        return preparation
    }

    /// - Parameters:
    ///   - boundTo: the tenant that must be that of every event, as it must of a credential that is bound to one.
    ///   - believesReports: see `CallRater`; by default where the events are bound to no tenant.
    /// - Returns: what can be stored, and the faults of what cannot.
    func prepare(
        _ incoming: [Incoming],
        boundTo: TenantID?,
        believesReports: Bool? = nil
    ) async throws -> Prepared {
        let believesReports = believesReports ?? (boundTo == nil)
        for _ in 1..<Self.attempts {
            do {
                return try await prepareOnce(incoming, boundTo: boundTo, believesReports: believesReports)
            } catch is PriceVanished {
                try await catalog.reload(lane: lane)
            }
        }
        return try await prepareOnce(incoming, boundTo: boundTo, believesReports: believesReports)
    }

    /// - Parameter believesReports: see `CallRater`.
    func rater(_ shared: CatalogSnapshot, believesReports: Bool) -> CallRater {
        CallRater(
            costs: shared.costs,
            version: shared.version,
            policy: costs,
            sets: priceSets,
            believesReports: believesReports
        )
    }

    private func prepareOnce(
        _ incoming: [Incoming],
        boundTo: TenantID?,
        believesReports: Bool
    ) async throws -> Prepared {
        let tenants = try await tenants(of: incoming)
        let shared = catalog.current
        var rater = rater(shared, believesReports: believesReports)
        var prepared = Prepared(shared: shared, groups: [], unmatched: [])
        var groupOf: [TenantID: Int] = [:]
        var locators: [PeriodLocator] = []
        for item in incoming {
            guard let tenant = tenants[ExactText(item.event.subject)], boundTo == nil || tenant.id == boundTo else {
                if boundTo != nil {
                    prepared.faults.append(.unknownSubject(item))
                } else {
                    prepared.unmatched.append(UnmatchedEvent(item))
                }
                continue
            }
            let group = groupOf[tenant.id] ?? prepared.groups.count
            if group == prepared.groups.count {
                groupOf[tenant.id] = group
                prepared.groups.append(TenantGroup(tenant: tenant, events: []))
                locators.append(PeriodLocator(tenant: tenant))
            }
            let place = locators[group].place(of: item.time)
            let cost = rater.cost(of: item.event, at: item.time, currency: tenant.currency)
            let measurements: [Measurement]
            do {
                measurements = try Metering.measure(
                    item.event,
                    features: shared.featuresByEventType[item.event.type] ?? [],
                    under: place?.planVersion,
                    cost: MeasuredCost(cost)
                )
            } catch {
                prepared.faults.append(EventFault(error, of: item))
                continue
            }
            prepared.groups[group].events.append(
                PendingEvent(
                    event: item.event,
                    time: item.time,
                    receivedAt: item.receivedAt,
                    index: item.index,
                    measurements: measurements,
                    place: place,
                    cost: cost
                )
            )
        }
        prepared.groups.removeAll(where: \.events.isEmpty)
        let times = incoming.map(\.time)
        if try needs(partitions.missing(of: times)) { try await partitions.ensure(months: times, pool: pool) }
        try await storePriceSets(of: prepared)
        return try await withBillingPeriods(prepared)
    }

    /// Stores the price sets that the costs of events name and that are not known yet: once per set and replica.
    private func storePriceSets(of prepared: Prepared) async throws {
        var sets: [PriceSets.Reference] = []
        var rates: Set<FXRateID> = []
        for group in prepared.groups {
            for event in group.events {
                guard let call = event.cost.priced else { continue }
                if call.set.id == nil { sets.append(call.set) }
                if let rate = call.conversion.rate?.id, !priceSets.isUsed(rate) { rates.insert(rate) }
            }
        }
        guard try needs(sets) || needs(rates) else { return }
        try await priceSets.ensure(sets, rates: rates, at: clock.now(), lane: .ingest, pool: pool)
    }

    /// Whether there is something to be read or written.
    /// - Parameter isForStoring: whether only what stores the events has to have it.
    private func needs(_ missing: some Collection, isForStoring: Bool = true) throws(NotCached) -> Bool {
        guard !missing.isEmpty else { return false }
        switch reach {
        case .database: return true
        case .limits where isForStoring: return false
        case .memory, .limits: throw NotCached()
        }
    }

    /// Reads what a flush found out of date.
    func refresh(_ stale: StaleCatalog) async throws {
        for tenant in stale.tenants {
            catalog.invalidate(tenant: tenant)
        }
        if stale.shared {
            try await catalog.reload(lane: lane)
        }
    }

    private func tenants(of incoming: [Incoming]) async throws -> [ExactText: TenantSnapshot] {
        var known: [ExactText: TenantSnapshot] = [:]
        var missing: Set<ExactText> = []
        for item in incoming {
            let subject = ExactText(item.event.subject)
            guard known[subject] == nil, !missing.contains(subject) else { continue }
            let tenant =
                reach == .limits
                ? catalog.lastKnownTenant(subject: subject.text) : catalog.cachedTenant(subject: subject.text)
            if let tenant {
                known[subject] = tenant
            } else {
                missing.insert(subject)
            }
        }
        if try needs(missing, isForStoring: false) {
            known.merge(try await catalog.tenants(subjects: missing.map(\.text), lane: lane)) { first, _ in first }
        }
        return known
    }

    /// Makes the billing periods that events fall in and that have no row yet: once per subscription,
    /// month and segment.
    /// - Throws: the `PostgresError` of a lock timeout, also where a tenant's ledger is known to be held.
    private func withBillingPeriods(_ prepared: Prepared) async throws -> Prepared {
        var wanted: Set<BillingPeriod.Wanted> = []
        for group in prepared.groups {
            for pending in group.events {
                guard let place = pending.place, !place.isComplete else { continue }
                wanted.formUnion(place.wanted(by: group.tenant.id))
            }
        }
        guard try needs(wanted) else { return prepared }
        let missing = Array(wanted)
        let periods = try await pool.transaction(.ingest, retries: .idempotent(attempts: 3)) { transaction in
            if let ledgers {
                // Found out by others maybe while this one waited for the connection.
                guard ledgers.known(among: missing.map(\.tenantID)).isEmpty else {
                    throw PostgresError(.server, "a ledger is held", sqlState: .lockNotAvailable)
                }
                transaction.waitForLocks(atMost: HeldLedgers.patience)
            }
            _ = try TenantLedger.allocate(
                Dictionary(missing.map { ($0.tenantID, 0) }) { first, _ in first },
                in: transaction
            )
            return try BillingPeriodStore.ensure(missing, in: transaction)
        }
        catalog.remember(periods: periods)
        return prepared.knowing(periods)
    }
}

extension IngestPreparation.Prepared {
    /// The events again, as they came in.
    var incoming: [IngestPreparation.Incoming] {
        let matched = groups.flatMap { group in
            group.events.map { pending in
                IngestPreparation.Incoming(
                    event: pending.event,
                    time: pending.time,
                    receivedAt: pending.receivedAt,
                    index: pending.index
                )
            }
        }
        let others = unmatched.map { item in
            IngestPreparation.Incoming(
                event: item.event,
                time: item.time,
                receivedAt: item.receivedAt,
                index: item.index
            )
        }
        return matched + others
    }

    fileprivate func knowing(_ periods: [BillingPeriod]) -> Self {
        let periodIDs = BillingPeriodMap(periods)
        var result = self
        result.groups = groups.map { group in
            let tenant = group.tenant.remembering(periods)
            var locator = PeriodLocator(tenant: tenant, periodIDs: periodIDs)
            let events = group.events.map { pending in
                PendingEvent(
                    event: pending.event,
                    time: pending.time,
                    receivedAt: pending.receivedAt,
                    index: pending.index,
                    measurements: pending.measurements,
                    place: locator.place(of: pending.time),
                    cost: pending.cost
                )
            }
            return TenantGroup(tenant: tenant, events: events)
        }
        return result
    }
}

extension UnmatchedEvent {
    fileprivate init(_ item: IngestPreparation.Incoming) {
        self.init(
            event: item.event,
            time: item.time,
            receivedAt: item.receivedAt,
            index: item.index
        )
    }
}

extension EventFault {
    static let unknownSubjectCode = "unknown_subject"

    /// The same answer whether the subject is unknown or another tenant's.
    fileprivate static func unknownSubject(_ item: IngestPreparation.Incoming) -> EventFault {
        EventFault(
            index: item.index,
            id: item.event.id,
            pointer: "/subject",
            code: unknownSubjectCode,
            detail: "The subject is not one of the tenant that this credential is bound to."
        )
    }

    fileprivate init(_ fault: MeasurementFault, of item: IngestPreparation.Incoming) {
        self.init(
            index: item.index,
            id: item.event.id,
            pointer: item.event.pointer(toProperty: fault.property),
            code: fault.code,
            detail: fault.detail
        )
    }
}
