/// A share of a summed money value, with an optional fixed amount for each event, within bounds for the period. The
/// value is in the plan's currency.
package struct PercentagePrice: Sendable, Hashable {
    package let percent: Percent
    /// For each event.
    package let fixedAmount: FixedDecimal
    /// What a period with any event is charged at least.
    package let minimum: FixedDecimal?
    /// What a period is charged at most; not below the minimum.
    package let maximum: FixedDecimal?

    package init(percent: Percent, fixedAmount: FixedDecimal, minimum: FixedDecimal?, maximum: FixedDecimal?) {
        self.percent = percent
        self.fixedAmount = fixedAmount
        self.minimum = minimum
        self.maximum = maximum
    }

    func forEachPart(
        of total: UsageTotal,
        _ body: (TierCharge) throws(DecimalError) -> Void
    ) throws(DecimalError) {
        guard total.eventCount > 0, !total.quantity.isNegative else { return }
        let share = TierCharge(.percent, total.quantity, times: percent.fraction)
        let fixed = TierCharge(.events, FixedDecimal(total.eventCount), times: fixedAmount)
        try body(share)
        if !fixedAmount.isZero { try body(fixed) }
        let sum = try share.amount.adding(fixed.amount)
        if let minimum, sum < ExactAmount(minimum) {
            try body(TierCharge(.minimum, difference: ExactAmount(minimum).subtracting(sum)))
        } else if let maximum, sum > ExactAmount(maximum) {
            try body(TierCharge(.maximum, difference: ExactAmount(maximum).subtracting(sum)))
        }
    }
}
