import BillingCore
import Catalog
import Postgres

/// A counter would leave the range of a quantity (10^26): the events that do it cannot be stored.
struct CounterOverflow: Error {
    let tenant: TenantID
    /// Nil for a limit's.
    let feature: FeatureID?
}

extension Error {
    /// Whether a counter or, added up by the database over a time that no counter covers, a window of a limit would
    /// leave the range of a quantity.
    var isOverflow: Bool {
        self is CounterOverflow || (self as? PostgresError)?.sqlState == .numericValueOutOfRange
    }

    /// Whether what was to be counted, or asked for, is to blame: others can be dealt with without it.
    package var isOfData: Bool {
        self is CounterOverflow || self is DecimalError || (self as? PostgresError)?.isOfData == true
    }
}

/// Where a counter counts, and how: what its charge depends on beside its state.
struct CountedPlace: Sendable {
    let place: EventPlace
    let accumulation: UsageAccumulation
    /// Whether the counter has distinct values, which may have been seen in an earlier segment too.
    let isDistinct: Bool

    init(_ place: EventPlace, _ value: MeasuredValue) {
        self.place = place
        switch value {
        case .sum, .count: (accumulation, isDistinct) = (.sum, false)
        case .maximum: (accumulation, isDistinct) = (.maximum, false)
        case .latest: (accumulation, isDistinct) = (.latest, false)
        case .unique: (accumulation, isDistinct) = (.sum, true)
        }
    }
}

/// A counter in a new state, before it is known what that costs. Its period has one segment.
struct ChangedCounter {
    let key: CounterKey
    let state: CounterState
    /// That of the feature in the plan it counts under, for its cells too; nil where the plan has none.
    let price: Price?
    /// What the counter was charged before. Where everything is counted anew it is zero, and every cell changes.
    var storedCharge = FixedDecimal.zero
}

extension CounterRow {
    /// Changed counters with their charges. The pooled counter of a matrix is charged the sum of its cells, so it moves
    /// by as much as those of its cells that changed, which come with it.
    static func charged(_ changed: some Sequence<ChangedCounter>) throws(CounterOverflow) -> [CounterRow] {
        var rows: [CounterRow] = []
        rows.reserveCapacity(changed.underestimatedCount)
        var sums: [ChangedCounter] = []
        var moved: [CounterKey: FixedDecimal] = [:]
        for counter in changed {
            let key = counter.key
            if key.isPooled, case .matrix = counter.price {
                sums.append(counter)
                continue
            }
            do {
                let charge = try counter.state.charge(counter.price?.price(ofCell: key.cell))
                rows.append(CounterRow(key: key, state: counter.state, charge: charge))
                guard !key.isPooled else { continue }
                let change = try charge.subtracting(counter.storedCharge)
                moved[key.pooled] = try (moved[key.pooled] ?? .zero).adding(change)
            } catch {
                throw CounterOverflow(tenant: key.tenant, feature: key.feature)
            }
        }
        for counter in sums {
            do {
                let charge = try counter.storedCharge.adding(moved[counter.key] ?? .zero)
                rows.append(CounterRow(key: counter.key, state: counter.state, charge: charge))
            } catch {
                throw CounterOverflow(tenant: counter.key.tenant, feature: counter.key.feature)
            }
        }
        return rows
    }
}

extension EventPlace {
    /// The counter and its like in the other segments of the period, in their order; the counter itself where there is
    /// one segment.
    func keys(beside key: CounterKey) -> [CounterKey] {
        guard !parts.isEmpty else { return [key] }
        return parts.compactMap { part in
            part.billingPeriodID.map { period in
                CounterKey(tenant: key.tenant, period: period, feature: key.feature, cell: key.cell)
            }
        }
    }

    /// The price of a feature here, for its cells too; nil where the plan has none, and in a trial.
    func price(of feature: FeatureID) -> Price? {
        isTrial ? nil : planVersion.charges[feature]
    }
}

extension CounterState {
    /// The unrounded charge of what was counted, kept to 12 digits; zero where there is no price for it, and for a flat
    /// price, which usage does not cause.
    func charge(_ price: Price?) throws(DecimalError) -> FixedDecimal {
        guard let price else { return .zero }
        return try price.usageCharge(for: total).rounded(toDigits: 12)
    }
}
