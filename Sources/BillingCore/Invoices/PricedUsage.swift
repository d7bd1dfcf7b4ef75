/// A feature's usage in a segment of a billing period, with the price of the segment's plan version.
///
/// Tiers continue over a change of plan: the segment charges what its price asks for everything up to its end, less
/// what the same price asks for everything before it.
package struct PricedUsage: Sendable, Hashable {
    package let feature: FeatureID
    /// The cell of a matrix price, in its canonical text; empty for any other price.
    package let cell: String
    package let price: Price
    /// The period's usage before the segment.
    package let before: UsageTotal
    /// The period's usage up to the segment's end.
    package let through: UsageTotal

    package init(
        feature: FeatureID,
        cell: String = "",
        price: Price,
        before: UsageTotal = .zero,
        through: UsageTotal
    ) {
        self.feature = feature
        self.cell = cell
        self.price = price
        self.before = before
        self.through = through
    }

    /// Whether the segment saw none of it.
    package var isUnused: Bool { before == through }

    /// What the segment adds to the quantity.
    package var quantity: FixedDecimal {
        get throws(DecimalError) { try through.quantity.subtracting(before.quantity) }
    }

    /// The exact charge of the segment. It may be below zero where more usage lowers the price of all of it.
    /// - Parameter part: the segment's part of the period, for which a flat price is charged.
    package func charge(for part: Proration) throws(DecimalError) -> ExactAmount {
        if case .flat(let amount) = price { return try part.amount(of: amount) }
        return try price.marginalCharge(from: before, to: through)
    }

    /// The parts of a charge of the segment by tier, which add up to it exactly. What earlier segments used of a tier
    /// is taken off; a tier that only they reached stands with what is taken back.
    package func breakdown(of charge: ExactAmount) throws(DecimalError) -> [TierCharge] {
        if case .flat(let amount) = price { return [TierCharge(flat: amount, prorated: charge)] }
        let whole = try price.breakdown(of: through)
        guard before != .zero else { return whole }
        let earlier = try price.breakdown(of: before)
        var parts: [TierCharge] = []
        for tier in whole {
            guard let used = earlier.first(where: { $0.isSamePart(as: tier) }) else {
                parts.append(tier)
                continue
            }
            let part = try tier.subtracting(used)
            if !part.quantity.isZero || !part.amount.isZero { parts.append(part) }
        }
        for tier in earlier where !whole.contains(where: { $0.isSamePart(as: tier) }) {
            parts.append(try TierCharge.nothing(of: tier).subtracting(tier))
        }
        return parts
    }
}

extension TierCharge {
    fileprivate func isSamePart(as other: TierCharge) -> Bool {
        basis == other.basis && upTo == other.upTo
    }

    fileprivate static func nothing(of tier: TierCharge) -> TierCharge {
        TierCharge(
            basis: tier.basis,
            upTo: tier.upTo,
            quantity: .zero,
            unitAmount: tier.unitAmount,
            flatAmount: .zero,
            amount: .zero
        )
    }

    fileprivate func subtracting(_ other: TierCharge) throws(DecimalError) -> TierCharge {
        TierCharge(
            basis: basis,
            upTo: upTo,
            quantity: try quantity.subtracting(other.quantity),
            unitAmount: unitAmount,
            flatAmount: try flatAmount.subtracting(other.flatAmount),
            amount: try amount.subtracting(other.amount)
        )
    }
}
