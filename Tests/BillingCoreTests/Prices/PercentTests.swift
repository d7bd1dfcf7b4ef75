import BillingCore
import Testing

@Suite struct PercentTests {
    @Test(arguments: [("20", "0.2"), ("0", "0"), ("2.5", "0.025"), ("0.0000000001", "0.000000000001")])
    func `a hundredth of it is exact`(text: String, fraction: String) throws {
        let percent = try #require(Percent(FixedDecimal(parsing: text)))
        #expect(percent.fraction.description == fraction)
        #expect(percent.value.description == text)
    }

    @Test func `more than ten digits after the point are refused`() throws {
        #expect(try Percent(FixedDecimal(parsing: "0.00000000001")) == nil)
    }
}
