import BillingCore
import Catalog
import Usage

/// What was counted in one billing period, as each segment of it is charged.
struct SegmentUsage {
    /// By segment.
    private let counters: [Int: [CounterRow]]

    init(_ periods: [BillingPeriod], counters: [BillingPeriodID: [CounterRow]]) {
        self.counters = Dictionary(periods.map { ($0.segment, counters[$0.id] ?? []) }) { $0 + $1 }
    }

    /// The usage of each charge of a segment's plan version, in their order: of each cell that has a price, or of the
    /// feature as a whole, used or not.
    func priced(in part: PeriodSegment) throws(DecimalError) -> [PricedUsage] {
        let own = Dictionary(grouping: counters[part.segment.ordinal] ?? [], by: \.key.feature)
        return part.planVersion.definition.charges.flatMap { charge in
            Self.priced(own[charge.featureID] ?? [], by: charge)
        }
    }

    private static func priced(_ counters: [CounterRow], by charge: Charge) -> [PricedUsage] {
        let priced = counters.compactMap { row in
            charge.price.price(ofCell: row.key.cell).map { price in
                PricedUsage(feature: charge.featureID, cell: row.key.cell, price: price, through: row.state.total)
            }
        }
        guard priced.isEmpty, let price = charge.price.price(ofCell: "") else { return priced }
        return [PricedUsage(feature: charge.featureID, price: price, through: .zero)]
    }

    /// What a segment counted that has no price, in its plan version or in a cell of a matrix.
    func unpriced(in part: PeriodSegment) -> [CounterRow] {
        (counters[part.segment.ordinal] ?? []).filter { row in
            row.state.eventCount > 0 && !part.planVersion.prices(row.key)
        }
    }
}

extension PlanVersion {
    /// Whether what a counter counted is charged, as a whole or in a cell, or included.
    func prices(_ key: CounterKey) -> Bool {
        guard !key.isPooled else { return mentions(key.feature) }
        return matrices[key.feature]?.price(ofCell: key.cell) != nil
    }
}
