import BillingCore
import Testing

@Suite struct PriceTierTests {
    private func tier(_ upTo: Int64?, unit: Int64 = 1, flat: Int64 = 0) -> PriceTier {
        PriceTier(upTo: upTo.map(FixedDecimal.init), unitAmount: FixedDecimal(unit), flatAmount: FixedDecimal(flat))
    }

    @Test func `ascending tiers with an open end have no faults`() {
        #expect(PriceTier.faults(in: [tier(10), tier(20), tier(nil)]).isEmpty)
        #expect(PriceTier.faults(in: [tier(nil, unit: 0, flat: 5)]).isEmpty)
    }

    @Test func `an empty list is a fault as a whole`() {
        #expect(PriceTier.faults(in: []) == [PriceTierFault(index: nil, field: nil, reason: .empty)])
    }

    @Test func `a bound that does not ascend is named`() {
        let fault = PriceTierFault(index: 1, field: .upTo, reason: .notAscending)
        #expect(PriceTier.faults(in: [tier(10), tier(10), tier(nil)]) == [fault])
        #expect(PriceTier.faults(in: [tier(10), tier(5), tier(nil)]) == [fault])
        #expect(PriceTier.faults(in: [tier(0), tier(nil)]).map(\.index) == [0])
    }

    @Test func `only the last tier is open`() {
        #expect(
            PriceTier.faults(in: [tier(nil), tier(10)]) == [
                PriceTierFault(index: 0, field: .upTo, reason: .openBeforeLast),
                PriceTierFault(index: 1, field: .upTo, reason: .lastNotOpen),
            ]
        )
    }

    @Test func `every negative amount is named, by tier and field`() {
        #expect(
            PriceTier.faults(in: [tier(10, unit: -1), tier(nil, unit: -1, flat: -1)]) == [
                PriceTierFault(index: 0, field: .unitAmount, reason: .negative),
                PriceTierFault(index: 1, field: .unitAmount, reason: .negative),
                PriceTierFault(index: 1, field: .flatAmount, reason: .negative),
            ]
        )
    }
}
