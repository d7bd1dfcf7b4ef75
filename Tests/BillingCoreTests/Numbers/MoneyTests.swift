import BillingCore
import Testing

@Suite struct MoneyTests {
    @Test(arguments: [("USD", 2), ("EUR", 2), ("JPY", 0), ("KRW", 0), ("KWD", 3), ("TND", 3), ("CLF", 4), ("HUF", 2)])
    func `a currency has the minor unit of ISO 4217`(code: String, minorUnits: Int) throws {
        let currency = try #require(Currency(code))
        #expect(currency.code == code)
        #expect(currency.minorUnits == minorUnits)
    }

    @Test(arguments: ["usd", "US", "USDX", "", "XXX", "XAU", "HRK", "DEM", "ZZZ"])
    func `a code not in use is no currency`(code: String) {
        #expect(Currency(code) == nil)
    }

    @Test func `the table has every code once`() {
        #expect(Currency.codes.count == Set(Currency.codes).count)
        #expect(Currency.codes.allSatisfy { $0.utf8.count == 3 && $0 == $0.uppercased() })
        #expect(Currency.codes.count > 150)
    }

    @Test func `the constants agree with the table`() {
        #expect([Currency.usd, .eur, .jpy, .kwd] == ["USD", "EUR", "JPY", "KWD"].compactMap(Currency.init))
    }

    @Test(arguments: [
        ("12.5", "USD", "12.50"), ("12.5", "JPY", "12.5"), ("13", "JPY", "13"), ("1.2345", "KWD", "1.2345"),
        ("1", "KWD", "1.000"), ("0.000002", "USD", "0.000002"), ("-3", "USD", "-3.00"),
    ])
    func `money is shown exactly, with at least the minor unit`(amount: String, code: String, expected: String) throws {
        let money = try Money(FixedDecimal(parsing: amount), #require(Currency(code)))
        #expect(money.formatted == expected)
    }

    @Test(arguments: [("0.005", "USD", "0.01"), ("-0.5", "JPY", "-1"), ("1.0005", "KWD", "1.001")])
    func `an exact amount rounds to the minor unit`(amount: String, code: String, expected: String) throws {
        let exact = try ExactAmount(FixedDecimal(parsing: amount))
        #expect(try Money(rounding: exact, #require(Currency(code))).formatted == expected)
    }
}
