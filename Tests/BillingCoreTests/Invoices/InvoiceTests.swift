import BillingCore
import Testing

@Suite struct InvoiceTests {
    private func instant(_ text: String) throws -> Instant { try Instant(parsing: text + "T00:00:00Z") }

    private func interval(_ start: String, _ end: String) throws -> Interval {
        try Interval(start: instant(start), end: instant(end))
    }

    private func fees() throws -> [Fee] {
        [
            Fee(key: "platform", name: "Platform fee", amount: FixedDecimal(20), charged: .inAdvance),
            Fee(key: "support", name: "Support", amount: try FixedDecimal(parsing: "9.99"), charged: .inArrears),
        ]
    }

    private func usage(_ quantity: String, at unitAmount: String) throws -> PricedUsage {
        PricedUsage(
            feature: FeatureID(1),
            price: .perUnit(unitAmount: try FixedDecimal(parsing: unitAmount)),
            total: UsageTotal(quantity: try FixedDecimal(parsing: quantity), eventCount: 1)
        )
    }

    private func regular(until end: String? = nil, usage: [PricedUsage] = []) throws -> Invoice {
        try Invoice.regular(
            period: interval("2026-11-01", "2026-12-01"),
            nextPeriod: interval("2026-12-01", "2027-01-01"),
            active: Interval(start: instant("2026-11-01"), end: end.map(instant) ?? .maximum),
            fees: fees(),
            usage: usage,
            currency: .usd
        )
    }

    @Test func `the opening invoice has the first fees in advance`() throws {
        let invoice = try Invoice.opening(
            period: interval("2026-11-01", "2026-12-01"),
            active: Interval(start: instant("2026-11-01"), end: .maximum),
            fees: fees(),
            currency: .usd
        )
        #expect(invoice.kind == .opening)
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
        let half = try usage("1", at: "0.005")
        let invoice = try regular(until: "2026-12-01", usage: [half, half, half])
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
        let invoice = try regular(until: "2026-12-11")
        #expect(invoice.lines.map(\.amount.description) == ["9.99", "6.45"])
    }

    @Test func `nothing is invoiced for a period in which the subscription was not active`() throws {
        let invoice = try regular(until: "2026-11-01", usage: [usage("5", at: "1")])
        #expect(invoice.lines.isEmpty && invoice.totals.total == .zero)
    }

    @Test func `a currency without minor units rounds to whole ones`() throws {
        let line = try InvoiceLine(
            usage: usage("1", at: "0.5"),
            of: interval("2026-11-01", "2026-12-01"),
            active: .allTime,
            currency: .jpy
        )
        #expect(line?.amount == .one)
    }

    @Test func `an amount beyond the range is refused, not wrapped`() throws {
        #expect(throws: DecimalError.outOfRange) { try regular(usage: [usage("1e20", at: "1e20")]) }
        let large = try usage("1", at: "9e25")
        #expect(throws: DecimalError.outOfRange) { try regular(usage: [large, large]) }
    }
}
