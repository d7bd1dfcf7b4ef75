import BillingCore
import Testing

@Suite struct IntegerIdentifierTests {
    @Test func `identifiers order and print as their numbers`() {
        #expect(TenantID(2) < TenantID(10))
        #expect(TenantID(rawValue: 7).description == "7")
        #expect(TenantID.operatorWide == TenantID(0))
        #expect(Set([FeatureID(1), FeatureID(1), FeatureID(2)]).count == 2)
    }
}
