import TestSupport
import Testing

@testable import BillingCore

@Suite struct SegmentChargesTests {
    private static func decimal(_ value: Int64, thousandths: Int64 = 0) -> FixedDecimal {
        FixedDecimal(uncheckedUnscaled: Int128(value) * FixedDecimal.unscaledOne)
            .plus(thousandths: thousandths)
    }

    private static func price(_ generator: inout SeededGenerator) -> Price {
        guard Bool.random(using: &generator) else {
            return .perUnit(unitAmount: decimal(0, thousandths: Int64.random(in: 0...900, using: &generator)))
        }
        let bound = Int64.random(in: 1...400, using: &generator)
        return .graduated([
            PriceTier(
                upTo: decimal(bound),
                unitAmount: decimal(0, thousandths: Int64.random(in: 0...900, using: &generator)),
                flatAmount: decimal(Int64.random(in: 0...3, using: &generator))
            ),
            PriceTier(
                upTo: decimal(bound + Int64.random(in: 1...400, using: &generator)),
                unitAmount: decimal(0, thousandths: Int64.random(in: 0...900, using: &generator)),
                flatAmount: decimal(Int64.random(in: 0...3, using: &generator))
            ),
            PriceTier(
                upTo: nil,
                unitAmount: decimal(0, thousandths: Int64.random(in: 0...900, using: &generator)),
                flatAmount: decimal(Int64.random(in: 0...3, using: &generator))
            ),
        ])
    }

    private static func totals(_ count: Int, _ generator: inout SeededGenerator) -> [UsageTotal] {
        (0..<count).map { _ in
            let events = Int64.random(in: 0...5, using: &generator)
            let quantity = events == 0 ? 0 : Int64.random(in: 0...300, using: &generator)
            return UsageTotal(quantity: decimal(quantity), eventCount: events, cost: decimal(quantity / 7))
        }
    }

    private static let accumulations: [UsageAccumulation] = [.sum, .maximum, .latest]

    @Test func aChangeToTheSamePriceChangesNothing() throws {
        var generator = SeededGenerator(seed: 1)
        for _ in 0..<5_000 {
            let price = Self.price(&generator)
            let totals = Self.totals(Int.random(in: 1...6, using: &generator), &generator)
            for accumulation in Self.accumulations {
                let charges = try SegmentCharges.charges(
                    of: totals,
                    prices: totals.map { _ in price },
                    by: accumulation
                )
                let whole = try SegmentCharges.running(totals, by: accumulation).last?.through ?? .zero
                var sum = ExactAmount.zero
                for charge in charges { sum = try sum.adding(charge) }
                #expect(sum == (try price.charge(for: whole)))
            }
        }
    }

    @Test func eachSegmentContinuesWhereTheOneBeforeEnded() throws {
        var generator = SeededGenerator(seed: 2)
        for _ in 0..<5_000 {
            let totals = Self.totals(4, &generator)
            let prices: [Price?] = (0..<4).map { _ in
                Int.random(in: 0...4, using: &generator) == 0 ? nil : Self.price(&generator)
            }
            for accumulation in Self.accumulations {
                let running = try SegmentCharges.running(totals, by: accumulation)
                #expect(running.first?.before == .zero)
                for (earlier, later) in zip(running, running.dropFirst()) { #expect(earlier.through == later.before) }
                let charges = try SegmentCharges.charges(of: totals, prices: prices, by: accumulation)
                for (index, price) in prices.enumerated() {
                    let expected = try price.map {
                        try $0.charge(for: running[index].through).subtracting($0.charge(for: running[index].before))
                    }
                    #expect(charges[index] == expected ?? .zero)
                }
            }
        }
    }

    @Test func aSegmentWithoutUsageChargesNothing() throws {
        var generator = SeededGenerator(seed: 3)
        for _ in 0..<2_000 {
            var totals = Self.totals(3, &generator)
            totals[1] = .zero
            let prices: [Price?] = (0..<3).map { _ in Self.price(&generator) }
            for accumulation in Self.accumulations {
                let with = try SegmentCharges.charges(of: totals, prices: prices, by: accumulation)
                let without = try SegmentCharges.charges(
                    of: [totals[0], totals[2]],
                    prices: [prices[0], prices[2]],
                    by: accumulation
                )
                #expect(with[1] == .zero)
                #expect([with[0], with[2]] == without)
            }
        }
    }

    @Test func quantitiesAccumulateAsTheMeterDoes() throws {
        let totals = [(5, 2), (0, 0), (3, 1)].map { quantity, events in
            UsageTotal(quantity: Self.decimal(quantity), eventCount: events)
        }
        func quantities(_ accumulation: UsageAccumulation) throws -> [String] {
            try SegmentCharges.running(totals, by: accumulation).map(\.through.quantity.description)
        }
        #expect(try quantities(.sum) == ["5", "5", "8"])
        #expect(try quantities(.maximum) == ["5", "5", "5"])
        #expect(try quantities(.latest) == ["5", "5", "3"])
        #expect(try SegmentCharges.running(totals, by: .latest).map(\.through.eventCount) == [2, 2, 3])
    }

    @Test func aSumBeyondTheRangeIsRefused() throws {
        let most = try FixedDecimal(parsing: "99999999999999999999999999")
        let total = UsageTotal(quantity: most, eventCount: 1)
        #expect(throws: DecimalError.outOfRange) { try SegmentCharges.running([total, total], by: .sum) }
    }
}

extension FixedDecimal {
    fileprivate func plus(thousandths: Int64) -> FixedDecimal {
        FixedDecimal(uncheckedUnscaled: unscaled + Int128(thousandths) * FixedDecimal.unscaledOne / 1_000)
    }
}
