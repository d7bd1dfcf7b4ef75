extension Price {
    /// The most that held usage can add to a period's charge, whichever part of it is settled in the end: the greatest
    /// of `charge(before + h) - charge(before)` for every `0 <= h <= held`. Never below zero.
    ///
    /// Within a tier a charge never falls as usage grows, so the greatest is found at the end of a tier or at the whole
    /// of what is held.
    package func greatestCharge(
        of held: UsageTotal,
        after before: UsageTotal
    ) throws(DecimalError) -> ExactAmount {
        guard held.quantity > .zero || held.eventCount > 0 || held.cost > .zero else { return .zero }
        let whole = try before.adding(held)
        var ends = [whole.quantity]
        for bound in tierBounds where bound > before.quantity && bound < whole.quantity { ends.append(bound) }
        let base = try usageCharge(for: before)
        var greatest = ExactAmount.zero
        for end in ends {
            let total = UsageTotal(quantity: end, eventCount: whole.eventCount, cost: whole.cost)
            greatest = max(greatest, try usageCharge(for: total).subtracting(base))
        }
        return greatest
    }

    /// The least that a period's charge can be when some of what is held was used: the least of `charge(before + h)`
    /// for every `0 <= h <= held`. A price for volume can fall where a tier begins.
    package func leastCharge(
        of held: UsageTotal,
        after before: UsageTotal
    ) throws(DecimalError) -> ExactAmount {
        let whole = try before.quantity.adding(held.quantity)
        var starts = [before.quantity]
        for bound in tierBounds where bound >= before.quantity && bound < whole {
            starts.append(try bound.adding(.smallest))
        }
        var least: ExactAmount?
        for start in starts {
            let total = UsageTotal(quantity: start, eventCount: before.eventCount, cost: before.cost)
            let charge = try usageCharge(for: total)
            least = min(least ?? charge, charge)
        }
        return least ?? .zero
    }

    /// What some usage can be charged at most, wherever in the period's tiers it falls: at the highest unit amount that
    /// can be reached, plus every flat amount, and by volume also what all units before it cost more in a dearer tier.
    /// For scopes narrower than the tiers are counted in.
    package func highestCharge(of use: UsageTotal) throws(DecimalError) -> ExactAmount {
        guard use.quantity > .zero || use.eventCount > 0 || use.cost > .zero else { return .zero }
        switch self {
        case .flat, .matrix:
            return .zero
        case .perUnit, .costPlus:
            return try charge(for: use)
        case .graduated(let tiers), .volume(let tiers):
            let unit = tiers.map(\.unitAmount).max() ?? .zero
            var highest = use.quantity.multiplied(by: unit)
            for tier in tiers { highest = try highest.adding(ExactAmount(tier.flatAmount)) }
            guard case .volume = self else { return highest }
            return try highest.adding(Self.dearestRise(of: tiers))
        case .stairstep(let tiers):
            return ExactAmount(tiers.map(\.flatAmount).max() ?? .zero)
        case .packages(let price):
            // A package begun earlier may have been full just before.
            let packages = try PackagePrice(amount: price.amount, packageSize: price.packageSize, freeUnits: .zero)
                .packages(for: use.quantity)
            return packages.multiplied(by: price.amount)
        case .percentage(let price):
            let share = PercentagePrice(
                percent: price.percent,
                fixedAmount: price.fixedAmount,
                minimum: price.minimum,
                maximum: nil
            )
            return try Price.percentage(share).charge(for: use)
        }
    }

    /// What some usage is charged at least, wherever in the period's tiers it falls; zero by prices that may charge
    /// nothing for it, or less than before.
    package func lowestCharge(of use: UsageTotal) throws(DecimalError) -> ExactAmount {
        switch self {
        case .perUnit, .costPlus: try charge(for: use)
        case .graduated(let tiers): use.quantity.multiplied(by: max(.zero, tiers.map(\.unitAmount).min() ?? .zero))
        case .flat, .matrix, .volume, .stairstep, .packages, .percentage: .zero
        }
    }

    /// What entering a dearer tier adds at most to the charge of the units before it.
    private static func dearestRise(of tiers: [PriceTier]) throws(DecimalError) -> ExactAmount {
        var dearest = ExactAmount.zero
        for (index, tier) in tiers.enumerated() {
            guard let bound = tier.upTo, let unit = tiers[(index + 1)...].map(\.unitAmount).max(),
                unit > tier.unitAmount
            else { continue }
            dearest = max(dearest, bound.multiplied(by: try unit.subtracting(tier.unitAmount)))
        }
        return dearest
    }

    private var tierBounds: [FixedDecimal] {
        switch self {
        case .graduated(let tiers), .volume(let tiers), .stairstep(let tiers): tiers.compactMap(\.upTo)
        default: []
        }
    }
}

extension UsageTotal {
    /// Both together. Throws `.outOfRange` when a sum does not fit.
    package func adding(_ other: UsageTotal) throws(DecimalError) -> UsageTotal {
        let (events, overflow) = eventCount.addingReportingOverflow(other.eventCount)
        guard !overflow else { throw .outOfRange }
        return UsageTotal(
            quantity: try quantity.adding(other.quantity),
            eventCount: events,
            cost: try cost.adding(other.cost)
        )
    }
}
