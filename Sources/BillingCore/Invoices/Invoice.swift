/// An invoice as arithmetic: its lines and what they add up to. Numbers, status and dates belong to the stored
/// document.
///
/// The order: fees and usage; discounts; what is missing to the minimum commitment; included credit, then promotional
/// credit, spread over the lines; tax of each line; prepaid credit as payment.
package struct Invoice: Sendable, Hashable {
    /// What an invoice is for, by its name in the API.
    package enum Kind: String, Sendable, Hashable, CaseIterable {
        /// The fees in advance of a subscription's first period.
        case opening
        /// A period's usage and fees in arrears, the next period's fees in advance, and adjustments of earlier periods.
        case regular
        /// Adjustments of a subscription that no regular invoice will follow.
        case adjustment
    }

    package let kind: Kind
    /// The period the invoice is about; fees in advance may cover the next.
    package let period: Interval
    package let currency: Currency
    package let lines: [InvoiceLine]
    /// What each discount took off, in the order given.
    package let discounts: [FixedDecimal]
    /// Promotional credit that lowers the lines, then prepaid credit that pays.
    package let credits: [CreditUse]
    /// Promotional credit that goes back with what lines take back; by ascending id. `credits` may use it at once.
    /// What credit notes had given back is no part of it.
    package let returned: [CreditUse]
    package let totals: InvoiceTotals

    /// - Parameters:
    ///   - periods: what is charged, in the order in which it is to stand on the invoice.
    ///   - credits: what the tenant has, in any order; also those that are used up and may get something back.
    /// - Throws: `.outOfRange` when an amount is 10^26 or more.
    package init(
        kind: Kind,
        period: Interval,
        periods: [InvoicedPeriod],
        discounts: [Discount] = [],
        credits available: [AvailableCredit] = [],
        tax: TaxTreatment = .none,
        currency: Currency
    ) throws(DecimalError) {
        var lines: [InvoiceLine] = []
        for period in periods { lines += try period.charges(currency: currency) }
        lines = lines.filter { !$0.isEmpty }
        var taken: [FixedDecimal] = []
        var items: [DiscountedItem] = []
        for period in periods {
            for item in try period.items(of: lines) where lines[item.lines[0]].isDiscountable {
                items.append(try DiscountedItem(item, of: lines, currency: currency))
            }
        }
        for discount in discounts { taken.append(try discount.apply(to: &items, currency: currency)) }
        for item in items { try item.spread(over: &lines, currency: currency) }
        for period in periods where period.scope != .advanceFees {
            try period.addCommitment(to: &lines, currency: currency)
            try period.giveIncludedCredit(to: &lines, currency: currency)
        }
        var returned = CreditParts()
        for period in periods {
            try returned.add(period.giveBackPromotionalCredit(to: &lines, currency: currency))
        }
        let promotional = try Self.spread(
            try available.receiving(returned),
            over: &lines,
            of: periods,
            currency: currency
        )
        for period in periods { try period.tax(&lines, by: tax, currency: currency) }
        let unpaid = try InvoiceTotals(lines: lines, isTaxInclusive: tax.isInclusive, payments: [])
        let payments = try available.using(unpaid.total, of: .prepaid, currency: currency)
        self.kind = kind
        self.period = period
        self.currency = currency
        self.lines = lines.inOrder
        self.discounts = taken
        self.credits = promotional + payments
        self.returned = returned.grants.sorted { $0.key < $1.key }.map {
            CreditUse(id: $0.key, kind: .promotional, amount: $0.value)
        }
        totals = try InvoiceTotals(lines: lines, isTaxInclusive: tax.isInclusive, payments: payments)
    }

    private static func spread(
        _ available: [AvailableCredit],
        over lines: inout [InvoiceLine],
        of periods: [InvoicedPeriod],
        currency: Currency
    ) throws(DecimalError) -> [CreditUse] {
        var payable = lines.map { _ in FixedDecimal.zero }
        for period in periods {
            for (line, amount) in try period.payableByPromotionalCredit(lines, currency: currency) {
                payable[line] = amount
            }
        }
        var (left, most) = (FixedDecimal.zero, FixedDecimal.zero)
        for (line, amount) in zip(lines, payable) {
            left = try left.adding(line.net)
            most = try most.adding(amount)
        }
        let uses = try available.using(max(min(left, most), .zero), of: .promotional, currency: currency)
        var used = FixedDecimal.zero
        for use in uses { used = try used.adding(use.amount) }
        let shares = try LargestRemainder.split(used, over: payable, currency: currency)
        var rest = uses[...]
        for (index, share) in zip(lines.indices, shares) {
            try lines[index].give(try rest.takeFirst(share))
        }
        return uses
    }
}

extension ArraySlice<CreditUse> {
    /// Takes an amount off the first ones, which are used up before the next.
    fileprivate mutating func takeFirst(_ amount: FixedDecimal) throws(DecimalError) -> CreditParts {
        var (left, taken) = (amount, CreditParts())
        while left > .zero, let use = popFirst() {
            let part = Swift.min(left, use.amount)
            try taken.add(CreditParts([.grant(use.id): part]))
            left = try left.subtracting(part)
            let rest = try use.amount.subtracting(part)
            if rest > .zero { insert(CreditUse(id: use.id, kind: use.kind, amount: rest), at: startIndex) }
        }
        return taken
    }
}

extension [InvoiceLine] {
    /// What the invoice is for comes first: fees, then usage, then commitment; adjustments last. Equals stay in order.
    fileprivate var inOrder: [InvoiceLine] {
        let ranks: [InvoiceLine.Kind: Int] = [.fee: 0, .usage: 1, .commitment: 2, .adjustment: 3]
        return enumerated().sorted { left, right in
            let (first, second) = (ranks[left.element.kind] ?? 0, ranks[right.element.kind] ?? 0)
            return first == second ? left.offset < right.offset : first < second
        }.map(\.element)
    }
}

extension InvoicedPeriod {
    /// Adds what is missing to the minimum commitment, after discounts, over everything invoiced for the period.
    fileprivate func addCommitment(to lines: inout [InvoiceLine], currency: Currency) throws(DecimalError) {
        let key = InvoiceItemKey(periodIndex: index, segment: nil, item: .commitment)
        let before = invoiced[key]
        let committed = try prorated(\.minimumCommitment)
        guard !committed.isZero || before != nil else { return }
        var used = FixedDecimal.zero
        for (key, amount) in invoiced {
            if case .usage = key.item { used = try used.adding(amount.discounted) }
        }
        for line in lines where line.key.periodIndex == index && line.isUsage {
            used = try used.adding(line.amount).subtracting(line.discount)
        }
        let missing = try committed.subtracting(ExactAmount(used))
        let line = try InvoiceLine(
            item: .commitment,
            key: key,
            period: covered,
            exact: missing.isNegative ? .zero : missing,
            previouslyInvoiced: before?.amount ?? .zero,
            isAdjustment: scope == .again || before != nil,
            currency: currency
        )
        if !line.amount.isZero { lines.append(line) }
    }

    /// Gives the included credit to the period's own lines; where it was given before, a line says what changes.
    fileprivate func giveIncludedCredit(to lines: inout [InvoiceLine], currency: Currency) throws(DecimalError) {
        var (charged, given) = (FixedDecimal.zero, FixedDecimal.zero)
        for (key, amount) in invoiced {
            given = try given.adding(amount.includedCredit)
            if key.item == .includedCredit { given = try given.subtracting(amount.amount) }
            if amount.item.isCoveredByIncludedCredit { charged = try charged.adding(amount.discounted) }
        }
        let own = lines.indices.filter {
            lines[$0].key.periodIndex == index && lines[$0].isCoveredByIncludedCredit
        }
        var nets: [FixedDecimal] = []
        for line in own {
            nets.append(try lines[line].net)
            charged = try charged.adding(lines[line].amount).subtracting(lines[line].discount)
        }
        let included = try prorated(\.includedCredit).rounded(toDigits: currency.minorUnits)
        let due = min(included, max(charged, .zero))
        if scope == .whole, !invoiced.values.contains(where: \.item.isCoveredByIncludedCredit) {
            let shares = try LargestRemainder.split(due, over: nets, currency: currency)
            for (line, share) in zip(own, shares) { lines[line].includedCredit = share }
            return
        }
        guard due != given else { return }
        let line = try InvoiceLine(
            item: .includedCredit,
            key: InvoiceItemKey(periodIndex: index, segment: nil, item: .includedCredit),
            period: covered,
            exact: ExactAmount(due.negated),
            previouslyInvoiced: given.negated,
            isAdjustment: true,
            currency: currency
        )
        lines.append(line)
    }

    /// The part of the period in which any segment is in force.
    private var covered: Interval {
        let parts = segments.compactMap { interval.intersection($0.active) }
        guard let first = parts.map(\.start).min(), let last = parts.map(\.end).max() else { return interval }
        return Interval(start: first, end: last)
    }
}
