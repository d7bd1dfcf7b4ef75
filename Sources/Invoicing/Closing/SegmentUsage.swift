import BillingCore
import Catalog
import Usage

/// What was counted in one billing period, as each segment of it is charged.
struct SegmentUsage {
    private let counters: [PeriodCounter]
    private let usage: PeriodUsage

    init(_ periods: [BillingPeriod], counters: [BillingPeriodID: [CounterRow]]) {
        self.init(
            periods.flatMap { period in
                (counters[period.id] ?? []).map { PeriodCounter(segment: period.segment, row: $0) }
            }
        )
    }

    init(_ counters: [PeriodCounter]) {
        self.counters = counters
        usage = PeriodUsage(counters)
    }

    /// The usage of each charge of a segment's plan version, in their order.
    func priced(in part: PeriodSegment) throws(DecimalError) -> [PricedUsage] {
        try usage.priced(in: part)
    }

    /// What a segment counted that has no price, in its plan version or in a cell of a matrix.
    func unpriced(in part: PeriodSegment) -> [CounterRow] {
        counters.filter { counter in
            counter.segment == part.segment.ordinal && counter.row.state.eventCount > 0
                && !part.planVersion.prices(counter.row.key)
        }.map(\.row)
    }
}

extension SegmentUsage {
    /// What a segment counted without a known provider cost, where its price follows that: as a whole or in a cell of a
    /// matrix.
    func uncosted(in part: PeriodSegment) -> [CounterRow] {
        counters.filter { counter in
            counter.segment == part.segment.ordinal && counter.row.state.uncosted.eventCount > 0
                && part.planVersion.followsCost(counter.row.key)
        }.map(\.row)
    }
}

extension PlanVersion {
    fileprivate func followsCost(_ key: CounterKey) -> Bool {
        guard case .costPlus = charges[key.feature]?.price(ofCell: key.cell) else { return false }
        return true
    }

    /// Whether what a counter counted is charged, as a whole or in a cell, or included.
    fileprivate func prices(_ key: CounterKey) -> Bool {
        guard !key.isPooled else { return mentions(key.feature) }
        return matrices[key.feature]?.price(ofCell: key.cell) != nil
    }
}

extension PeriodUsage {
    /// The usage of each charge in a segment: of each cell that has a price, or of the feature as a whole, used or not.
    func priced(in part: PeriodSegment) throws(DecimalError) -> [PricedUsage] {
        var priced: [PricedUsage] = []
        for charge in part.planVersion.definition.charges {
            for cell in [""] + cells(of: charge.featureID) {
                guard let price = charge.price.price(ofCell: cell) else { continue }
                let running = try running(charge.featureID, cell: cell, segment: part.segment.ordinal)
                guard cell.isEmpty || running.before != running.through else { continue }
                priced.append(
                    PricedUsage(
                        feature: charge.featureID,
                        cell: cell,
                        price: price,
                        before: running.before,
                        through: running.through
                    )
                )
            }
        }
        return priced
    }
}
