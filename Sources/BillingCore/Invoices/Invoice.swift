/// An invoice as arithmetic: its lines and what they add up to. Numbers, status and dates belong to the stored
/// document.
package struct Invoice: Sendable, Hashable {
    /// What an invoice is for, by its name in the API.
    package enum Kind: String, Sendable, Hashable {
        /// The fees in advance of a subscription's first period.
        case opening
        /// A period's usage and fees in arrears, and the next period's fees in advance.
        case regular
    }

    package let kind: Kind
    /// The period the invoice is about; fees in advance may cover the next.
    package let period: Interval
    package let currency: Currency
    /// Fees first, then usage, each in the order given.
    package let lines: [InvoiceLine]
    package let totals: InvoiceTotals

    /// The invoice at the start of a subscription.
    ///
    /// `active` is the time from the subscription's start to its end, or to `Instant.maximum` without one; a fee whose
    /// period lies only partly in it is prorated. Throws `.outOfRange` when an amount is 10^26 or more.
    package static func opening(
        period: Interval,
        active: Interval,
        fees: [Fee],
        currency: Currency
    ) throws(DecimalError) -> Invoice {
        var lines: [InvoiceLine] = []
        try append(fees, charged: .inAdvance, of: period, active: active, currency: currency, to: &lines)
        return try Invoice(kind: .opening, period: period, currency: currency, lines: lines)
    }

    /// The invoice of a period: its usage and fees in arrears, and the fees in advance of the period that follows.
    ///
    /// `active` is as for `opening`: after the subscription's end there are no fees in advance. Throws `.outOfRange`
    /// when an amount is 10^26 or more.
    package static func regular(
        period: Interval,
        nextPeriod: Interval,
        active: Interval,
        fees: [Fee],
        usage: [PricedUsage],
        currency: Currency
    ) throws(DecimalError) -> Invoice {
        var lines: [InvoiceLine] = []
        try append(fees, charged: .inArrears, of: period, active: active, currency: currency, to: &lines)
        try append(fees, charged: .inAdvance, of: nextPeriod, active: active, currency: currency, to: &lines)
        for usage in usage {
            let line = try InvoiceLine(usage: usage, of: period, active: active, currency: currency)
            if let line { lines.append(line) }
        }
        return try Invoice(kind: .regular, period: period, currency: currency, lines: lines)
    }

    private init(kind: Kind, period: Interval, currency: Currency, lines: [InvoiceLine]) throws(DecimalError) {
        self.kind = kind
        self.period = period
        self.currency = currency
        self.lines = lines
        totals = try InvoiceTotals(lines: lines)
    }

    private static func append(
        _ fees: [Fee],
        charged timing: Fee.Timing,
        of period: Interval,
        active: Interval,
        currency: Currency,
        to lines: inout [InvoiceLine]
    ) throws(DecimalError) {
        for fee in fees where fee.charged == timing {
            let line = try InvoiceLine(fee: fee, of: period, active: active, currency: currency)
            if let line { lines.append(line) }
        }
    }
}

/// What the lines of an invoice add up to.
package struct InvoiceTotals: Sendable, Hashable {
    /// The sum of the rounded lines.
    package let total: FixedDecimal

    /// Throws `.outOfRange` when the sum is 10^26 or more.
    package init(lines: [InvoiceLine]) throws(DecimalError) {
        var total = FixedDecimal.zero
        for line in lines { total = try total.adding(line.amount) }
        self.total = total
    }
}
