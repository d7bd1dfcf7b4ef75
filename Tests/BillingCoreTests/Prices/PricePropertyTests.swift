import BillingCore
import Testing

/// What holds for every price, tried with thousands of them.
@Suite struct PricePropertyTests {
    private func total(_ random: inout RandomPrices, from range: ClosedRange<Int64> = 0...2_000) throws -> UsageTotal {
        UsageTotal(
            quantity: try random.quantity(range),
            eventCount: Int64(random.number(1...50)),
            cost: try random.quantity(0...100)
        )
    }

    @Test(arguments: RandomPrices.Model.allCases)
    func `the marginal charges of any split of the usage add up exactly to the whole`(
        model: RandomPrices.Model
    ) throws {
        var random = RandomPrices(seed: 70)
        for _ in 0..<1_000 {
            let price = try random.price(model)
            var last = UsageTotal.zero
            var sum = try price.charge(for: last)
            for _ in 0..<random.number(1...12) {
                // Voids make steps backwards, and negative values of events totals below zero.
                let next = try total(&random, from: -100...2_000)
                sum = try sum.adding(price.marginalCharge(from: last, to: next))
                last = next
            }
            #expect(try sum == price.charge(for: last))
        }
    }

    @Test(arguments: RandomPrices.Model.allCases.filter(\.isMonotone))
    func `the charge never falls as usage grows`(model: RandomPrices.Model) throws {
        var random = RandomPrices(seed: 71)
        for _ in 0..<2_000 {
            let price = try random.price(model)
            let less = try total(&random, from: -10...2_000)
            let more = UsageTotal(
                quantity: try less.quantity.adding(random.quantity(0...100)),
                eventCount: less.eventCount + Int64(random.number(0...3)),
                cost: try less.cost.adding(random.quantity(0...10))
            )
            #expect(try price.charge(for: less) <= price.charge(for: more))
        }
    }

    @Test(arguments: RandomPrices.Model.allCases)
    func `no charge is negative, and a total below zero is charged like none`(model: RandomPrices.Model) throws {
        var random = RandomPrices(seed: 73)
        for _ in 0..<1_000 {
            let price = try random.price(model)
            #expect(try !price.charge(for: total(&random)).isNegative)
            let below = UsageTotal(
                quantity: try random.quantity(-100 ... -1),
                eventCount: 3,
                cost: try random.quantity(0...100).negated
            )
            #expect(try price.charge(for: below) == price.charge(for: .zero))
        }
    }

    @Test(arguments: RandomPrices.Model.allCases)
    func `no usage costs nothing, but for a flat price`(model: RandomPrices.Model) throws {
        var random = RandomPrices(seed: 74)
        for _ in 0..<500 {
            let price = try random.price(model)
            let charge = try price.charge(for: .zero)
            if case .flat(let amount) = price {
                #expect(charge == ExactAmount(amount))
                #expect(try price.breakdown(of: .zero).map(\.amount) == [charge])
            } else {
                #expect(charge == .zero)
                #expect(try price.breakdown(of: .zero).isEmpty)
            }
            #expect(try price.usageCharge(for: .zero) == .zero)
        }
    }

    @Test(arguments: RandomPrices.Model.allCases)
    func `the breakdown adds up exactly to the charge, and each part explains its amount`(
        model: RandomPrices.Model
    ) throws {
        var random = RandomPrices(seed: 72)
        for _ in 0..<1_000 {
            let price = try random.price(model)
            let total = try total(&random)
            var sum = ExactAmount.zero
            for part in try price.breakdown(of: total) {
                sum = try sum.adding(part.amount)
                guard part.basis != .minimum, part.basis != .maximum else { continue }
                let product = part.quantity.multiplied(by: part.unitAmount)
                #expect(try part.amount == product.adding(ExactAmount(part.flatAmount)))
            }
            #expect(try sum == price.charge(for: total))
        }
    }

    @Test func `tiers hold all of the quantity, graduated ones a share each and a volume tier the whole`() throws {
        var random = RandomPrices(seed: 75)
        for _ in 0..<2_000 {
            let quantity = try random.quantity()
            let total = UsageTotal(quantity: quantity, eventCount: 1)
            var units = FixedDecimal.zero
            for part in try random.price(.graduated).breakdown(of: total) { units = try units.adding(part.quantity) }
            #expect(units == quantity)
            let whole = try random.price(.volume).breakdown(of: total)
            #expect(whole.map(\.quantity) == (quantity.isZero ? [] : [quantity]))
            #expect(whole.allSatisfy { part in part.upTo.map { quantity <= $0 } ?? true })
        }
    }

    @Test func `packages hold what is not free, and none of them is empty`() throws {
        var random = RandomPrices(seed: 76)
        for _ in 0..<3_000 {
            guard case .packages(let price) = try random.price(.packages) else { continue }
            let quantity = try random.quantity()
            let packages = try price.packages(for: quantity)
            let charged = try ExactAmount(quantity.subtracting(price.freeUnits))
            #expect(price.packageSize.multiplied(by: packages) >= charged)
            if !packages.isZero {
                #expect(try price.packageSize.multiplied(by: packages.subtracting(.one)) < charged)
            }
        }
    }
}
