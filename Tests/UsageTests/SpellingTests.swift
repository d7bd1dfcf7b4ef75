import BillingCore
import Testing

@testable import Usage

/// Swift takes texts for equal that look the same; the database tells them apart by their bytes. Keys of rows must,
/// too: two rows would be written as one, and counted, voided or verified as the other.
@Suite struct SpellingTests {
    private static let spellings = ("mod\u{E8}le", "mode\u{300}le")

    @Test func namesOfUnpricedModelsAreToldApart() {
        func key(_ model: String) -> UnpricedKey {
            UnpricedKey(
                tenant: TenantID(1),
                reason: .price,
                provider: "p",
                model: model,
                dayStart: Instant(microseconds: 0)
            )
        }
        #expect(Self.spellings.0 == Self.spellings.1)
        #expect(Set([key(Self.spellings.0), key(Self.spellings.1), key(Self.spellings.0)]).count == 2)
    }

    @Test func cellsOfCountersAreToldApart() {
        func key(_ cell: String) -> CounterKey {
            CounterKey(tenant: TenantID(1), period: BillingPeriodID(1), feature: FeatureID(1), cell: cell)
        }
        #expect(Set([key(Self.spellings.0), key(Self.spellings.1), key(Self.spellings.0)]).count == 2)
    }
}
