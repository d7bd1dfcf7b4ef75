/// How a feature's usage in a billing period becomes money.
///
/// A charge is a function of the period's total alone, so the marginal amounts of any split of the usage add up exactly
/// to the whole. No usage costs nothing, and a total below zero, which only negative values can cause, is charged like
/// none.
package enum Price: Sendable, Hashable {
    /// Quantity times unit amount.
    case perUnit(unitAmount: FixedDecimal)
    /// Each unit at the price of the tier it falls in. The tiers must have no faults: see `PriceTier.faults(in:)`.
    case graduated([PriceTier])
}

/// A feature's usage in a billing period so far: what a charge depends on.
package struct UsageTotal: Sendable, Hashable {
    package let quantity: FixedDecimal
    package let eventCount: Int64
    /// What the providers charge for it, in the plan's currency.
    package let cost: FixedDecimal

    @inlinable
    package init(quantity: FixedDecimal, eventCount: Int64, cost: FixedDecimal = .zero) {
        self.quantity = quantity
        self.eventCount = eventCount
        self.cost = cost
    }

    package static let zero = UsageTotal(quantity: .zero, eventCount: 0)
}

/// What one tier contributes to a charge. A price without tiers gives a single open one.
package struct TierCharge: Sendable, Hashable {
    /// The tier's upper bound, inclusive; nil when it is open.
    package let upTo: FixedDecimal?
    /// How much of the quantity falls in the tier.
    package let quantity: FixedDecimal
    package let unitAmount: FixedDecimal
    /// Charged once, because the tier was entered.
    package let flatAmount: FixedDecimal
    /// quantity x unitAmount + flatAmount, exact.
    package let amount: ExactAmount

    package init(
        upTo: FixedDecimal?,
        quantity: FixedDecimal,
        unitAmount: FixedDecimal,
        flatAmount: FixedDecimal,
        amount: ExactAmount
    ) {
        self.upTo = upTo
        self.quantity = quantity
        self.unitAmount = unitAmount
        self.flatAmount = flatAmount
        self.amount = amount
    }
}

extension Price {
    /// The exact charge for a period's total usage, before rounding.
    ///
    /// Throws `.outOfRange` when the sum does not fit, and `.malformed` for a graduated price without any tier, because
    /// usage is never priced at zero for want of a price.
    package func charge(quantity: FixedDecimal, eventCount: Int64) throws(DecimalError) -> ExactAmount {
        switch self {
        case .perUnit(let unitAmount):
            return quantity.isNegative ? .zero : quantity.multiplied(by: unitAmount)
        case .graduated:
            var total = ExactAmount.zero
            try forEachTier(enteredBy: quantity) { (tier) throws(DecimalError) in
                total = try total.adding(tier.amount)
            }
            return total
        }
    }

    /// The exact charge for a period's total usage, before rounding.
    package func charge(for total: UsageTotal) throws(DecimalError) -> ExactAmount {
        try charge(quantity: total.quantity, eventCount: total.eventCount)
    }

    /// What usage that moves a period's total from one value to another adds to the charge; negative where it lowers
    /// it.
    package func marginalCharge(from before: UsageTotal, to after: UsageTotal) throws(DecimalError) -> ExactAmount {
        try charge(for: after).subtracting(charge(for: before))
    }

    /// The parts of the charge by tier, in order; only tiers that were entered. Their amounts add up to the charge
    /// exactly.
    package func breakdown(quantity: FixedDecimal) throws(DecimalError) -> [TierCharge] {
        var charges: [TierCharge] = []
        try forEachTier(enteredBy: quantity) { (tier) throws(DecimalError) in charges.append(tier) }
        return charges
    }

    private func forEachTier(
        enteredBy quantity: FixedDecimal,
        _ body: (TierCharge) throws(DecimalError) -> Void
    ) throws(DecimalError) {
        switch self {
        case .perUnit(let unitAmount):
            guard quantity > .zero else { return }
            try body(PriceTier(upTo: nil, unitAmount: unitAmount, flatAmount: .zero).charge(for: quantity))
        case .graduated(let tiers):
            guard !tiers.isEmpty else { throw .malformed }
            var floor = FixedDecimal.zero
            for (index, tier) in tiers.enumerated() {
                // The last tier takes the rest even if it was given a bound.
                let ceiling = index == tiers.count - 1 ? quantity : min(quantity, tier.upTo ?? quantity)
                guard ceiling > floor else { continue }
                try body(tier.charge(for: ceiling.subtracting(floor)))
                floor = ceiling
            }
        }
    }
}

extension PriceTier {
    fileprivate func charge(for quantity: FixedDecimal) throws(DecimalError) -> TierCharge {
        TierCharge(
            upTo: upTo,
            quantity: quantity,
            unitAmount: unitAmount,
            flatAmount: flatAmount,
            amount: try quantity.multiplied(by: unitAmount).adding(ExactAmount(flatAmount))
        )
    }
}
