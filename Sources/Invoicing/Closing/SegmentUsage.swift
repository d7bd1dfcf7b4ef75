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

    /// The usage of each charge of a segment's plan version, in their order.
    func priced(in part: PeriodSegment) throws(DecimalError) -> [PricedUsage] {
        let own = Dictionary(grouping: counters[part.segment.ordinal] ?? [], by: \.key.feature)
        return part.planVersion.definition.charges.map { charge in
            let pooled = own[charge.featureID]?.first { $0.key.isPooled }
            return PricedUsage(
                feature: charge.featureID,
                price: charge.price,
                through: pooled?.state.total ?? .zero
            )
        }
    }

    /// What a segment counted that its plan version does not mention.
    func unpriced(in part: PeriodSegment) -> [CounterRow] {
        (counters[part.segment.ordinal] ?? []).filter { row in
            row.key.isPooled && row.state.eventCount > 0 && !part.planVersion.mentions(row.key.feature)
        }
    }

    /// The counter that a line is charged by.
    func counter(of feature: FeatureID, cell: String, segment: Int) -> CounterRow? {
        counters[segment]?.first { $0.key.feature == feature && $0.key.cell == cell }
    }
}
