import BillingCore
import Testing

/// What one period is charged where its plan changed within it.
@Suite struct SegmentInvoiceTests {
    private let november = Interval(start: Instant(microseconds: 0), end: Instant(microseconds: 2_592_000_000_000))

    private func decimal(_ text: String) throws -> FixedDecimal { try FixedDecimal(parsing: text) }

    /// Seats (`latest`) at a price in each of two halves.
    private func seats(_ parts: [(quantity: String, price: String)]) throws -> [InvoicedSegment] {
        var before = UsageTotal.zero
        return try parts.enumerated().map { ordinal, part in
            let through = UsageTotal(quantity: try decimal(part.quantity), eventCount: before.eventCount + 1)
            defer { before = through }
            let price = Price.perUnit(unitAmount: try decimal(part.price))
            return InvoicedSegment(
                ordinal: ordinal,
                active: half(ordinal),
                usage: [PricedUsage(feature: FeatureID(1), price: price, before: before, through: through)]
            )
        }
    }

    private func half(_ ordinal: Int) -> Interval {
        let middle = Instant(microseconds: november.end.microseconds(since: november.start) / 2)
        return ordinal == 0 ? Interval(start: november.start, end: middle) : Interval(start: middle, end: .maximum)
    }

    private func invoice(
        _ segments: [InvoicedSegment],
        discounts: [Discount] = [],
        invoiced: [InvoiceItemKey: InvoicedAmount] = [:]
    ) throws -> Invoice {
        let period = InvoicedPeriod(
            index: 0,
            interval: november,
            scope: invoiced.isEmpty ? .whole : .again,
            segments: segments,
            invoiced: invoiced
        )
        return try Invoice(
            kind: invoiced.isEmpty ? .regular : .adjustment,
            period: november,
            periods: [period],
            discounts: discounts,
            currency: .usd
        )
    }

    @Test(arguments: [
        ([Discount.percent(FixedDecimal(20))], "12.8"),
        ([.percent(FixedDecimal(50)), .percent(FixedDecimal(50))], "48"),
        ([.percent(FixedDecimal(100))], "64"),
        ([.amount(FixedDecimal(100))], "64"),
        ([.amount(FixedDecimal(24))], "24"),
        ([.percent(FixedDecimal(50)), .amount(FixedDecimal(100))], "64"),
        ([.amount(FixedDecimal(44)), .percent(FixedDecimal(50))], "54"),
    ])
    func `a discount is that of what all segments come to`(_ discounts: [Discount], _ expected: String) throws {
        let invoice = try invoice(seats([("12", "10"), ("5", "8")]), discounts: discounts)
        #expect(invoice.lines.map(\.amount.description) == ["120", "-56"])
        #expect(invoice.totals.discount.description == expected)
        #expect(invoice.totals.carriedForward.isZero)
    }

    @Test func `segments that come to less than nothing have no discount`() throws {
        let parts = try seats([("10", "1"), ("5", "8")])
        for discount in [Discount.percent(FixedDecimal(50)), .amount(FixedDecimal(7))] {
            let invoice = try invoice(parts, discounts: [discount])
            #expect(invoice.totals.subtotal.description == "-30" && invoice.totals.discount.isZero)
        }
    }

    @Test func `what a later segment takes back of an earlier invoice takes the discount of then with it`() throws {
        var invoiced: [InvoiceItemKey: InvoicedAmount] = [:]
        func add(_ segments: [InvoicedSegment], percent: Int64) throws -> [String] {
            let discount = Discount.percent(FixedDecimal(percent))
            let invoice = try invoice(segments, discounts: [discount], invoiced: invoiced)
            for line in invoice.lines { try invoiced.add(line) }
            return invoice.lines.map { "\($0.amount) \($0.discount)" }
        }
        #expect(try add(seats([("12", "10")]), percent: 50) == ["120 60"])
        #expect(try add(seats([("12", "10"), ("5", "8")]), percent: 0) == ["-56 -28"])
        #expect(try add(seats([("12", "10"), ("8", "8")]), percent: 10) == ["24 12"])
        #expect(try add(seats([("0", "10"), ("0", "8")]), percent: 10).sorted() == ["-120 -60", "32 16"])
    }

    @Test func `commitments of segments are summed exactly and rounded once`() throws {
        let sixth = Instant(microseconds: november.microseconds / 6)
        let segments = [
            InvoicedSegment(
                active: Interval(start: november.start, end: sixth),
                minimumCommitment: try decimal("10.03")
            ),
            InvoicedSegment(
                ordinal: 1,
                active: Interval(start: sixth, end: .maximum),
                minimumCommitment: FixedDecimal(10)
            ),
        ]
        // 10.03 / 6 + 50 / 6 = 10.005
        #expect(try invoice(segments).lines.map(\.amount.description) == ["10.01"])
    }

    @Test func `a fee that is charged at another time under the same key is another fee`() throws {
        func segment(_ amount: Int64, _ timing: Fee.Timing) -> InvoicedSegment {
            let fee = Fee(key: "base", name: "", amount: FixedDecimal(amount), charged: timing)
            return InvoicedSegment(active: .allTime, fees: [fee])
        }
        var invoiced: [InvoiceItemKey: InvoicedAmount] = [:]
        for line in try invoice([segment(20, .inAdvance)]).lines { try invoiced.add(line) }
        let changed = try invoice([segment(25, .inArrears)], invoiced: invoiced)
        #expect(changed.lines.map(\.amount.description).sorted() == ["-20", "25"])
        for line in changed.lines { try invoiced.add(line) }
        #expect(try invoice([segment(25, .inArrears)], invoiced: invoiced).lines.isEmpty)
    }
}
