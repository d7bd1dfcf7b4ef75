import BillingCore
import Testing

@testable import Invoicing

@Suite struct InvoiceTextTests {
    @Test(arguments: [
        ("0", "0"), ("0.00", "0.00"), ("12", "12"), ("123.456", "123.456"), ("1234", "1,234"), ("-1234.5", "-1,234.5"),
        ("999999", "999,999"), ("12345678901234567890.000000000001", "12,345,678,901,234,567,890.000000000001"),
        ("n/a", "n/a"), ("", ""), ("-", "-"),
    ])
    func wholeDigitsAreGrouped(_ decimal: String, _ text: String) {
        #expect(InvoiceText.grouped(decimal) == text)
    }

    @Test func datesAreThoseOfTheZone() throws {
        let kiritimati = try #require(Zone(identifier: "Pacific/Kiritimati"))
        let start = SampleInvoice.instant("2026-10-31T10:00:00Z")
        #expect(InvoiceText.date(start, in: kiritimati) == "1 November 2026")
        #expect(
            InvoiceText.dates(SampleInvoice.interval("2026-11-30T10:00:00Z", "2026-12-31T10:00:00Z"), in: kiritimati)
                == "1 Dec 2026 - 1 Jan 2027"
        )
        #expect(InvoiceText.wholeSeconds(SampleInvoice.instant("2026-12-02T01:02:03.9Z")) == "2026-12-02T01:02:03Z")
    }
}
