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
        #expect(try price.breakdown(of: UsageTotal(quantity: .zero, eventCount: 5)).isEmpty)
        #expect(try price.charge(quantity: decimal("0.000000000001"), eventCount: 1).description == "100.000000000001")
    }

    @Test(arguments: [("0", "0"), ("3", "0.75"), ("-3", "0"), ("0.5", "0.125")])
    func `per unit multiplies, and charges nothing below zero`(quantity: String, expected: String) throws {
        let price = try Price.perUnit(unitAmount: decimal("0.25"))
        #expect(try price.charge(quantity: decimal(quantity), eventCount: 0).description == expected)
    }

    @Test func `the breakdown lists the tiers entered`() throws {
        let parts = try graduated().breakdown(of: UsageTotal(quantity: decimal("15"), eventCount: 1))
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
