import BillingCore
import Testing

@Suite struct InvoiceTests {
    private func decimal(_ text: String) throws -> FixedDecimal { try FixedDecimal(parsing: text) }

    private func instant(_ text: String) throws -> Instant { try Instant(parsing: text + "T00:00:00Z") }

    private func interval(_ start: String, _ end: String) throws -> Interval {
        try Interval(start: instant(start), end: instant(end))
    }

    private func fees() throws -> [Fee] {
        [
            Fee(key: "platform", name: "Platform fee", amount: FixedDecimal(20), charged: .inAdvance),
            Fee(key: "support", name: "Support", amount: try decimal("9.99"), charged: .inArrears),
        ]
    }

    private func usage(
        _ quantity: String,
        at unitAmount: String,
        feature: Int64 = 1,
        before: String = "0"
    ) throws -> PricedUsage {
        PricedUsage(
            feature: FeatureID(feature),
            price: .perUnit(unitAmount: try decimal(unitAmount)),
            before: UsageTotal(quantity: try decimal(before), eventCount: before == "0" ? 0 : 1),
            through: UsageTotal(quantity: try decimal(quantity), eventCount: 2)
        )
    }

    /// November and the advance fees of December, of a subscription that begins with November.
    private func regular(
        until end: String? = nil,
        usage: [PricedUsage] = [],
        commitment: String = "0",
        included: String = "0",
        discounts: [Discount] = [],
        credits: [AvailableCredit] = [],
        tax: TaxTreatment = .none,
        fees: [Fee]? = nil,
        currency: Currency = .usd
    ) throws -> Invoice {
        let segment = InvoicedSegment(
            active: Interval(start: try instant("2026-11-01"), end: try end.map(instant) ?? .maximum),
            fees: try fees ?? self.fees(),
            minimumCommitment: try decimal(commitment),
            includedCredit: try decimal(included),
            usage: usage
        )
        let november = try interval("2026-11-01", "2026-12-01")
        let december = try interval("2026-12-01", "2027-01-01")
        return try Invoice(
            kind: .regular,
            period: november,
            periods: [
                InvoicedPeriod(index: 0, interval: november, scope: .whole, segments: [segment.without(.inAdvance)]),
                InvoicedPeriod(index: 1, interval: december, scope: .advanceFees, segments: [segment]),
            ],
            discounts: discounts,
            credits: credits,
            tax: tax,
            currency: currency
        )
    }

    @Test func `the opening invoice has the first fees in advance`() throws {
        let november = try interval("2026-11-01", "2026-12-01")
        let segment = InvoicedSegment(active: .allTime, fees: try fees(), usage: [try usage("5", at: "1")])
        let invoice = try Invoice(
            kind: .opening,
            period: november,
            periods: [InvoicedPeriod(index: 0, interval: november, scope: .advanceFees, segments: [segment])],
            currency: .usd
        )
        #expect(invoice.lines.map(\.amount) == [FixedDecimal(20)])
        #expect(invoice.totals.total == FixedDecimal(20))
    }

    @Test func `a regular invoice has fees in arrears, the next fees in advance, then usage`() throws {
        let invoice = try regular(usage: [usage("1500", at: "0.01")])
        #expect(invoice.lines.map(\.amount.description) == ["9.99", "20", "15"])
        #expect(
            try invoice.lines.map(\.period.start) == [
                instant("2026-11-01"), instant("2026-12-01"), instant("2026-11-01"),
            ]
        )
        #expect(invoice.totals.total.description == "44.99")
        #expect(invoice.lines.map(\.tiers.count) == [0, 0, 1])
    }

    @Test func `the total is the sum of rounded lines, not the rounded sum`() throws {
        let halves = try (1...3).map { try usage("1", at: "0.005", feature: $0) }
        let invoice = try regular(until: "2026-12-01", usage: halves)
        #expect(invoice.lines.suffix(3).map(\.amount.description) == ["0.01", "0.01", "0.01"])
        #expect(invoice.lines.last?.amountUnrounded.fixedDescription == "0.005000000000")
        #expect(invoice.totals.total.description == "10.02")
    }

    @Test func `an end inside the period prorates its fees and stops the next`() throws {
        let invoice = try regular(until: "2026-11-16")
        #expect(invoice.lines.map(\.amount.description) == ["5"])
        #expect(invoice.lines.map(\.amountUnrounded.description) == ["4.995"])
        #expect(try invoice.lines.map(\.period) == [interval("2026-11-01", "2026-11-16")])
    }

    @Test func `an end inside the next period prorates the fee in advance`() throws {
        #expect(try regular(until: "2026-12-11").lines.map(\.amount.description) == ["9.99", "6.45"])
    }

    @Test func `nothing is invoiced for a period in which the subscription was not active`() throws {
        let invoice = try regular(until: "2026-11-01", usage: [usage("5", at: "1")])
        #expect(invoice.lines.isEmpty && invoice.totals.total == .zero)
    }

    @Test func `what is taken back takes its own discount with it, and none of today's`() throws {
        let november = try interval("2026-11-01", "2026-12-01")
        func invoice(
            _ kind: Invoice.Kind,
            _ scope: InvoicedPeriod.Scope,
            _ quantity: String,
            percent: Int64,
            invoiced: [InvoiceItemKey: InvoicedAmount] = [:]
        ) throws -> Invoice {
            let segment = InvoicedSegment(active: .allTime, usage: [try usage(quantity, at: "1")])
            let period = InvoicedPeriod(
                index: 0,
                interval: november,
                scope: scope,
                segments: [segment],
                invoiced: invoiced
            )
            return try Invoice(
                kind: kind,
                period: november,
                periods: [period],
                discounts: [.percent(FixedDecimal(percent))],
                currency: .usd
            )
        }
        var invoiced: [InvoiceItemKey: InvoicedAmount] = [:]
        for line in try invoice(.regular, .whole, "100", percent: 50).lines { try invoiced.add(line) }
        let less = try invoice(.adjustment, .again, "40", percent: 10, invoiced: invoiced)
        #expect(less.lines.map(\.amount.description) == ["-60"])
        #expect(less.lines.map(\.discount.description) == ["-30"])
        #expect(less.discounts == [.zero])
        #expect(less.totals.carriedForward == FixedDecimal(30))
        for line in less.lines { try invoiced.add(line) }
        let nothing = try invoice(.adjustment, .again, "0", percent: 10, invoiced: invoiced)
        #expect(nothing.totals.carriedForward == FixedDecimal(20))
    }

    @Test func `a currency without minor units rounds to whole ones`() throws {
        let invoice = try regular(usage: [usage("1", at: "0.5")], fees: [], currency: .jpy)
        #expect(invoice.lines.map(\.amount) == [.one])
    }

    @Test func `an amount beyond the range is refused, not wrapped`() throws {
        #expect(throws: DecimalError.outOfRange) { try regular(usage: [usage("1e20", at: "1e20")]) }
        let large = try [1, 2].map { try usage("1", at: "9e25", feature: $0) }
        #expect(throws: DecimalError.outOfRange) { try regular(usage: large) }
    }

    @Test func `a trillion tokens at a small price are rated exactly`() throws {
        let invoice = try regular(usage: [usage("1000000000000", at: "0.000000025")], fees: [])
        #expect(invoice.totals.total.description == "25000")
    }

    @Test func `the order is discounts, commitment, included and promotional credit, tax, prepaid credit`() throws {
        let vat = TaxRate(key: "vat", name: "VAT", percent: FixedDecimal(19))
        let invoice = try regular(
            usage: [usage("40", at: "1")],
            commitment: "50",
            included: "5",
            discounts: [.percent(FixedDecimal(10))],
            credits: [credit(1, .promotional, "7"), credit(2, .prepaid, "100")],
            tax: TaxTreatment(rates: [vat])
        )
        // Fees 9.99 and 20, usage 40; a tenth off each; 50 - 36 are missing to the commitment.
        #expect(invoice.lines.map(\.amount.description) == ["9.99", "20", "40", "14"])
        #expect(invoice.lines.map(\.discount.description) == ["1", "2", "4", "0"])
        // 5 over 8.99, 36 and 14; the fee in advance is not November's.
        #expect(invoice.lines.map(\.includedCredit.description) == ["0.76", "0", "3.05", "1.19"])
        #expect(invoice.totals.credits.description == "12")
        #expect(invoice.totals.subtotal.description == "83.99")
        #expect(try invoice.totals.total == decimal("64.99").adding(invoice.totals.tax))
        #expect(invoice.totals.paidByCredit == invoice.totals.total)
        #expect(invoice.totals.due == .zero)
    }

    @Test func `tiers continue over a change of plan`() throws {
        let price = Price.graduated([
            PriceTier(upTo: FixedDecimal(100), unitAmount: .one, flatAmount: .zero),
            PriceTier(upTo: nil, unitAmount: try decimal("0.5"), flatAmount: FixedDecimal(3)),
        ])
        let later = PricedUsage(
            feature: FeatureID(1),
            price: price,
            before: UsageTotal(quantity: FixedDecimal(60), eventCount: 1),
            through: UsageTotal(quantity: FixedDecimal(140), eventCount: 2)
        )
        #expect(try later.charge(for: .whole).description == "63")
        let parts = try later.breakdown(of: later.charge(for: .whole))
        #expect(parts.map(\.quantity.description) == ["40", "40"])
        #expect(parts.map(\.amount.description) == ["40", "23"])
    }

    @Test func `late usage becomes the difference to what was invoiced, commitment and included credit too`() throws {
        let first = try regular(usage: [usage("40", at: "1")], commitment: "50", included: "45", fees: [])
        #expect(first.totals.total.description == "5")
        let segment = InvoicedSegment(
            active: .allTime,
            minimumCommitment: FixedDecimal(50),
            includedCredit: FixedDecimal(45),
            usage: [try usage("47.5", at: "1")]
        )
        let more = try again(segment, after: first)
        #expect(more.lines.map(\.amount.description) == ["7.5", "-7.5"])
        #expect(more.lines.allSatisfy { $0.kind == .adjustment })
        #expect(more.totals.total == .zero)
        // Without its usage the period owes the commitment less the credit; with neither, what was paid is owed back.
        let nothing = try again(InvoicedSegment(active: .allTime, usage: [try usage("0", at: "1")]), after: first)
        #expect(nothing.totals.carriedForward.description == "5")
        #expect(nothing.totals.total == .zero)
    }

    @Test func `what included credit had paid for of others goes back with the tax that those were charged`() throws {
        func vat(_ percent: Int64) -> TaxTreatment {
            TaxTreatment(rates: [TaxRate(key: "vat\(percent)", name: "VAT", percent: FixedDecimal(percent))])
        }
        let usage = [try usage("50", at: "1"), try usage("150", at: "1", feature: 2)]
        let first = try regular(usage: usage, included: "100", tax: vat(19), fees: [])
        #expect(taxes(of: first) == ["vat19 4.75", "vat19 14.25"])
        func again(_ quantities: [String], included: Int64) throws -> Invoice {
            let usage = [try self.usage(quantities[0], at: "1"), try self.usage(quantities[1], at: "1", feature: 2)]
            let segment = InvoicedSegment(active: .allTime, includedCredit: FixedDecimal(included), usage: usage)
            return try self.again(segment, after: first, tax: vat(20))
        }
        // 25 of the 50 are its own, 25 the other's.
        let without = try again(["0", "150"], included: 100)
        #expect(taxes(of: without) == ["vat20 0, vat19 -9.5"])
        #expect(without.totals.carriedForward.description == "59.5")
        // More credit than was given goes back as all of it was taxed, and what is charged more has the rate of now.
        let more = try again(["60", "150"], included: 110)
        #expect(more.lines.map(\.amount.description) == ["10", "-10"])
        #expect(taxes(of: more) == ["vat20 2", "vat20 0, vat19 -1.9"])
        // Nothing is left of it, and no tax.
        let nothing = try again(["0", "0"], included: 100)
        #expect(nothing.totals.carriedForward.description == "119")
    }

    /// What November, which an invoice has charged, comes to now beyond that.
    private func again(
        _ segment: InvoicedSegment,
        after invoice: Invoice,
        tax: TaxTreatment = .none
    ) throws -> Invoice {
        var invoiced: [InvoiceItemKey: InvoicedAmount] = [:]
        for line in invoice.lines { try invoiced.add(line) }
        let november = try interval("2026-11-01", "2026-12-01")
        return try Invoice(
            kind: .adjustment,
            period: november,
            periods: [
                InvoicedPeriod(index: 0, interval: november, scope: .again, segments: [segment], invoiced: invoiced)
            ],
            tax: tax,
            currency: .usd
        )
    }

    /// Those of each line.
    private func taxes(of invoice: Invoice) -> [String] {
        invoice.lines.map { line in
            line.taxes.map { "\($0.rateKey) \($0.amount)" }.joined(separator: ", ")
        }
    }

    @Test func `credits are used by priority, expiry, age and id`() throws {
        let credits = try [
            credit(5, .prepaid, "1", created: "2026-10-02"), credit(4, .prepaid, "1", created: "2026-10-02"),
            credit(3, .prepaid, "1", created: "2026-10-01"), credit(2, .prepaid, "1", expires: "2026-12-31"),
            credit(1, .prepaid, "1", priority: -1),
        ]
        let invoice = try regular(usage: [usage("4.5", at: "1")], credits: credits, fees: [])
        #expect(invoice.credits.map(\.id.low) == [1, 2, 3, 4, 5])
        #expect(invoice.credits.map(\.amount.description) == ["1", "1", "1", "1", "0.5"])
    }

    @Test func `reverse charge leaves the tax to the customer`() throws {
        let tax = TaxTreatment(
            rates: [TaxRate(key: "vat", name: "VAT", percent: FixedDecimal(19))],
            isReverseCharge: true
        )
        let invoice = try regular(usage: [usage("100", at: "1")], tax: tax, fees: [])
        #expect(invoice.totals.tax == .zero && invoice.totals.total == FixedDecimal(100))
        #expect(tax.dueRates.isEmpty)
    }

    private func credit(
        _ id: UInt64,
        _ kind: AvailableCredit.Kind,
        _ amount: String,
        priority: Int = 0,
        expires: String? = nil,
        created: String = "2026-10-01"
    ) throws -> AvailableCredit {
        AvailableCredit(
            id: UUIDv7(high: 0x7000, low: id),
            kind: kind,
            priority: priority,
            expiresAt: try expires.map(instant),
            createdAt: try instant(created),
            remaining: try decimal(amount)
        )
    }
}

extension InvoicedSegment {
    /// The segment without fees of a timing: a period's own fees in advance stand on the invoice before.
    func without(_ timing: Fee.Timing) -> InvoicedSegment {
        InvoicedSegment(
            ordinal: ordinal,
            active: active,
            fees: fees.filter { $0.charged != timing },
            minimumCommitment: minimumCommitment,
            includedCredit: includedCredit,
            usage: usage
        )
    }
}
