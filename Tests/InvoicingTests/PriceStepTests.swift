import BillingCore
import Testing

@testable import Invoicing

@Suite struct PriceStepTests {
    private static func step(
        _ basis: TierCharge.Basis,
        isOnly: Bool = false,
        above: String? = nil,
        upTo: String? = nil,
        _ quantity: String,
        _ unitAmount: String,
        flat: String = "0",
        amount: String
    ) throws -> PriceStep {
        PriceStep(
            basis: basis,
            isOnly: isOnly,
            above: try above.map { try FixedDecimal(parsing: $0) },
            upTo: try upTo.map { try FixedDecimal(parsing: $0) },
            quantity: try FixedDecimal(parsing: quantity),
            unitAmount: try FixedDecimal(parsing: unitAmount),
            flatAmount: try FixedDecimal(parsing: flat),
            amount: amount
        )
    }

    private static func told(_ step: PriceStep) -> [String] { [step.label, step.arithmetic] }

    @Test func tiersAreToldByTheirBounds() throws {
        let single = try Self.step(.tier, isOnly: true, "1500", "0.000002", amount: "0.003")
        #expect(Self.told(single) == ["Each unit", "1,500 x 0.000002 = 0.003"])
        let first = try Self.step(.tier, upTo: "1000000", "5", "0", amount: "0")
        #expect(Self.told(first) == ["Up to 1,000,000", "5 x 0 = 0"])
        let middle = try Self.step(.tier, above: "10", upTo: "20", "7", "2", flat: "5", amount: "19")
        #expect(Self.told(middle) == ["Above 10, up to 20", "7 x 2 + 5 = 19"])
        let stair = try Self.step(.tier, above: "20", "7", "0", flat: "99", amount: "99")
        #expect(Self.told(stair) == ["Above 20", "99 = 99"])
        let open = try Self.step(.tier, "51", "0", flat: "300", amount: "300")
        #expect(Self.told(open) == ["Last tier", "300 = 300"])
    }

    @Test func otherStepsAreToldByWhatTheyChargeFor() throws {
        let flat = try Self.step(.flat, "0", "0", flat: "30", amount: "15.5")
        #expect(Self.told(flat) == ["Flat amount", "15.5"])
        let packages = try Self.step(.packages, "3", "10", amount: "30")
        #expect(Self.told(packages) == ["Packages begun", "3 x 10 = 30"])
        let share = try Self.step(.percent, "20000", "0.029", amount: "580")
        #expect(Self.told(share) == ["2.9 % of the value", "20,000 x 0.029 = 580"])
        let events = try Self.step(.events, "12", "0.3", amount: "3.6")
        #expect(Self.told(events) == ["Fixed amount per event", "12 x 0.3 = 3.6"])
        let cost = try Self.step(.cost, "100", "1.2", amount: "120")
        #expect(Self.told(cost) == ["Provider cost with markup", "100 x 1.2 = 120"])
        let minimum = try Self.step(.minimum, "0", "0", amount: "4")
        #expect(Self.told(minimum) == ["To the minimum of the period", "4"])
        let maximum = try Self.step(.maximum, "0", "0", amount: "-1234.5")
        #expect(Self.told(maximum) == ["Above the maximum of the period", "-1,234.5"])
    }
}
