/// How a feature's usage in a billing period becomes money.
///
/// A charge is a function of the period's total alone, so the marginal amounts of any split of the usage add up exactly
/// to the whole. No usage costs nothing, except for a flat price; and a total below zero, which only negative values
/// can cause, is charged like none.
package enum Price: Sendable, Hashable {
    /// An amount for each period, whatever the usage. The caller prorates it like a fee.
    case flat(amount: FixedDecimal)
    /// Quantity times unit amount.
    case perUnit(unitAmount: FixedDecimal)
    /// Each unit at the price of the tier it falls in. The tiers must have no faults: see `PriceTier.faults(in:)`.
    case graduated([PriceTier])
    /// All units at the price of the tier that the total falls in, with that tier's flat amount.
    case volume([PriceTier])
    /// The flat amount of the tier that the total falls in; unit amounts are not looked at.
    case stairstep([PriceTier])
    /// By packages begun, beyond free units.
    case packages(PackagePrice)
    /// A share of a summed money value.
    case percentage(PercentagePrice)
    /// What the providers charge for the usage, with a markup.
    case costPlus(markup: Percent)
    /// A price for each combination of dimension values. It charges cells: see `price(ofCell:)`.
    indirect case matrix(MatrixPrice)
}

extension Price {
    /// The price that charges a counter: of the pooled one, which is named by an empty text, or of a cell of a matrix.
    /// Nil for the pooled counter of a matrix, whose charge is the sum of its cells, and for a cell without a price.
    package func price(ofCell cell: String) -> Price? {
        guard case .matrix(let matrix) = self else { return cell.isEmpty ? self : nil }
        return cell.isEmpty ? nil : matrix.price(ofCell: cell)
    }

    /// The exact charge for a period's total usage, before rounding.
    ///
    /// Throws `.outOfRange` when the sum does not fit, and `.malformed` for tiers without any tier and for a matrix,
    /// which charges only cells, because usage is never priced at zero for want of a price.
    package func charge(for total: UsageTotal) throws(DecimalError) -> ExactAmount {
        if case .perUnit(let unitAmount) = self {
            return total.quantity.isNegative ? .zero : total.quantity.multiplied(by: unitAmount)
        }
        var sum = ExactAmount.zero
        try forEachPart(of: total) { (part) throws(DecimalError) in
            sum = try sum.adding(part.amount)
        }
        return sum
    }

    /// The same for a price that does not look at the provider cost.
    package func charge(quantity: FixedDecimal, eventCount: Int64) throws(DecimalError) -> ExactAmount {
        try charge(for: UsageTotal(quantity: quantity, eventCount: eventCount))
    }

    /// What usage that moves a period's total from one value to another adds to the charge; negative where it lowers
    /// it.
    package func marginalCharge(from before: UsageTotal, to after: UsageTotal) throws(DecimalError) -> ExactAmount {
        try charge(for: after).subtracting(charge(for: before))
    }

    /// The part of the charge that usage causes: all of it, and none of a flat price.
    package func usageCharge(for total: UsageTotal) throws(DecimalError) -> ExactAmount {
        if case .flat = self { return .zero }
        return try charge(for: total)
    }

    /// The parts of the charge, in order; only tiers that were entered. Their amounts add up to the charge exactly.
    package func breakdown(of total: UsageTotal) throws(DecimalError) -> [TierCharge] {
        var charges: [TierCharge] = []
        try forEachPart(of: total) { (part) throws(DecimalError) in charges.append(part) }
        return charges
    }

    private func forEachPart(
        of total: UsageTotal,
        _ body: (TierCharge) throws(DecimalError) -> Void
    ) throws(DecimalError) {
        let quantity = total.quantity
        switch self {
        case .flat(let amount):
            try body(TierCharge(flat: amount, prorated: ExactAmount(amount)))
        case .perUnit(let unitAmount):
            guard quantity > .zero else { return }
            try body(TierCharge(.tier, quantity, times: unitAmount))
        case .graduated(let tiers):
            try Self.forEachTier(of: tiers, enteredBy: quantity, body)
        case .volume(let tiers):
            let tier = try Self.tier(of: tiers, containing: quantity)
            guard quantity > .zero else { return }
            try body(tier.charge(for: quantity))
        case .stairstep(let tiers):
            let tier = try Self.tier(of: tiers, containing: quantity)
            guard quantity > .zero else { return }
            let step = PriceTier(upTo: tier.upTo, unitAmount: .zero, flatAmount: tier.flatAmount)
            try body(step.charge(for: quantity))
        case .packages(let price):
            let packages = try price.packages(for: quantity)
            guard packages > .zero else { return }
            try body(TierCharge(.packages, packages, times: price.amount))
        case .percentage(let price):
            try price.forEachPart(of: total, body)
        case .costPlus(let markup):
            guard total.cost > .zero else { return }
            try body(TierCharge(.cost, total.cost, times: FixedDecimal.one.adding(markup.fraction)))
        case .matrix:
            guard total == .zero else { throw .malformed }
        }
    }

    private static func forEachTier(
        of tiers: [PriceTier],
        enteredBy quantity: FixedDecimal,
        _ body: (TierCharge) throws(DecimalError) -> Void
    ) throws(DecimalError) {
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

    /// The tier that a total falls in; the last one takes the rest even if it was given a bound.
    private static func tier(
        of tiers: [PriceTier],
        containing quantity: FixedDecimal
    ) throws(DecimalError) -> PriceTier {
        let found = tiers.first { tier in
            guard let upTo = tier.upTo else { return true }
            return quantity <= upTo
        }
        guard let tier = found ?? tiers.last else { throw .malformed }
        return tier
    }
}
