package import BillingCore
package import Catalog
package import Postgres

/// A call that asks for admission, attributed and measured like the event that will report it.
package final class PreparedCall: Sendable {
    package let tenant: TenantSnapshot
    package let pending: PendingEvent
    package let shared: CatalogSnapshot
    /// Its position in the request.
    package let index: Int
    private let preparation: IngestPreparation
    /// What it asked for, where it is given fewer tokens.
    private let whole: TokenClasses?

    init(
        tenant: TenantSnapshot,
        pending: PendingEvent,
        shared: CatalogSnapshot,
        index: Int,
        preparation: IngestPreparation,
        shortenedFrom whole: TokenClasses? = nil
    ) {
        self.tenant = tenant
        self.pending = pending
        self.shared = shared
        self.index = index
        self.preparation = preparation
        self.whole = whole
    }

    /// What its event would be remarked on for, if it came as it was described.
    package var remark: EventStatus? { pending.remark }

    /// Whether the call would count in the same counters at a later time, in the same billing period and segment, and
    /// at the same provider prices until then.
    package func countsAlike(until time: Instant) -> Bool {
        guard costChanges(until: time).isEmpty else { return false }
        guard let subscription = tenant.subscription(covering: time), let period = subscription.period(containing: time)
        else { return pending.place == nil }
        return pending.place.map { place in
            place.subscription.id == subscription.id && place.periodIndex == period.index
                && place.segment.ordinal == subscription.segment(at: time).ordinal
        } ?? false
    }

    /// When, after its time and before another one, what the call counts in changes, or what it costs: where a
    /// subscription, a billing period or a segment begins, or a provider's price or an exchange rate.
    package func changes(until end: Instant) -> [Instant] {
        var changes = costChanges(until: end)
        for subscription in tenant.subscriptions {
            changes.insert(subscription.startsAt)
            changes.formUnion(subscription.segments.map(\.startsAt))
            for time in [pending.time, end] {
                if let period = subscription.period(containing: time)?.interval {
                    changes.formUnion([period.start, period.end])
                }
            }
        }
        return changes.filter { pending.time < $0 && $0 < end }.sorted()
    }

    private func costChanges(until end: Instant) -> Set<Instant> {
        let usage = pending.event.usage
        guard pending.event.isModelCall || pending.cost.priced != nil else { return [] }
        let (start, costs) = (pending.time, shared.costs)
        let rates = costs.rates.starts(to: tenant.currency, after: start, through: end)
        guard let model = usage.model else { return rates }
        return costs.prices.starts(provider: usage.provider, model: model, after: start, through: end).union(rates)
    }

    /// The same call with fewer output tokens. They cost, and count in each class, what they can at most, of what it
    /// said that parts of them are.
    /// - Throws: `MeasurementFault` when a property that a meter reads can't be measured.
    package func using(outputTokens: Int64) throws(MeasurementFault) -> PreparedCall {
        let event = pending.event.with(usage: pending.event.usage.shortened(toOutput: outputTokens))
        let whole = pending.event.usage.tokenClasses
        var rater = preparation.rater(shared, believesReports: pending.cost.priced?.set.set.isReported ?? false)
        let cost = rater.cost(
            of: event,
            at: pending.time,
            currency: tenant.currency,
            shortenedFrom: whole
        )
        return try costing(cost, event, shortenedFrom: whole)
    }

    /// The same call as if those parts of it cost nothing that have no known price: what the known ones come to. Nil
    /// where none is known, or all are.
    package func atKnownPrices() throws(MeasurementFault) -> PreparedCall? {
        guard case .unpriced = pending.cost else { return nil }
        var rater = preparation.rater(shared, believesReports: false)
        let known = rater.costOfPricedParts(
            of: pending.event,
            at: pending.time,
            currency: tenant.currency,
            shortenedFrom: whole
        )
        return try known.map { (call) throws(MeasurementFault) in
            try costing(.priced(call), pending.event, shortenedFrom: whole)
        }
    }

    /// What the provider charges for the call, in a currency; nil where that is not known.
    package func cost(in currency: Currency) -> FixedDecimal? {
        pending.cost.priced.flatMap { call in
            CostConversion(from: call.set.set.currency, to: currency, at: pending.time, shared.costs.rates)
                .convert(call.amount)
        }
    }

    private func costing(
        _ cost: CallCost,
        _ event: UsageEvent,
        shortenedFrom whole: TokenClasses?
    ) throws(MeasurementFault) -> PreparedCall {
        let measurements = try Metering.measure(
            event,
            features: shared.featuresByEventType[event.type] ?? [],
            under: pending.place?.planVersion,
            cost: MeasuredCost(cost)
        )
        let changed = PendingEvent(
            event: event,
            time: pending.time,
            receivedAt: pending.receivedAt,
            index: pending.index,
            measurements: measurements,
            place: pending.place,
            cost: cost
        )
        return PreparedCall(
            tenant: tenant,
            pending: changed,
            shared: shared,
            index: index,
            preparation: preparation,
            shortenedFrom: whole
        )
    }
}

/// What became of the calls of a request.
package struct PreparedCalls: Sendable {
    package var calls: [PreparedCall] = []
    /// Not of those whose subject names nobody, or nobody that the credential may know of: they are left out.
    package var faults: [EventFault] = []
}

/// Prepares calls by the code that prepares events, so that an admission touches what its usage event will.
package struct CallPreparation: Sendable {
    private let preparation: IngestPreparation

    package init(_ ingest: IngestService) {
        preparation = ingest.preparation.reading(on: .admission)
    }

    private init(_ preparation: IngestPreparation) {
        self.preparation = preparation
    }

    /// The same without reading or writing anything: what is not at hand is `NotCached`.
    package var cached: CallPreparation { reaching(.memory) }

    /// The same where it need only be told what limits a call touches, and not what it would hold: what has no row yet
    /// is left out, and a tenant that should be read again is as it was known last.
    package var ofLimits: CallPreparation { reaching(.limits) }

    /// The same, reading on another lane.
    package func reading(on lane: PostgresLane) -> CallPreparation { CallPreparation(preparation.reading(on: lane)) }

    private func reaching(_ reach: IngestPreparation.Reach) -> CallPreparation {
        var preparation = preparation
        preparation.reach = reach
        return CallPreparation(preparation)
    }

    package var limits: LimitPolicy { preparation.limits }

    /// - Parameters:
    ///   - time: when the calls are made.
    ///   - tenant: that of every call, where they may be of one only.
    ///   - believesReports: whether a provider cost that a call says counts where its source is trusted; by default
    ///     where the calls may be of any tenant.
    /// - Throws: `NotCached` where nothing may be read; `PostgresError`.
    package func prepare(
        _ calls: [(index: Int, event: UsageEvent)],
        at time: Instant,
        boundTo tenant: TenantID?,
        believesReports: Bool? = nil
    ) async throws -> PreparedCalls {
        let incoming = calls.map { call in
            IngestPreparation.Incoming(event: call.event, time: time, receivedAt: time, index: call.index)
        }
        let prepared = try await preparation.prepare(incoming, boundTo: tenant, believesReports: believesReports)
        var result = PreparedCalls()
        for group in prepared.groups {
            result.calls += group.events.map { pending in
                PreparedCall(
                    tenant: group.tenant,
                    pending: pending,
                    shared: prepared.shared,
                    index: pending.index,
                    preparation: preparation
                )
            }
        }
        result.faults = prepared.faults.filter { $0.code != EventFault.unknownSubjectCode || $0.index == nil }
        return result
    }

    /// Reads what a transaction found out of date.
    package func refresh(_ stale: StaleCatalog) async throws {
        try await preparation.refresh(stale)
    }
}
