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
        rates: [TaxRate] = [],
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
            tax: TaxTreatment(rates: rates),
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

    /// What invoices that stand charge, one after the other.
    private struct Book {
        let test: SegmentInvoiceTests
        var standing: [Invoice] = []

        var invoiced: [InvoiceItemKey: InvoicedAmount] {
            get throws {
                var invoiced: [InvoiceItemKey: InvoicedAmount] = [:]
                for line in standing.flatMap(\.lines) { try invoiced.add(line) }
                return invoiced
            }
        }

        /// Amounts, discounts and taxes of the next invoice.
        mutating func add(
            _ segments: [InvoicedSegment],
            _ discounts: [Discount] = [],
            vat: (key: String, percent: Int64)? = nil
        ) throws -> [String] {
            let rates = vat.map { [TaxRate(key: $0.key, name: "", percent: FixedDecimal($0.percent))] } ?? []
            standing.append(
                try test.invoice(segments, discounts: discounts, rates: rates, invoiced: try invoiced)
            )
            return try standing[standing.count - 1].lines.map { try "\($0.amount) \($0.discount) \($0.tax)" }
        }

        /// What all of them come to: amount, discount and tax.
        var sum: String {
            get throws {
                var (amount, discount, tax) = (FixedDecimal.zero, FixedDecimal.zero, FixedDecimal.zero)
                for line in standing.flatMap(\.lines) {
                    amount = try amount.adding(line.amount)
                    discount = try discount.adding(line.discount)
                    tax = try tax.adding(line.tax)
                }
                return "\(amount) \(discount) \(tax)"
            }
        }
    }

    @Test func `what a later segment takes back of an earlier invoice takes the discount of then with it`() throws {
        var book = Book(test: self)
        #expect(try book.add(seats([("12", "10")]), [.percent(FixedDecimal(50))]) == ["120 60 0"])
        #expect(try book.add(seats([("12", "10"), ("5", "8")])) == ["-56 -28 0"])
        #expect(
            try book.add(seats([("12", "10"), ("8", "8")]), [.percent(FixedDecimal(10))]) == ["24 2.4 0"]
        )
        #expect(
            try book.add(seats([("0", "10"), ("0", "8")]), [.percent(FixedDecimal(10))])
                == ["-120 -46.91 0", "32 12.51 0"]
        )
        #expect(try book.sum == "0 0 0")
    }

    @Test func `more of what stands below zero is undone, and not discounted, until there is something to pay`() throws
    {
        var book = Book(test: self)
        _ = try book.add(seats([("10", "1"), ("5", "8")]))
        _ = try book.add(seats([("10", "1"), ("6", "8")]), [.percent(FixedDecimal(50))])
        #expect(try book.sum == "-22 0 0")
        _ = try book.add(seats([("10", "1"), ("9", "8")]), [.percent(FixedDecimal(50))])
        #expect(try book.sum == "2 1 0")
    }

    @Test func `a correction that changes nothing costs nothing, however it lies on segments`() throws {
        for discount in [Discount.amount(FixedDecimal(10)), .percent(FixedDecimal(50))] {
            var book = Book(test: self)
            _ = try book.add(seats([("12", "10"), ("1", "10")]), [discount])
            let before = try book.sum
            _ = try book.add(seats([("6", "10"), ("1", "10")]), [.percent(FixedDecimal(50))])
            #expect(try book.sum == before)
        }
    }

    @Test func `what rises and falls at once is discounted by what it comes to`() throws {
        var book = Book(test: self)
        _ = try book.add(seats([("12", "10"), ("5", "8")]))
        for quantity in ["14", "12", "14", "12"] {
            _ = try book.add(seats([(quantity, "10"), ("5", "8")]), [.percent(FixedDecimal(50))])
        }
        let discount = try book.standing.flatMap(\.lines).reduce(FixedDecimal.zero) { try $0.adding($1.discount) }
        #expect(try book.sum.hasPrefix("64 "))
        // Each time 4 more at half the price, of which what is taken back takes the mean with it.
        #expect(discount < FixedDecimal(4))
    }

    @Test func `an invoice that is made anew undoes what was taken back by the discount and the tax of then`() throws {
        var book = Book(test: self)
        _ = try book.add(seats([("12", "10")]), [.percent(FixedDecimal(50))], vat: ("vat19", 19))
        _ = try book.add(seats([("12", "10"), ("5", "8")]), vat: ("vat19", 19))
        #expect(try book.sum == "64 32 6.08")
        book.standing.removeFirst()
        #expect(try book.add(seats([("12", "10"), ("5", "8")]), vat: ("vat7", 7)) == ["120 28 9.8"])
        #expect(try book.sum == "64 0 4.48")
    }

    @Test func `tax that was forgotten is not reckoned of what was taken back without any`() throws {
        var book = Book(test: self)
        _ = try book.add(seats([("10", "10")]))
        _ = try book.add(seats([("5", "10")]))
        book.standing.removeFirst()
        #expect(try book.add(seats([("5", "10")]), vat: ("vat", 19)) == ["100 0 9.5"])
    }

    @Test func `what a later segment takes back takes the tax of then with it`() throws {
        var book = Book(test: self)
        _ = try book.add(seats([("12", "10")]), vat: ("vat19", 19))
        #expect(try book.add(seats([("12", "10"), ("5", "8")]), vat: ("vat7", 7)) == ["-56 0 -10.64"])
        _ = try book.add(seats([("6", "10"), ("5", "8")]), vat: ("vat7", 7))
        #expect(try book.sum == "52 0 9.88")
    }

    @Test func `an invoice that is made anew uses up no credit note on something else`() throws {
        let usage = try [(1, "100"), (2, "10")].map { feature, quantity in
            PricedUsage(
                feature: FeatureID(feature),
                price: .perUnit(unitAmount: .one),
                through: UsageTotal(quantity: try decimal(quantity), eventCount: 1)
            )
        }
        let segment = InvoicedSegment(active: .allTime, includedCredit: FixedDecimal(4), usage: usage)
        let noted = InvoiceItemKey(periodIndex: 0, segment: 0, item: .usage(FeatureID(2), cell: ""))
        let ten = FixedDecimal(10)
        let invoice = try invoice(
            [segment],
            invoiced: [
                noted: InvoicedAmount(
                    amount: ten,
                    discounted: ten,
                    creditNotes: [UUIDv7(high: 0x7000, low: 1): ten],
                    item: .usage(usage[1])
                )
            ]
        )
        #expect(invoice.lines.map(\.amount.description) == ["100", "-4"])
        #expect(invoice.totals.total.description == "96")
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
