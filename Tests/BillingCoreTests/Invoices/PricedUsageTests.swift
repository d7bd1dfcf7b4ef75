import BillingCore
import Testing

/// A segment's usage, which continues what earlier segments of the period used.
@Suite struct PricedUsageTests {
    @Test(arguments: RandomPrices.Model.allCases)
    func `the breakdown of a segment adds up exactly to its charge`(model: RandomPrices.Model) throws {
        var random = RandomPrices(seed: 95)
        for _ in 0..<1_000 {
            let before = UsageTotal(
                quantity: try random.quantity(0...800),
                eventCount: Int64(random.number(0...5)),
                cost: try random.quantity(0...10)
            )
            let usage = PricedUsage(
                feature: FeatureID(1),
                price: try random.price(model),
                before: random.number(0...2) == 0 ? .zero : before,
                through: UsageTotal(
                    quantity: try random.quantity(0...2_000),
                    eventCount: Int64(random.number(0...9)),
                    cost: try random.quantity(0...20)
                )
            )
            let part = Proration(
                of: Interval(start: Instant(seconds: 0), end: Instant(seconds: 2_592_000)),
                within: Interval(start: Instant(seconds: Int64(random.number(0...2_000_000))), end: .maximum)
            )
            let charge = try usage.charge(for: part)
            var sum = ExactAmount.zero
            for part in try usage.breakdown(of: charge) { sum = try sum.adding(part.amount) }
            #expect(sum == charge)
        }
    }

    @Test(arguments: RandomPrices.Model.allCases.filter { $0 != .flat })
    func `the charges of segments under one price add up to the charge of the whole period`(
        model: RandomPrices.Model
    ) throws {
        var random = RandomPrices(seed: 96)
        for _ in 0..<500 {
            let price = try random.price(model)
            var before = UsageTotal.zero
            var sum = ExactAmount.zero
            for _ in 0..<random.number(1...4) {
                let through = UsageTotal(
                    quantity: try before.quantity.adding(random.quantity(0...400)),
                    eventCount: before.eventCount + Int64(random.number(0...3)),
                    cost: try before.cost.adding(random.quantity(0...5))
                )
                let segment = PricedUsage(feature: FeatureID(1), price: price, before: before, through: through)
                sum = try sum.adding(segment.charge(for: .whole))
                before = through
            }
            #expect(try sum == price.charge(for: before))
        }
    }

    @Test func `the parts of a flat price over several segments come to the amount`() throws {
        let price = Price.flat(amount: FixedDecimal(30))
        let period = Interval(start: Instant(seconds: 0), end: Instant(seconds: 300))
        let halves = try [(0, 100), (100, 300)].map { (start: Int64, end: Int64) in
            let active = Interval(start: Instant(seconds: start), end: Instant(seconds: end))
            return try PricedUsage(feature: FeatureID(1), price: price, through: .zero)
                .charge(for: Proration(of: period, within: active)).description
        }
        #expect(halves == ["10", "20"])
    }
}
