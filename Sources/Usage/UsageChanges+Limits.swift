import BillingCore
import Catalog
import Limits

extension UsageChanges {
    /// What a tenant's events were charged one by one, and the limits on all of its charges: what only the whole
    /// transaction can tell, as of distinct values, is counted in these.
    struct TenantCharges {
        let tenant: TenantSnapshot
        var attributed = FixedDecimal.zero
        /// Those of the last event with a distinct value.
        var last: [LimitUse] = []
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
                guard let amount = use.amount(charges) else { continue }
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
        let charges = try charges(of: pending, in: uses, by: tenant)
        for use in uses where use.limit.measure.isMoney {
            guard let amount = use.amount(charges) else { continue }
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

    /// What the event was charged for each feature, as far as that can be told of it alone: not for distinct values,
    /// which are known to be new only when the transaction has looked. It is worked out also where no limit asks for
    /// this event, because what the next one is charged begins there. Empty where none asks for any.
    private mutating func charges(
        of pending: PendingEvent,
        in uses: [LimitUse],
        by tenant: TenantSnapshot
    ) throws -> [FeatureID: FixedDecimal] {
        guard chargedTenants.contains(tenant.id), let place = pending.place, let period = place.billingPeriodID else {
            return [:]
        }
        let bounding = uses.filter(\.limit.boundsAllCharges)
        var found: [FeatureID: FixedDecimal] = [:]
        var known = charges[tenant.id] ?? TenantCharges(tenant: tenant)
        for measurement in pending.measurements {
            try measurement.forEachCounter(of: tenant.id, in: period) { key, value, _ in
                if case .unique = value {
                    if !bounding.isEmpty { known.last = bounding }
                    return
                }
                let charge = try charge(of: key, value, at: place)
                found[measurement.feature] = try found[measurement.feature, default: .zero].adding(charge)
                known.attributed = try known.attributed.adding(charge)
            }
        }
        charges[tenant.id] = known
        return found
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

    /// Counts what the tenants' charges moved by beyond what was told of single events.
    mutating func limitRest(of rows: [CounterRow]) throws {
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
}

extension LimitUse {
    /// What it adds, where the charges of features are these; nil where that is not known.
    fileprivate func amount(_ charges: [FeatureID: FixedDecimal]) -> FixedDecimal? {
        switch amount {
        case .known(let known): known
        case .charge(let feature?): charges[feature] ?? .zero
        case .charge(nil): charges.values.reduce(FixedDecimal.zero) { (try? $0.adding($1)) ?? $0 }
        case .unpriced: nil
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
