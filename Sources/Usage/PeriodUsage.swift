package import BillingCore
import Catalog

/// A counter of a billing period, and the segment it counts.
package struct PeriodCounter: Sendable {
    package let segment: Int
    package let row: CounterRow

    package init(segment: Int, row: CounterRow) {
        self.segment = segment
        self.row = row
    }
}

/// What was counted in one billing period, as each segment of it is charged: what the period had used before the
/// segment, and through it. From the counters alone, whatever they aggregate.
package struct PeriodUsage: Sendable {
    private struct Name: Hashable {
        let feature: FeatureID
        let cell: String
    }

    private let counters: [Name: [PeriodCounter]]

    /// - Parameter counters: every counter of the period, in any order.
    package init(_ counters: [PeriodCounter]) {
        self.counters = Dictionary(grouping: counters) { counter in
            Name(feature: counter.row.key.feature, cell: counter.row.key.cell)
        }.mapValues { $0.sorted { $0.segment < $1.segment } }
    }

    /// The cells of a feature that have counters, by their text.
    package func cells(of feature: FeatureID) -> [String] {
        counters.keys.filter { $0.feature == feature && !$0.cell.isEmpty }.map(\.cell).sorted()
    }

    /// The usage of a feature, or of one cell of it, before and through a segment. Both are the same where the segment
    /// saw none.
    /// - Throws: `DecimalError.outOfRange` when a sum is 10^26 or more.
    package func running(
        _ feature: FeatureID,
        cell: String = "",
        segment: Int
    ) throws(DecimalError) -> SegmentCharges.Running {
        var before = UsageTotal.zero
        for counter in counters[Name(feature: feature, cell: cell)] ?? [] where counter.segment <= segment {
            let own = counter.row.state.total
            let through = UsageTotal(
                quantity: counter.row.runningQuantity ?? own.quantity,
                eventCount: before.eventCount + own.eventCount,
                cost: try before.cost.adding(own.cost)
            )
            if counter.segment == segment { return SegmentCharges.Running(before: before, through: through) }
            before = through
        }
        return SegmentCharges.Running(before: before, through: before)
    }
}
