/// A band of a graduated price.
package struct PriceTier: Sendable, Hashable {
    /// The last quantity that belongs to the tier, counted from zero; nil for the last tier, which is open.
    package let upTo: FixedDecimal?
    /// For each unit that falls in the tier.
    package let unitAmount: FixedDecimal
    /// Charged once a period, when any quantity falls in the tier.
    package let flatAmount: FixedDecimal

    package init(upTo: FixedDecimal?, unitAmount: FixedDecimal, flatAmount: FixedDecimal) {
        self.upTo = upTo
        self.unitAmount = unitAmount
        self.flatAmount = flatAmount
    }
}

/// What is wrong with a list of tiers, and where.
package struct PriceTierFault: Sendable, Hashable {
    /// A field of a tier, by its name in the API.
    package enum Field: String, Sendable, Hashable {
        case upTo = "up_to"
        case unitAmount = "unit_amount"
        case flatAmount = "flat_amount"
    }

    package enum Reason: Sendable, Hashable {
        /// There must be at least one tier.
        case empty
        /// A bound must exceed the one before it, the first one zero.
        case notAscending
        /// The last tier must have no bound.
        case lastNotOpen
        /// Only the last tier may have no bound.
        case openBeforeLast
        /// Amounts must not be below zero.
        case negative
    }

    /// The tier's position; nil when the list as a whole is at fault.
    package let index: Int?
    package let field: Field?
    package let reason: Reason

    package init(index: Int?, field: Field?, reason: Reason) {
        self.index = index
        self.field = field
        self.reason = reason
    }
}

extension PriceTier {
    /// Everything that keeps a list of tiers from being a price, in order of the tiers.
    package static func faults(in tiers: [PriceTier]) -> [PriceTierFault] {
        guard !tiers.isEmpty else { return [PriceTierFault(index: nil, field: nil, reason: .empty)] }
        var faults: [PriceTierFault] = []
        var floor = FixedDecimal.zero
        for (index, tier) in tiers.enumerated() {
            let isLast = index == tiers.count - 1
            if let upTo = tier.upTo {
                if isLast { faults.append(PriceTierFault(index: index, field: .upTo, reason: .lastNotOpen)) }
                if upTo <= floor { faults.append(PriceTierFault(index: index, field: .upTo, reason: .notAscending)) }
                floor = max(floor, upTo)
            } else if !isLast {
                faults.append(PriceTierFault(index: index, field: .upTo, reason: .openBeforeLast))
            }
            if tier.unitAmount.isNegative {
                faults.append(PriceTierFault(index: index, field: .unitAmount, reason: .negative))
            }
            if tier.flatAmount.isNegative {
                faults.append(PriceTierFault(index: index, field: .flatAmount, reason: .negative))
            }
        }
        return faults
    }
}
