/// How the usage of a billing period's segments adds up to that of the period.
package enum UsageAccumulation: Sendable, Hashable {
    /// The quantities add up.
    case sum
    /// The period has the greatest of them.
    case maximum
    /// The period has that of the last segment that saw any event.
    case latest
}

/// The charges of a billing period whose plan changed within it.
///
/// A change splits the period into segments and does not end it: tiers continue. Each segment charges what its own
/// price asks for the period's usage through the segment, less what the same price asks for the usage before it. So a
/// change to the same price changes nothing: the charges add up exactly to that of the whole period, however it is
/// split.
package enum SegmentCharges {
    /// What the period had used before a segment, and through it.
    package struct Running: Sendable, Hashable {
        package let before: UsageTotal
        package let through: UsageTotal

        package init(before: UsageTotal, through: UsageTotal) {
            self.before = before
            self.through = through
        }
    }

    /// The period's usage before and through each segment, in the order of the segments.
    ///
    /// For a count of distinct values give those of a segment that no earlier one saw, and add them up.
    /// Throws `.outOfRange` when a sum is 10^26 or more.
    package static func running(
        _ totals: [UsageTotal],
        by accumulation: UsageAccumulation
    ) throws(DecimalError) -> [Running] {
        var running: [Running] = []
        var before = UsageTotal.zero
        for total in totals {
            let through = try before.followed(by: total, accumulation)
            running.append(Running(before: before, through: through))
            before = through
        }
        return running
    }

    /// The exact charge of each segment. One without a price charges nothing, and its usage still counts for those that
    /// follow.
    ///
    /// Throws `.outOfRange` when a sum or a charge does not fit.
    package static func charges(
        of totals: [UsageTotal],
        prices: [Price?],
        by accumulation: UsageAccumulation
    ) throws(DecimalError) -> [ExactAmount] {
        precondition(totals.count == prices.count, "each segment has a price or none")
        var charges: [ExactAmount] = []
        for (segment, price) in zip(try running(totals, by: accumulation), prices) {
            charges.append(try price?.marginalCharge(from: segment.before, to: segment.through) ?? .zero)
        }
        return charges
    }
}

extension UsageTotal {
    fileprivate func followed(
        by next: UsageTotal,
        _ accumulation: UsageAccumulation
    ) throws(DecimalError) -> UsageTotal {
        let quantity: FixedDecimal =
            switch accumulation {
            case .sum: try self.quantity.adding(next.quantity)
            case .maximum: next.eventCount == 0 ? self.quantity : max(self.quantity, next.quantity)
            case .latest: next.eventCount == 0 ? self.quantity : next.quantity
            }
        let (events, overflow) = eventCount.addingReportingOverflow(next.eventCount)
        guard !overflow else { throw .outOfRange }
        return UsageTotal(quantity: quantity, eventCount: events, cost: try cost.adding(next.cost))
    }
}
