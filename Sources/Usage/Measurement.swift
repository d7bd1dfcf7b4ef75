package import BillingCore
import Catalog

/// What one event adds to one feature, by the aggregation of the feature's meter.
package struct Measurement: Sendable, Hashable {
    package let feature: FeatureID
    package let value: MeasuredValue
    /// What the provider charges for the part of the event that the feature measures, in the tenant's currency, which
    /// is that of its plans. Nil when it is not known: then a price that depends on it is none.
    package let cost: FixedDecimal?
    /// What falls in each cell, where the plan prices the feature by a matrix; otherwise empty.
    package var cells: [MeasuredCell] = []

    /// Whether it counts a distinct value.
    var isDistinct: Bool {
        if case .unique = value { true } else { false }
    }

    /// 10^15 or more, with which a few events could make a counter overflow.
    var isHuge: Bool {
        max(value.quantity.magnitude, cost?.magnitude ?? .zero) >= Self.hugeQuantity
    }

    private static let hugeQuantity = FixedDecimal(1_000_000_000_000_000)
}

/// The part of a measurement that falls in one cell of a matrix price.
package struct MeasuredCell: Sendable, Hashable {
    /// The text of its `PriceCell`.
    package let cell: String
    package let value: MeasuredValue
    /// What the provider charges for that part; nil when it is not known.
    package let cost: FixedDecimal?
}

extension Measurement {
    /// Names every counter that the measurement changes, with what it adds: the pooled one, then its cells. The cost is
    /// nil where it is not known.
    func forEachCounter<Failure: Error>(
        of tenant: TenantID,
        in period: BillingPeriodID,
        _ body: (CounterKey, MeasuredValue, FixedDecimal?) throws(Failure) -> Void
    ) throws(Failure) {
        try body(CounterKey(tenant: tenant, period: period, feature: feature), value, cost)
        for part in cells {
            let key = CounterKey(tenant: tenant, period: period, feature: feature, cell: part.cell)
            try body(key, part.value, part.cost)
        }
    }
}

/// A measured value, before it is folded into a counter.
package enum MeasuredValue: Sendable, Hashable {
    case sum(FixedDecimal)
    case count
    case maximum(FixedDecimal)
    case latest(FixedDecimal)
    /// The 128-bit key of the distinct value's canonical text.
    case unique(EventKey)

    /// What a counter that has only this event shows.
    var quantity: FixedDecimal {
        switch self {
        case .sum(let amount), .maximum(let amount), .latest(let amount): amount
        case .count, .unique: .one
        }
    }

    /// What the value adds to an additive measure (`sum` and `count`), the only ones that calendar windows keep.
    package var additive: FixedDecimal? {
        switch self {
        case .sum(let amount): amount
        case .count: .one
        case .maximum, .latest, .unique: nil
        }
    }
}

/// Why an event cannot be measured as a meter asks: the sender is told before anything is stored.
package struct MeasurementFault: Error, Equatable {
    package let property: String
    package let code: String
    package let detail: String
}
