import BillingCore
import TestSupport

/// Prices as they can be published, and usage, from a seed.
struct RandomPrices {
    enum Model: CaseIterable {
        case flat, perUnit, graduated, volume, stairstep, packages, percentage, costPlus

        /// Whether more usage never costs less. A stairstep is drawn with ascending amounts.
        var isMonotone: Bool { self != .volume }
    }

    private var generator: SeededGenerator

    init(seed: UInt64) { generator = SeededGenerator(seed: seed) }

    mutating func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &generator) }

    /// From 0 to 50, with 12 digits.
    mutating func amount() throws -> FixedDecimal {
        try FixedDecimal(validating: Int128(Int64.random(in: 0...50_000_000_000_000, using: &generator)))
    }

    mutating func quantity(_ range: ClosedRange<Int64> = 0...2_000) throws -> FixedDecimal {
        let scaled = (range.lowerBound * 1_000_000_000_000)...(range.upperBound * 1_000_000_000_000)
        // Whole numbers meet the bounds of tiers exactly, the others fall between them.
        let unscaled = Int128(Int64.random(in: scaled, using: &generator))
        return Bool.random(using: &generator)
            ? try FixedDecimal(validating: unscaled)
            : try FixedDecimal(validating: unscaled / 1_000_000_000_000 * 1_000_000_000_000)
    }

    mutating func price(_ model: Model) throws -> Price {
        switch model {
        case .flat: .flat(amount: try amount())
        case .perUnit: .perUnit(unitAmount: try amount())
        case .graduated: .graduated(try tiers())
        case .volume: .volume(try tiers())
        case .stairstep: .stairstep(try tiers(areSteps: true))
        case .packages:
            .packages(
                PackagePrice(
                    amount: try amount(),
                    packageSize: try quantity(0...200).adding(FixedDecimal(validating: 1)),
                    freeUnits: number(0...1) == 0 ? .zero : try quantity(0...500)
                )
            )
        case .percentage: .percentage(try percentage())
        case .costPlus: .costPlus(markup: try percent(upTo: 200))
        }
    }

    mutating func anyModel() -> Model { Model.allCases[number(0...Model.allCases.count - 1)] }

    private mutating func percent(upTo most: Int) throws -> Percent {
        let hundredths = Int128(number(0...most * 1_000)) * 1_000_000_000
        return Percent(try FixedDecimal(validating: hundredths)) ?? .zero
    }

    private mutating func percentage() throws -> PercentagePrice {
        let minimum = number(0...1) == 0 ? nil : try amount()
        let maximum = number(0...1) == 0 ? nil : try (minimum ?? .zero).adding(amount())
        return PercentagePrice(
            percent: try percent(upTo: 100),
            fixedAmount: number(0...1) == 0 ? .zero : try amount(),
            minimum: minimum,
            maximum: maximum
        )
    }

    private mutating func tiers(areSteps: Bool = false) throws -> [PriceTier] {
        var bound = FixedDecimal.zero
        var step = FixedDecimal.zero
        let count = number(1...6)
        var tiers: [PriceTier] = []
        for index in 1...count {
            bound = try bound.adding(quantity(0...300)).adding(FixedDecimal(validating: 1))
            step = try step.adding(amount())
            let flat = number(0...1) == 0 ? .zero : try amount()
            tiers.append(
                PriceTier(
                    upTo: index == count ? nil : bound,
                    unitAmount: areSteps ? .zero : try amount(),
                    flatAmount: areSteps ? step : flat
                )
            )
        }
        return tiers
    }
}
