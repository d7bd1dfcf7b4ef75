import BillingCore
import Testing

@Suite struct PriceTests {
    private func decimal(_ text: String) throws -> FixedDecimal { try FixedDecimal(parsing: text) }

    private func tier(_ upTo: String?, _ unitAmount: String, flat: String = "0") throws -> PriceTier {
        try PriceTier(upTo: upTo.map(decimal), unitAmount: decimal(unitAmount), flatAmount: decimal(flat))
    }

    private func graduated() throws -> Price {
        try .graduated([tier("10", "1"), tier("20", "0.5", flat: "3"), tier(nil, "0.25", flat: "7")])
    }

    @Test(arguments: [
        ("0", "0"), ("1", "1"), ("10", "10"), ("10.5", "13.25"), ("11", "13.5"), ("20", "18"),
        ("20.000000000001", "25.00000000000025"), ("100", "45"), ("-5", "0"),
    ])
    func `graduated charges each unit in its tier and flat amounts on entering`(
        quantity: String,
        expected: String
    ) throws {
        #expect(try graduated().charge(quantity: decimal(quantity), eventCount: 1).description == expected)
    }

    @Test func `no usage costs nothing even with a flat amount in the first tier`() throws {
        let price = try Price.graduated([tier(nil, "1", flat: "100")])
        #expect(try price.charge(quantity: .zero, eventCount: 5) == .zero)
        #expect(try price.breakdown(quantity: .zero).isEmpty)
        #expect(try price.charge(quantity: decimal("0.000000000001"), eventCount: 1).description == "100.000000000001")
    }

    @Test(arguments: [("0", "0"), ("3", "0.75"), ("-3", "0"), ("0.5", "0.125")])
    func `per unit multiplies, and charges nothing below zero`(quantity: String, expected: String) throws {
        let price = try Price.perUnit(unitAmount: decimal("0.25"))
        #expect(try price.charge(quantity: decimal(quantity), eventCount: 0).description == expected)
    }

    @Test func `the breakdown lists the tiers entered`() throws {
        let parts = try graduated().breakdown(quantity: decimal("15"))
        #expect(parts.map(\.upTo) == [try decimal("10"), try decimal("20")])
        #expect(parts.map(\.quantity) == [try decimal("10"), try decimal("5")])
        #expect(parts.map(\.amount.description) == ["10", "5.5"])
        #expect(parts.map(\.flatAmount) == [.zero, try decimal("3")])
    }

    @Test func `a tier list without an open end charges the rest at its last tier, an empty one refuses`() throws {
        let closed = try Price.graduated([tier("10", "1")])
        #expect(try closed.charge(quantity: decimal("12"), eventCount: 1).description == "12")
        #expect(throws: DecimalError.malformed) { try Price.graduated([]).charge(quantity: .zero, eventCount: 0) }
    }

    /// Prices with ascending tiers and amounts that are not negative.
    private func randomPrice(_ generator: inout SplitMix64) throws -> Price {
        func amount() throws -> FixedDecimal {
            try FixedDecimal(validating: Int128(Int64.random(in: 0...50_000_000_000_000, using: &generator)))
        }
        let count = Int.random(in: 0...6, using: &generator)
        guard count > 0 else { return .perUnit(unitAmount: try amount()) }
        var bound: Int128 = 0
        var tiers: [PriceTier] = []
        for index in 1...count {
            bound += Int128(Int64.random(in: 1...300_000_000_000_000, using: &generator))
            let upTo = index == count ? nil : try FixedDecimal(validating: bound)
            let flat = Bool.random(using: &generator) ? .zero : try amount()
            tiers.append(PriceTier(upTo: upTo, unitAmount: try amount(), flatAmount: flat))
        }
        #expect(PriceTier.faults(in: tiers).isEmpty)
        return .graduated(tiers)
    }

    @Test func `the marginal charges of any split of the usage add up exactly to the whole`() throws {
        var generator = SplitMix64(seed: 70)
        for _ in 0..<2_000 {
            let price = try randomPrice(&generator)
            var total = UsageTotal.zero
            var sum = ExactAmount.zero
            for _ in 0..<Int.random(in: 1...12, using: &generator) {
                let change = Int64.random(in: -40_000_000_000_000...150_000_000_000_000, using: &generator)
                let after = UsageTotal(
                    quantity: try total.quantity.adding(FixedDecimal(validating: Int128(change))),
                    eventCount: total.eventCount + 1
                )
                sum = try sum.adding(price.marginalCharge(from: total, to: after))
                total = after
            }
            #expect(try sum == price.charge(for: total))
        }
    }

    @Test func `the charge never falls as usage grows, and is never negative`() throws {
        var generator = SplitMix64(seed: 71)
        for _ in 0..<5_000 {
            let price = try randomPrice(&generator)
            let less = Int128(Int64.random(in: -10_000_000_000_000...1_500_000_000_000_000, using: &generator))
            let more = less + Int128(Int64.random(in: 0...100_000_000_000_000, using: &generator))
            let lower = try price.charge(quantity: FixedDecimal(validating: less), eventCount: 1)
            let higher = try price.charge(quantity: FixedDecimal(validating: more), eventCount: 2)
            #expect(lower <= higher && !lower.isNegative)
        }
    }

    @Test func `the breakdown adds up exactly to the quantity and the charge`() throws {
        var generator = SplitMix64(seed: 72)
        for _ in 0..<3_000 {
            let price = try randomPrice(&generator)
            let quantity = try FixedDecimal(
                validating: Int128(Int64.random(in: 0...2_000_000_000_000_000, using: &generator))
            )
            let parts = try price.breakdown(quantity: quantity)
            var sum = ExactAmount.zero
            var units = FixedDecimal.zero
            for part in parts {
                #expect(
                    try part.amount
                        == part.quantity.multiplied(by: part.unitAmount).adding(ExactAmount(part.flatAmount))
                )
                sum = try sum.adding(part.amount)
                units = try units.adding(part.quantity)
            }
            #expect(try sum == price.charge(quantity: quantity, eventCount: 1))
            #expect(units == quantity)
        }
    }

    @Test func `the largest quantity at the largest price is computed exactly`() throws {
        let largest = try FixedDecimal(validating: Int128(FixedDecimal.unscaledLimit) - 1)
        let price = Price.graduated([
            PriceTier(upTo: .one, unitAmount: largest, flatAmount: largest),
            PriceTier(upTo: nil, unitAmount: largest, flatAmount: largest),
        ])
        let expected = try largest.multiplied(by: largest).adding(ExactAmount(largest)).adding(ExactAmount(largest))
        #expect(try price.charge(quantity: largest, eventCount: 1) == expected)
    }
}
