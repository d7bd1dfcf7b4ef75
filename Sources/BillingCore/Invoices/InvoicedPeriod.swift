/// The part of a billing period under one plan version, with everything that is charged for it.
package struct InvoicedSegment: Sendable, Hashable {
    /// The segment's position among those of the subscription.
    package let ordinal: Int
    /// When the segment is in force; it may reach beyond the period.
    package let active: Interval
    package let fees: [Fee]
    /// For a whole period.
    package let minimumCommitment: FixedDecimal
    /// For a whole period.
    package let includedCredit: FixedDecimal
    package let usage: [PricedUsage]

    package init(
        ordinal: Int = 0,
        active: Interval,
        fees: [Fee] = [],
        minimumCommitment: FixedDecimal = .zero,
        includedCredit: FixedDecimal = .zero,
        usage: [PricedUsage] = []
    ) {
        self.ordinal = ordinal
        self.active = active
        self.fees = fees
        self.minimumCommitment = minimumCommitment
        self.includedCredit = includedCredit
        self.usage = usage
    }
}

/// A billing period as an invoice charges for it.
package struct InvoicedPeriod: Sendable {
    /// Which of the period's items an invoice has, and as what.
    package enum Scope: Sendable, Hashable {
        /// Only its fees in advance, before or at its start.
        case advanceFees
        /// Everything: the period that the invoice is for.
        case whole
        /// Everything again, after an invoice for it: what changed since is an adjustment.
        case again
    }

    package let index: Int
    package let interval: Interval
    package let scope: Scope
    /// By ascending start.
    package let segments: [InvoicedSegment]
    /// What invoices that are not void have charged for its items.
    package let invoiced: [InvoiceItemKey: InvoicedAmount]

    package init(
        index: Int,
        interval: Interval,
        scope: Scope,
        segments: [InvoicedSegment],
        invoiced: [InvoiceItemKey: InvoicedAmount] = [:]
    ) {
        self.index = index
        self.interval = interval
        self.scope = scope
        self.segments = segments
        self.invoiced = invoiced
    }
}

extension InvoicedPeriod {
    /// The sum of an amount for a whole period over the segments, each for its part of the period: divided once, so
    /// that nothing is cut off before it is summed.
    func prorated(_ amount: (InvoicedSegment) -> FixedDecimal) throws(DecimalError) -> ExactAmount {
        guard !interval.isEmpty else { return .zero }
        var total = ExactAmount.zero
        for segment in segments {
            let part = interval.intersection(segment.active)?.microseconds ?? 0
            let product = try ExactAmount(amount(segment)).multiplied(byNumerator: part, denominator: 1)
            total = try total.adding(product)
        }
        return try total.multiplied(byNumerator: 1, denominator: interval.microseconds)
    }

    /// What the period is charged for before commitment and credits: fees in arrears, fees in advance, then usage.
    func charges(currency: Currency) throws(DecimalError) -> [InvoiceLine] {
        var lines: [InvoiceLine] = []
        for timing in [Fee.Timing.inArrears, .inAdvance] where scope != .advanceFees || timing == .inAdvance {
            for segment in segments {
                for fee in segment.fees where fee.charged == timing {
                    guard let covered = interval.intersection(segment.active) else { continue }
                    let exact = try Proration(of: interval, within: segment.active).amount(of: fee.amount)
                    try append(.fee(fee), exact, covered, segment.ordinal, currency, to: &lines)
                }
            }
        }
        if scope != .advanceFees { try appendUsage(to: &lines, currency: currency) }
        return try lines + vanished(from: lines, currency: currency)
    }

    private func appendUsage(to lines: inout [InvoiceLine], currency: Currency) throws(DecimalError) {
        for segment in segments {
            guard let covered = interval.intersection(segment.active) else { continue }
            for usage in segment.usage {
                let exact = try usage.charge(for: Proration(of: interval, within: segment.active))
                if segments.count > 1, usage.isUnused, exact.isZero { continue }
                try append(.usage(usage), exact, covered, segment.ordinal, currency, to: &lines)
            }
        }
    }

    /// A line for the difference to what was invoiced for the item; none where that is nothing.
    private func append(
        _ item: InvoiceItem,
        _ exact: ExactAmount,
        _ covered: Interval,
        _ segment: Int?,
        _ currency: Currency,
        to lines: inout [InvoiceLine]
    ) throws(DecimalError) {
        let key = InvoiceItemKey(periodIndex: index, segment: segment, item: item.key)
        let before = invoiced[key]
        if before?.isLeftToReissue == true { return }
        lines.append(
            try InvoiceLine(
                item: item,
                key: key,
                period: covered,
                exact: exact,
                previouslyInvoiced: before?.amount ?? .zero,
                isAdjustment: scope == .again || before != nil,
                currency: currency
            )
        )
    }

    /// Lines that take back what was invoiced for items that the period no longer has.
    private func vanished(from lines: [InvoiceLine], currency: Currency) throws(DecimalError) -> [InvoiceLine] {
        let present = Set(lines.map(\.key))
        var taken: [InvoiceLine] = []
        for (key, before) in invoiced where !present.contains(key) && !before.amount.isZero {
            guard belongs(before.item), !before.isLeftToReissue else { continue }
            taken.append(
                try InvoiceLine(
                    item: before.item,
                    key: key,
                    period: interval,
                    exact: .zero,
                    previouslyInvoiced: before.amount,
                    isAdjustment: true,
                    currency: currency
                )
            )
        }
        return taken.sorted { $0.key.description < $1.key.description }
    }
}

extension InvoicedPeriod {
    /// Whether `charges` makes lines of such items.
    private func belongs(_ item: InvoiceItem) -> Bool {
        switch item {
        case .fee(let fee): scope != .advanceFees || fee.charged == .inAdvance
        case .usage: scope != .advanceFees
        case .commitment, .includedCredit: false
        }
    }
}

extension InvoiceItemKey: CustomStringConvertible {
    /// `3/0/fee/platform/in_advance`, `3/0/usage/12/`, `3//commitment`: sorts the items of a period.
    package var description: String {
        let name =
            switch item {
            case .fee(let key, let charged): "fee/\(key)/\(charged.rawValue)"
            case .usage(let feature, let cell): "usage/\(feature)/\(cell)"
            case .commitment: "commitment"
            case .includedCredit: "included_credit"
            }
        return "\(periodIndex)/\(segment.map(String.init) ?? "")/\(name)"
    }
}
