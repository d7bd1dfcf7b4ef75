import BillingCore
import Catalog
import Limits

extension UsageChanges {
    /// What a tenant's events with distinct values were charged one by one, and which limits on all of its charges
    /// they touch. What a value is charged where the plan changed within the period only the whole transaction can
    /// tell, and is counted in these.
    struct DistinctCharges {
        let tenant: TenantSnapshot
        var features: Set<FeatureID> = []
        var attributed: [BillingPeriodID: FixedDecimal] = [:]
        /// The limits of the last event of each period, or segment of one, and of the last of all.
        var last: [BillingPeriodID: [LimitUse]] = [:]
        var lastOfAll: [LimitUse] = []
        /// What reservations held of rows for values of which is still to be told what they are charged.
        var held: [LimitRow: FixedDecimal] = [:]
    }

    /// What an event was charged.
    struct EventCharges {
        var byFeature: [FeatureID: FixedDecimal] = [:]
        /// For distinct values: in limits on all charges alone, because for what is narrower it is nobody's in
        /// particular.
        var distinct = FixedDecimal.zero
        /// Whether distinct values are charged beside that what only the whole transaction can tell.
        var leavesDistinct = false
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
            let charges = try charges(of: pending, in: uses, by: tenant)
            for use in uses {
                guard let amount = try use.amount(charges) else { continue }
                var freed = settlements.take(use.row, of: reservation, using: amount, isPartial: isPartial)
                if charges.leavesDistinct, use.limit.boundsAllCharges {
                    freed = try keepRest(of: freed, in: use.row, using: amount, by: tenant)
                }
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

    /// Keeps for `limitRest` what a reservation held of a row beyond what its event is known to be charged.
    /// - Returns: what is freed of it now.
    private mutating func keepRest(
        of freed: FixedDecimal,
        in row: LimitRow,
        using amount: FixedDecimal,
        by tenant: TenantSnapshot
    ) throws(DecimalError) -> FixedDecimal {
        let used = min(freed, max(.zero, amount))
        let kept = try (distinctCharges[tenant.id]?.held[row] ?? .zero).adding(freed.subtracting(used))
        distinctCharges[tenant.id]?.held[row] = kept
        return used
    }

    /// Counts a cost that was found out later in the limits on costs, and what it adds to the tenant's charges in those
    /// on charges.
    mutating func limitCost(of pending: PendingEvent, _ uses: [LimitUse], by tenant: TenantSnapshot) throws {
        let charges = try charges(of: pending, in: uses, by: tenant)
        for use in uses where use.limit.measure.isMoney {
            guard let amount = try use.amount(charges) else { continue }
            try limits.use(use, amount, by: tenant)
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

    /// What the event was charged, as far as that can be told of it alone. It is worked out also where no limit asks
    /// for this event, because what the next one is charged begins there. Nothing where none asks for any.
    private mutating func charges(
        of pending: PendingEvent,
        in uses: [LimitUse],
        by tenant: TenantSnapshot
    ) throws -> EventCharges {
        guard chargedTenants[tenant.id] != nil, let place = pending.place, let period = place.billingPeriodID else {
            return EventCharges()
        }
        var found = EventCharges()
        for measurement in pending.measurements {
            try measurement.forEachCounter(of: tenant.id, in: period) { key, value, _ in
                if case .unique = value {
                    found.leavesDistinct = !place.parts.isEmpty
                    let charge = try distinctCharge(of: key, value, at: place, uses, by: tenant)
                    found.distinct = try found.distinct.adding(charge)
                } else {
                    let charge = try charge(of: key, value, at: place)
                    found.byFeature[key.feature] = try found.byFeature[key.feature, default: .zero].adding(charge)
                }
            }
        }
        return found
    }

    /// What a distinct value was charged; nothing where the plan changed within the period, see `limitRest`.
    private mutating func distinctCharge(
        of key: CounterKey,
        _ value: MeasuredValue,
        at place: EventPlace,
        _ uses: [LimitUse],
        by tenant: TenantSnapshot
    ) throws -> FixedDecimal {
        var known = distinctCharges[tenant.id] ?? DistinctCharges(tenant: tenant)
        known.features.insert(key.feature)
        let bounding = uses.filter(\.limit.boundsAllCharges)
        if !bounding.isEmpty {
            known.last[key.period] = bounding
            known.lastOfAll = bounding
        }
        let charge = place.parts.isEmpty ? try charge(of: key, value, at: place) : .zero
        known.attributed[key.period] = try known.attributed[key.period, default: .zero].adding(charge)
        distinctCharges[tenant.id] = known
        return charge
    }

    /// By how much a counter, with those of the other segments of its period, is charged more since this was last
    /// asked.
    private mutating func charge(
        of key: CounterKey,
        _ value: MeasuredValue,
        at place: EventPlace
    ) throws -> FixedDecimal {
        let keys = place.keys(beside: key)
        let prices = place.prices(of: key)
        guard let first = keys.first, prices.contains(where: { $0 != nil }) else { return .zero }
        let charges = try SegmentCharges.charges(
            of: keys.map { counters[$0]?.state.total ?? .zero },
            prices: prices,
            by: CountedPlace(place, value).accumulation
        )
        let total = try charges.reduce(FixedDecimal.zero) { try $0.adding($1.rounded(toDigits: 12)) }
        let before =
            try counters[first]?.charged
            ?? zip(keys, prices).reduce(FixedDecimal.zero) { sum, pair in
                pair.1 == nil ? sum : try sum.adding(counters[pair.0]?.storedCharge ?? .zero)
            }
        counters[first, default: Counter()].charged = total
        return try total.subtracting(before)
    }

    /// Counts what the charges of distinct values moved by beyond what was told of single events, and frees what was
    /// held for them.
    mutating func limitRest(of rows: [CounterRow]) throws {
        for (tenant, known) in distinctCharges {
            var held = known.held
            var moved: [BillingPeriodID: FixedDecimal] = [:]
            for row in rows
            where row.key.tenant == tenant && row.key.isPooled && known.features.contains(row.key.feature) {
                let change = try row.charge.subtracting(counters[row.key]?.storedCharge ?? .zero)
                moved[row.key.period] = try moved[row.key.period, default: .zero].adding(change)
            }
            for (period, charge) in moved {
                let rest = try charge.subtracting(known.attributed[period] ?? .zero)
                guard !rest.isZero else { continue }
                for use in known.last[period] ?? known.lastOfAll {
                    let before = held[use.row] ?? .zero
                    let freed = min(before, max(.zero, rest))
                    held[use.row] = try before.subtracting(freed)
                    try limits.use(use, rest, releasing: freed, by: known.tenant)
                }
            }
            for (row, rest) in held { try limits.release(rest, of: row, by: known.tenant) }
        }
    }
}

extension LimitUse {
    /// What it adds, where the charges of features are these; nil where that is not known.
    fileprivate func amount(_ charges: UsageChanges.EventCharges) throws(DecimalError) -> FixedDecimal? {
        switch amount {
        case .known(let known):
            return known
        case .charge(let feature?):
            return charges.byFeature[feature] ?? .zero
        case .charge(nil):
            var sum = limit.boundsAllCharges ? charges.distinct : .zero
            for charge in charges.byFeature.values { sum = try sum.adding(charge) }
            return sum
        case .unpriced:
            return nil
        }
    }
}

extension EventPlace {
    /// The price that charges a counter in each segment of the period; one where there are no segments.
    fileprivate func prices(of key: CounterKey) -> [Price?] {
        guard !isTrial else { return parts.isEmpty ? [nil] : parts.map { _ in nil } }
        guard !parts.isEmpty else { return [price(of: key.feature)?.price(ofCell: key.cell)?.usage] }
        return parts.filter { $0.billingPeriodID != nil }.map { part in
            part.segment.planVersion.charges[key.feature]?.price(ofCell: key.cell)?.usage
        }
    }
}

extension Price {
    /// Nil for a flat price, which usage does not cause.
    fileprivate var usage: Price? {
        if case .flat = self { nil } else { self }
    }
}

extension UsageEvent {
    /// The reservation that it settles.
    func reservation(of tenant: TenantID) -> TenantReservation? {
        reservationID.map { TenantReservation(tenant: tenant, id: ReservationID(rawValue: $0)) }
    }
}
