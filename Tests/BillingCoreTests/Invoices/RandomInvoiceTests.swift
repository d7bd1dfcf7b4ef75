import BillingCore
import TestSupport
import Testing

/// What holds for every invoice, over ten thousand random ones in currencies of 0, 2 and 3 digits.
@Suite struct RandomInvoiceTests {
    @Test(arguments: [Currency.usd, .jpy, .kwd])
    func `lines add up, splits conserve, credits never exceed, taxes are consistent`(_ currency: Currency) async throws
    {
        var random = RandomInvoice(seed: UInt64(currency.minorUnits) + 77, currency: currency)
        for round in 0..<3_400 {
            if round % 20 == 0 { await Task.yield() }
            let story = try random.story()
            let invoice = try story.invoice()
            try addUp(invoice, story)
            try conserve(invoice, story)
            try taxesAreConsistent(invoice, story)
        }
    }

    @Test(arguments: [Currency.usd, .jpy, .kwd])
    func `an invoice and its adjustment come to what one invoice would have`(_ currency: Currency) async throws {
        var random = RandomInvoice(seed: UInt64(currency.minorUnits) + 99, currency: currency)
        for round in 0..<700 {
            if round % 20 == 0 { await Task.yield() }
            var story = try random.story()
            story.discounts = []
            story.credits = []
            var invoiced: [InvoiceItemKey: InvoicedAmount] = [:]
            for line in try story.invoice().lines where line.key.periodIndex == 0 { try invoiced.add(line) }
            #expect(try story.again(invoiced).lines.isEmpty)
            story.segments = try random.segments()
            let fresh = try story.invoice().lines.filter { $0.key.periodIndex == 0 }
            let adjustment = try story.again(invoiced)
            for line in adjustment.lines { try invoiced.add(line) }
            var expected: [InvoiceItemKey: InvoicedAmount] = [:]
            for line in fresh { try expected.add(line) }
            #expect(try Self.sum(invoiced) == Self.sum(expected))
            for (key, amount) in expected where key.item != .includedCredit {
                #expect(invoiced[key]?.amount ?? .zero == amount.amount, "\(key)")
            }
        }
    }

    private static func sum(_ invoiced: [InvoiceItemKey: InvoicedAmount]) throws -> FixedDecimal {
        var sum = FixedDecimal.zero
        for amount in invoiced.values { sum = try sum.adding(amount.amount).subtracting(amount.includedCredit) }
        return sum
    }

    private func addUp(_ invoice: Invoice, _ story: RandomInvoice.Story) throws {
        var (subtotal, net, tax) = (FixedDecimal.zero, FixedDecimal.zero, FixedDecimal.zero)
        for line in invoice.lines {
            let rounded = try line.amountUnrounded.rounded(toDigits: invoice.currency.minorUnits)
            #expect(try line.amount.adding(line.previouslyInvoiced) == rounded)
            for part in try [line.amount, line.discount, line.net, line.tax] {
                #expect(try ExactAmount(part).rounded(toDigits: invoice.currency.minorUnits) == part)
            }
            subtotal = try subtotal.adding(line.amount)
            net = try net.adding(line.net)
            tax = try tax.adding(line.tax)
            var tiers = ExactAmount.zero
            for tier in line.tiers { tiers = try tiers.adding(tier.amount) }
            if case .usage = line.item { #expect(tiers == line.amountUnrounded) }
        }
        let totals = invoice.totals
        #expect(totals.subtotal == subtotal && totals.tax == tax)
        let sum = story.tax.isInclusive ? net : try net.adding(tax)
        #expect(try totals.total.subtracting(totals.carriedForward) == sum)
        #expect(totals.total.isZero || totals.carriedForward.isZero)
        #expect(try totals.subtotal.subtracting(totals.discount).subtracting(totals.credits) == net)
        #expect(try totals.due.adding(totals.paidByCredit) == totals.total)
        #expect(!totals.due.isNegative && !totals.total.isNegative && !totals.carriedForward.isNegative)
    }

    private func conserve(_ invoice: Invoice, _ story: RandomInvoice.Story) throws {
        var used: [UUIDv7: FixedDecimal] = [:]
        var (promotional, prepaid) = (FixedDecimal.zero, FixedDecimal.zero)
        for use in invoice.credits {
            #expect(use.amount > .zero)
            used[use.id] = try (used[use.id] ?? .zero).adding(use.amount)
            switch use.kind {
            case .promotional: promotional = try promotional.adding(use.amount)
            case .prepaid: prepaid = try prepaid.adding(use.amount)
            }
        }
        for credit in story.credits { #expect((used[credit.id] ?? .zero) <= credit.remaining) }
        #expect(prepaid == invoice.totals.paidByCredit)
        var (given, included, discount) = (FixedDecimal.zero, FixedDecimal.zero, FixedDecimal.zero)
        for line in invoice.lines {
            given = try given.adding(line.promotionalCredit)
            included = try included.adding(line.includedCredit)
            discount = try discount.adding(line.discount)
            #expect(!line.promotionalCredit.isNegative && !line.includedCredit.isNegative)
            if line.amount > .zero { #expect(try !line.net.isNegative) }
        }
        #expect(given == promotional)
        var taken = FixedDecimal.zero
        for part in invoice.discounts { taken = try taken.adding(part) }
        #expect(discount == taken)
        try discountsAreOfTheSum(invoice)
        var most = FixedDecimal.zero
        for segment in story.segments { most = try most.adding(segment.includedCredit) }
        #expect(included <= most)
    }

    /// Of one fee or usage over all segments no more than it comes to, but for the rounding of each line.
    private func discountsAreOfTheSum(_ invoice: Invoice) throws {
        let unit = try FixedDecimal(parsing: "1e-\(invoice.currency.minorUnits)")
        for (key, lines) in Dictionary(grouping: invoice.lines, by: { "\($0.key.periodIndex) \($0.key.item)" }) {
            var (amount, discount, tolerance) = (FixedDecimal.zero, FixedDecimal.zero, FixedDecimal.zero)
            for line in lines {
                amount = try amount.adding(line.amount)
                discount = try discount.adding(line.discount)
                if lines.count > 1 { tolerance = try tolerance.adding(unit).adding(unit) }
            }
            #expect(try discount <= max(amount, .zero).adding(tolerance), "\(key)")
            #expect(try discount.adding(tolerance) >= .zero, "\(key)")
        }
    }

    private func taxesAreConsistent(_ invoice: Invoice, _ story: RandomInvoice.Story) throws {
        let unit = try ExactAmount(.one).multiplied(
            byNumerator: 1,
            denominator: [1, 10, 100, 1_000][invoice.currency.minorUnits]
        ).rounded(toDigits: 12)
        for line in invoice.lines {
            #expect(line.taxes.map(\.rateKey) == story.tax.dueRates.map(\.key))
            // What a tax is reckoned on: with inclusive prices the amount without its taxes.
            let base = story.tax.isInclusive ? try line.net.subtracting(line.tax) : try line.net
            for (tax, rate) in zip(line.taxes, story.tax.dueRates) {
                let exact = try base.multiplied(by: rate.percent).multiplied(byNumerator: 1, denominator: 100)
                let expected = try exact.rounded(toDigits: invoice.currency.minorUnits)
                let tolerance = story.tax.isInclusive ? unit : .zero
                #expect(try expected.subtracting(tax.amount).magnitude <= tolerance)
            }
        }
    }
}

/// Makes invoices up, by a seed.
struct RandomInvoice {
    struct Story {
        var segments: [InvoicedSegment]
        var discounts: [Discount]
        var credits: [AvailableCredit]
        var tax: TaxTreatment
        let currency: Currency

        static let period = Interval(start: Instant(microseconds: 0), end: Instant(microseconds: 2_592_000_000_000))
        static let next = Interval(start: period.end, end: period.end.adding(microseconds: 2_678_400_000_000))

        func invoice() throws -> Invoice {
            try Invoice(
                kind: .regular,
                period: Self.period,
                periods: [
                    InvoicedPeriod(index: 0, interval: Self.period, scope: .whole, segments: segments),
                    InvoicedPeriod(index: 1, interval: Self.next, scope: .advanceFees, segments: segments),
                ],
                discounts: discounts,
                credits: credits,
                tax: tax,
                currency: currency
            )
        }

        func again(_ invoiced: [InvoiceItemKey: InvoicedAmount]) throws -> Invoice {
            let period = InvoicedPeriod(
                index: 0,
                interval: Self.period,
                scope: .again,
                segments: segments,
                invoiced: invoiced
            )
            return try Invoice(kind: .adjustment, period: Self.period, periods: [period], currency: currency)
        }
    }

    private var generator: SeededGenerator
    private let currency: Currency

    init(seed: UInt64, currency: Currency) {
        generator = SeededGenerator(seed: seed)
        self.currency = currency
    }

    mutating func story() throws -> Story {
        var discounts: [Discount] = []
        for _ in 0..<below(3) {
            discounts.append(
                Bool.random(using: &generator) ? .percent(try decimal(below(1_000_001), -4)) : .amount(try money())
            )
        }
        var credits: [AvailableCredit] = []
        for index in 0..<below(5) {
            credits.append(
                AvailableCredit(
                    id: UUIDv7(high: 0x7000, low: UInt64(index)),
                    kind: Bool.random(using: &generator) ? .promotional : .prepaid,
                    priority: below(3),
                    expiresAt: Bool.random(using: &generator) ? Instant(microseconds: Int64(below(9))) : nil,
                    createdAt: Instant(microseconds: Int64(below(9))),
                    remaining: try money()
                )
            )
        }
        var rates: [TaxRate] = []
        for index in 0..<below(4) {
            rates.append(TaxRate(key: "\(index)", name: "", percent: try decimal(below(300_001), -4)))
        }
        return Story(
            segments: try segments(),
            discounts: discounts,
            credits: credits,
            tax: TaxTreatment(
                rates: rates,
                isInclusive: Bool.random(using: &generator),
                isReverseCharge: below(5) == 0
            ),
            currency: currency
        )
    }

    /// One to three, each from where the one before ends.
    mutating func segments() throws -> [InvoicedSegment] {
        let whole = Story.period.microseconds
        let count = 1 + below(3)
        var used = [UsageTotal](repeating: .zero, count: 3)
        var start = Story.period.start
        var segments: [InvoicedSegment] = []
        for ordinal in 0..<count {
            let isLast = ordinal == count - 1
            let end = isLast ? Instant.maximum : start.adding(microseconds: Int64(below(Int(whole / 3))))
            var usage: [PricedUsage] = []
            for feature in used.indices where below(4) > 0 {
                let before = used[feature]
                let quantity = try before.quantity.adding(decimal(below(10_000_000), -3))
                used[feature] = UsageTotal(quantity: quantity, eventCount: before.eventCount + 1)
                usage.append(
                    PricedUsage(
                        feature: FeatureID(Int64(feature)),
                        price: try price(),
                        before: before,
                        through: used[feature]
                    )
                )
            }
            segments.append(
                InvoicedSegment(
                    ordinal: ordinal,
                    active: Interval(start: start, end: end),
                    fees: [
                        Fee(key: "a", name: "", amount: try money(), charged: .inAdvance),
                        Fee(key: "b", name: "", amount: try money(), charged: .inArrears),
                    ],
                    minimumCommitment: below(2) == 0 ? .zero : try money(),
                    includedCredit: below(2) == 0 ? .zero : try money(),
                    usage: usage
                )
            )
            start = end
        }
        return segments
    }

    private mutating func price() throws -> Price {
        guard below(2) == 0 else { return .perUnit(unitAmount: try decimal(below(1_000_000), -7)) }
        return .graduated([
            PriceTier(upTo: FixedDecimal(2_000), unitAmount: try decimal(below(1_000), -5), flatAmount: try money()),
            PriceTier(upTo: nil, unitAmount: try decimal(below(1_000), -5), flatAmount: try money()),
        ])
    }

    private mutating func money() throws -> FixedDecimal { try decimal(below(200_000), -currency.minorUnits) }

    private mutating func below(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &generator) }

    private func decimal(_ digits: Int, _ exponent: Int) throws -> FixedDecimal {
        try FixedDecimal(parsing: "\(digits)e\(exponent)")
    }
}
