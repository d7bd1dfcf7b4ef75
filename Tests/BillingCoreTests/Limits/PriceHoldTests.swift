import BillingCore
import TestSupport
import Testing

/// What held usage can add to a charge.
@Suite struct PriceHoldTests {
    private static func tier(_ upTo: Int64?, _ unit: Int64, flat: Int64 = 0) -> PriceTier {
        PriceTier(
            upTo: upTo.map { FixedDecimal($0) },
            unitAmount: FixedDecimal(unit),
            flatAmount: FixedDecimal(flat)
        )
    }

    private static func total(_ quantity: Int64) -> UsageTotal {
        UsageTotal(quantity: FixedDecimal(quantity), eventCount: quantity > 0 ? 1 : 0)
    }

    private static let prices: [Price] = [
        .perUnit(unitAmount: FixedDecimal(3)),
        .graduated([tier(10, 0), tier(20, 2, flat: 5), tier(nil, 1)]),
        .volume([tier(10, 5), tier(20, 3, flat: 1), tier(nil, 1)]),
        .stairstep([tier(10, 0, flat: 7), tier(20, 0, flat: 3), tier(nil, 0, flat: 30)]),
        .packages(PackagePrice(amount: FixedDecimal(4), packageSize: FixedDecimal(7), freeUnits: FixedDecimal(3))),
    ]

    @Test("the greatest charge of a hold is the greatest over every part of it", arguments: prices)
    func greatestIsTheGreatest(price: Price) throws {
        for before in Int64(0)...25 {
            let base = try price.usageCharge(for: Self.total(before))
            for held in Int64(0)...25 {
                var greatest = ExactAmount.zero
                for part in 0...held {
                    let charge = try price.usageCharge(for: Self.total(before + part)).subtracting(base)
                    greatest = max(greatest, charge)
                }
                let found = try price.greatestCharge(of: Self.total(held), after: Self.total(before))
                #expect(found == greatest, "\(held) after \(before)")
            }
        }
    }

    @Test("a hold in a free first tier is not held at zero when others may fill the tier")
    func freeTier() throws {
        let price = Price.graduated([Self.tier(10, 0), Self.tier(nil, 2)])
        #expect(try price.greatestCharge(of: Self.total(8), after: Self.total(0)) == .zero)
        #expect(try price.greatestCharge(of: Self.total(16), after: Self.total(0)) == ExactAmount(FixedDecimal(12)))
    }

    @Test("settling within a hold never raises what is used and held together", arguments: prices)
    func settlingWithinNeverRaises(price: Price) throws {
        var generator = SeededGenerator(seed: 11)
        for _ in 0..<500 {
            let before = Int64.random(in: 0...30, using: &generator)
            let held = Int64.random(in: 1...30, using: &generator)
            let used = Int64.random(in: 0...held, using: &generator)
            func sum(_ quantity: Int64, _ rest: Int64) throws -> ExactAmount {
                try price.usageCharge(for: Self.total(quantity))
                    .adding(price.greatestCharge(of: Self.total(rest), after: Self.total(quantity)))
            }
            #expect(try sum(before + used, held - used) <= sum(before, held))
        }
    }

    @Test("wherever in the tiers a use falls, it is charged between its lowest and its highest charge")
    func bounds() throws {
        let rising = Price.volume([Self.tier(6, 1), Self.tier(10, 1, flat: 4), Self.tier(20, 9), Self.tier(nil, 3)])
        for price in Self.prices + [rising] {
            for before in Int64(0)...25 {
                for use in Int64(1)...15 {
                    let charged = try price.marginalCharge(from: Self.total(before), to: Self.total(before + use))
                    #expect(try charged <= price.highestCharge(of: Self.total(use)))
                    #expect(try max(.zero, charged) >= price.lowestCharge(of: Self.total(use)))
                }
            }
        }
    }
}
