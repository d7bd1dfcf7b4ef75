import BillingCore
import Catalog
import HTTPTypes
import Identity
import Limits
import Postgres
import Web

/// What `POST /events/void` asks: to take one event back. The audit log keeps it as it was asked.
struct EventVoid: Encodable, Sendable {
    let source: String
    let id: String
    let tenant: String
    let reason: String?

    init(_ fields: JSONObjectReader) throws {
        source = fields.string("source", maximumLength: 512)
        id = fields.string("id", maximumLength: 512)
        tenant = fields.string("tenant", maximumLength: 63)
        reason = fields.optionalString("reason", maximumLength: 500)
        try fields.finish()
    }
}

/// What became of it; voiding twice voids once.
struct VoidedEvent: Encodable, Sendable {
    enum Status: String, Encodable, Sendable {
        case voided
        case alreadyVoided = "already_voided"
    }

    let tenant: String
    let source: String
    let id: String
    let status: Status
}

/// Takes events back: a linked reversal is stored with a key of its own and counted at the original's time.
struct EventVoiding {
    let void: EventVoid
    let tenant: TenantSnapshot
    let catalog: CatalogSnapshot
    /// Of the credential that voids: it takes back only what it might have sent.
    let narrowing: Narrowing
    let limits: LimitPolicy
    let now: Instant

    /// - Throws: `Problem` 404 when no such event was stored, 403 when it is beyond the narrowing; `StaleCatalog` when
    ///   the snapshots are out of date.
    func run(in transaction: borrowing Transaction) throws -> VoidedEvent {
        let ledger = try TenantLedger.allocate([tenant.id: 1], in: transaction)[tenant.id]
        let version = try CatalogVersion.read(in: transaction)
        guard let ledger, ledger.catalogVersion == tenant.catalogVersion, version == catalog.version else {
            throw StaleCatalog(tenants: [tenant.id], shared: version != catalog.version)
        }
        let key = EventKey(source: void.source, id: void.id)
        let time = try transaction.first(
            DedupStore.existing(tenants: [tenant.id], keys: [key]),
            DedupStore.decodeTime
        )
        guard let time,
            let original = try transaction.first(
                EventLogStore.event(tenant: tenant.id, key: key, time: time),
                EventLogStore.decode
            ), original.reversalOf == nil
        else {
            throw Problem(
                .notFound,
                code: "event_not_found",
                detail: "The tenant has no event '\(void.id)' from source '\(void.source)'."
            )
        }
        let beyond = narrowing.refusals(of: original.event)
        guard beyond.isEmpty else {
            throw Problem.useNotAllowed(
                detail: Narrowing.refusal(of: "event", for: beyond),
                errors: []
            )
        }
        guard try claimReversal(of: original, in: transaction) else {
            return answer(.alreadyVoided)
        }
        try store(reversalOf: original, sequence: ledger.ledgerSequence, in: transaction)
        try uncount(original, sequence: ledger.ledgerSequence, in: transaction)
        return answer(.voided)
    }

    private func answer(_ status: VoidedEvent.Status) -> VoidedEvent {
        VoidedEvent(tenant: tenant.key, source: void.source, id: void.id, status: status)
    }

    private func claimReversal(of original: StoredEvent, in transaction: borrowing Transaction) throws -> Bool {
        let claimed = try transaction.query(
            DedupStore.claimReversals(of: [(tenant.id, original)]),
            DedupStore.decodeClaim
        )
        return !claimed.isEmpty
    }

    private func store(
        reversalOf original: StoredEvent,
        sequence: Int64,
        in transaction: borrowing Transaction
    ) throws {
        var columns = EventColumns()
        columns.append(original.reversal(sequence: sequence, at: now), tenant: tenant.id)
        transaction.enqueue(columns.insert)
    }

    /// - Parameter sequence: the ledger sequence of the reversal.
    private func uncount(_ original: StoredEvent, sequence: Int64, in transaction: borrowing Transaction) throws {
        let periods = try BillingPeriodStore.all(of: tenant.id, in: transaction)
        var locator = PeriodLocator(tenant: tenant, periodIDs: BillingPeriodMap(periods))
        let place = locator.place(of: original.time)
        var costs = StoredCosts(costs: catalog.costs, currency: tenant.currency)
        let measurements = Metering.measureStored(
            original.event,
            features: catalog.features(of: original.event.type, at: original.catalogVersion),
            under: place?.planVersion,
            cost: costs.measured(original)
        )
        var unpriced = UnpricedChanges()
        let reason = original.unpricedReason(in: tenant.currency)
        try unpriced.remove(original.event, at: original.time, of: tenant.id, reason)
        _ = try unpriced.write(triedWith: catalog.costs.version, in: transaction)
        var charges: [FeatureID: FixedDecimal] = [:]
        if let place {
            guard let period = place.billingPeriodID else { throw UnknownBillingPeriod() }
            charges = try uncount(
                measurements,
                of: original,
                sequence: sequence,
                in: place,
                period: period,
                periods: periods,
                transaction
            )
            var late = LateUsage()
            late.note(place, of: tenant.id, at: now)
            late.enqueue(in: transaction)
        }
        try unlimit(original, measurements, in: place, charges: charges, transaction)
    }

    /// Takes the original out of the limits that it counted in.
    /// - Parameter charges: by how much the tenant's charges moved, for each feature.
    private func unlimit(
        _ original: StoredEvent,
        _ measurements: [Measurement],
        in place: EventPlace?,
        charges: [FeatureID: FixedDecimal],
        _ transaction: borrowing Transaction
    ) throws {
        let surroundings = LimitSurroundings(limits, shared: catalog, now: now)
        var matching = surroundings.matching
        var windows = WindowCache(zone: tenant.zone)
        var tally = LimitTally()
        let used = LimitedUse(original, measurements: measurements, place: place)
        let uses = matching.uses(of: used, by: tenant, windows: &windows)
            .filter { !LimitRetention.mayBeGone(windowUntil: $0.window.end, at: now) }
        let known = try CountedUses(in: uses.map(\.limit), of: tenant.id, transaction)
        for use in uses {
            guard known.counted(original, in: use.limit, at: place) else { continue }
            switch use.amount {
            case .known(let amount): try tally.withdraw(use, amount, by: tenant)
            case .charge(let feature):
                let moved = try moved(charges, feature, measurements, isWhole: use.limit.boundsAllCharges)
                try tally.withdraw(use, moved.negated, by: tenant)
            case .unpriced: continue
            }
        }
        let drafts = try tally.write(surroundings, chargesMovedOf: [tenant], isVoid: true, in: transaction)
        try AlertStore.raise(drafts, at: now, ids: limits.ids, in: transaction)
    }

    /// What counts of the charges in a limit. Those of distinct values count in limits on all that a tenant is charged
    /// alone, because what is narrower was never told of them.
    private func moved(
        _ charges: [FeatureID: FixedDecimal],
        _ feature: FeatureID?,
        _ measurements: [Measurement],
        isWhole: Bool
    ) throws -> FixedDecimal {
        try charges.reduce(FixedDecimal.zero) { sum, charge in
            let isDistinct = measurements.contains { $0.feature == charge.key && $0.isDistinct }
            guard feature == nil || feature == charge.key, isWhole || !isDistinct else { return sum }
            return try sum.adding(charge.value)
        }
    }

    /// Writes the counters without the original.
    /// - Returns: by how much that moves what the tenant is charged, for each feature.
    private func uncount(
        _ measurements: [Measurement],
        of original: StoredEvent,
        sequence: Int64,
        in place: EventPlace,
        period: BillingPeriodID,
        periods: [BillingPeriod],
        _ transaction: borrowing Transaction
    ) throws -> [FeatureID: FixedDecimal] {
        var parts: [(key: CounterKey, value: MeasuredValue, cost: FixedDecimal?)] = []
        for measurement in measurements {
            measurement.forEachCounter(of: tenant.id, in: period) { parts.append(($0, $1, $2)) }
        }
        guard !parts.isEmpty else { return [:] }
        let stored = try transaction.query(
            CounterStore.counters(parts.map(\.key).flatMap(place.keys(beside:))),
            CounterStore.decode
        )
        var states = Dictionary(stored.map { ($0.key, $0.state) }) { first, _ in first }
        var moves = DistinctMoves()
        var recount: UsageRecount?
        for (key, value, cost) in parts {
            var state = states[key] ?? CounterState()
            if try !state.remove(value, cost: cost, of: original.key, sequence: sequence) {
                if recount == nil {
                    var counted = UsageRecount(tenant: tenant, periods: periods, catalog: catalog)
                    try counted.add(eventsOf: place.period, type: original.event.type, in: transaction)
                    recount = counted
                }
                state = recount?.counters[key] ?? CounterState()
                state.ledgerSequence = sequence
            }
            if case .unique(let value) = value {
                let gone = try transaction.first(DistinctStore.release(value, of: key)) {
                    row throws(PostgresError) in try row.next(Int64.self) == 0
                }
                if gone == true {
                    state.quantity = try state.quantity.subtracting(.one)
                    moves.vanishing[key, default: []].insert(value)
                }
            }
            states[key] = state
        }
        let changed = Dictionary(parts.map { ($0.key, CountedPlace(place, $0.value)) }) { first, _ in first }
        let charges = Dictionary(stored.map { ($0.key, $0.charge) }) { first, _ in first }
        let quantities = stored.map { ($0.key, $0.runningQuantity ?? $0.state.quantity) }
        let running = Dictionary(quantities) { first, _ in first }
        let counters = SegmentedCounters(
            states: states,
            storedCharges: charges,
            firstSeen: try moves.firstSeen(of: changed, running: running, in: transaction)
        )
        let rows = try counters.rows(of: changed)
        CounterStore.enqueue(rows, in: transaction)
        return try rows.filter(\.key.isPooled).reduce(into: [:]) { moved, row in
            let change = try row.charge.subtracting(charges[row.key] ?? .zero)
            moved[row.key.feature] = try moved[row.key.feature, default: .zero].adding(change)
        }
    }
}
