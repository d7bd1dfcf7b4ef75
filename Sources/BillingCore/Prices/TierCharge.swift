/// One part of a charge: what a tier contributes, or another step by which a price arrives at its amount. A price
/// without tiers gives a single open one.
package struct TierCharge: Sendable, Hashable {
    /// What a part charges for, by its name in the API.
    package enum Basis: String, Sendable, Hashable, CaseIterable {
        /// The quantity within a tier.
        case tier
        /// The amount of a flat price.
        case flat
        /// Packages begun, beyond the free units; `quantity` is their number.
        case packages
        /// A share of the quantity, which is an amount of money; `unitAmount` is the share as a fraction.
        case percent
        /// A fixed amount for each event; `quantity` is their number.
        case events
        /// The provider cost with its markup; `quantity` is the cost and `unitAmount` the factor.
        case cost
        /// What is missing to the minimum of the period.
        case minimum
        /// What exceeds the maximum of the period: below zero.
        case maximum
    }

    package let basis: Basis
    /// The tier's upper bound, inclusive; nil when it is open.
    package let upTo: FixedDecimal?
    /// How much of the quantity falls in the tier.
    package let quantity: FixedDecimal
    package let unitAmount: FixedDecimal
    /// Charged once, because the tier was entered.
    package let flatAmount: FixedDecimal
    /// quantity x unitAmount + flatAmount, exact; for `minimum` and `maximum` the exact difference, for `flat` the part
    /// of the amount that is due.
    package let amount: ExactAmount

    package init(
        basis: Basis = .tier,
        upTo: FixedDecimal?,
        quantity: FixedDecimal,
        unitAmount: FixedDecimal,
        flatAmount: FixedDecimal,
        amount: ExactAmount
    ) {
        self.basis = basis
        self.upTo = upTo
        self.quantity = quantity
        self.unitAmount = unitAmount
        self.flatAmount = flatAmount
        self.amount = amount
    }

    /// quantity x unitAmount.
    init(_ basis: Basis, _ quantity: FixedDecimal, times unitAmount: FixedDecimal) {
        self.init(
            basis: basis,
            upTo: nil,
            quantity: quantity,
            unitAmount: unitAmount,
            flatAmount: .zero,
            amount: quantity.multiplied(by: unitAmount)
        )
    }

    /// A flat amount, or the prorated part of one.
    init(flat amount: FixedDecimal, prorated part: ExactAmount) {
        self.init(
            basis: .flat,
            upTo: nil,
            quantity: .zero,
            unitAmount: .zero,
            flatAmount: amount,
            amount: part
        )
    }

    /// A difference to a bound of the period.
    init(_ basis: Basis, difference: ExactAmount) {
        self.init(
            basis: basis,
            upTo: nil,
            quantity: .zero,
            unitAmount: .zero,
            flatAmount: .zero,
            amount: difference
        )
    }
}

extension PriceTier {
    /// A quantity that falls in the tier, which must not be zero.
    func charge(for quantity: FixedDecimal) throws(DecimalError) -> TierCharge {
        TierCharge(
            upTo: upTo,
            quantity: quantity,
            unitAmount: unitAmount,
            flatAmount: flatAmount,
            amount: try quantity.multiplied(by: unitAmount).adding(ExactAmount(flatAmount))
        )
    }
}
