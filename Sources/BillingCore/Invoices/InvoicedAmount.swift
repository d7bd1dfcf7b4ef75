/// What earlier invoices that are not void charged for an item.
///
/// What is taken back of it takes its own discount, promotional credit and taxes with it, in proportion: together, the
/// parts that make up the whole give back exactly what there was.
package struct InvoicedAmount: Sendable, Hashable {
    /// The sum of the rounded lines.
    package var amount: FixedDecimal
    /// The same after discounts.
    package var discounted: FixedDecimal
    /// The included credit that its lines were given.
    package var includedCredit: FixedDecimal
    /// The promotional credit that its lines were given, less what they gave back, by credit.
    package var promotionalCredits: [UUIDv7: FixedDecimal]
    /// What credit notes took back of its lines, without the tax unless prices contain it, by credit note; less what of
    /// that went with what lines took back since. It lowered what was paid as promotional credit does.
    package var creditNotes: [UUIDv7: FixedDecimal]
    /// The sums of the taxes of its lines, less those that credit notes took back, by the key of the rate.
    package var taxes: [String: FixedDecimal]
    /// Whether a voided invoice charged it, and the reissue of that invoice charges what is missing: no other does.
    package var isLeftToReissue: Bool
    /// The item as it was charged last, for a line that takes it back whole.
    package var item: InvoiceItem

    package init(
        amount: FixedDecimal,
        discounted: FixedDecimal,
        includedCredit: FixedDecimal = .zero,
        promotionalCredits: [UUIDv7: FixedDecimal] = [:],
        creditNotes: [UUIDv7: FixedDecimal] = [:],
        taxes: [String: FixedDecimal] = [:],
        isLeftToReissue: Bool = false,
        item: InvoiceItem
    ) {
        self.amount = amount
        self.discounted = discounted
        self.includedCredit = includedCredit
        self.promotionalCredits = promotionalCredits
        self.creditNotes = creditNotes
        self.taxes = taxes
        self.isLeftToReissue = isLeftToReissue
        self.item = item
    }
}

extension InvoicedAmount {
    /// After discounts and included credit: what promotional credit may pay for.
    var chargeable: FixedDecimal {
        get throws(DecimalError) { try discounted.subtracting(includedCredit) }
    }

    /// After all credits that lower it: what was taxed.
    var net: FixedDecimal {
        get throws(DecimalError) {
            var net = try chargeable
            for credit in credits.values { net = try net.subtracting(credit) }
            return net
        }
    }

    /// What was paid by promotional credit, or given back by credit notes.
    var credits: [CreditSource: FixedDecimal] {
        var credits: [CreditSource: FixedDecimal] = [:]
        for (id, amount) in promotionalCredits { credits[.grant(id)] = amount }
        for (id, amount) in creditNotes { credits[.note(id)] = amount }
        return credits
    }
}

extension InvoicedAmount {
    /// Counts what was charged for the same in another segment.
    mutating func add(_ other: InvoicedAmount) throws(DecimalError) {
        amount = try amount.adding(other.amount)
        discounted = try discounted.adding(other.discounted)
        includedCredit = try includedCredit.adding(other.includedCredit)
        try promotionalCredits.add(other.promotionalCredits)
        try creditNotes.add(other.creditNotes)
        try taxes.add(other.taxes)
    }
}

extension FixedDecimal {
    /// The share of this amount that belongs to a part of a whole, `self x part / whole`, rounded half away from zero
    /// to the minor unit: all of it when the part is the whole. None where this is more than the whole, so that it
    /// can't be a share of it.
    func share(
        ofTaking part: FixedDecimal,
        from whole: FixedDecimal,
        currency: Currency
    ) throws(DecimalError) -> FixedDecimal {
        guard self > .zero, self <= whole, part > .zero else { return .zero }
        return try scaled(by: min(part, whole), over: whole, currency: currency)
    }
}

extension [InvoiceItemKey: InvoicedAmount] {
    /// Counts a line of an invoice that stands.
    package mutating func add(_ line: InvoiceLine) throws(DecimalError) {
        var sum = self[line.key] ?? InvoicedAmount(amount: .zero, discounted: .zero, item: line.item)
        sum.amount = try sum.amount.adding(line.amount)
        sum.discounted = try sum.discounted.adding(line.amount).subtracting(line.discount)
        sum.includedCredit = try sum.includedCredit.adding(line.includedCredit)
        try sum.promotionalCredits.add(line.promotionalCredits)
        try sum.creditNotes.add(line.creditedBefore)
        for tax in line.taxes { try sum.taxes.add([tax.rateKey: tax.amount]) }
        sum.item = line.item
        self[line.key] = sum
    }
}

extension [String: FixedDecimal] {
    /// Of taxes, by rate, those that go with a part of what was taxed, in proportion.
    /// - Parameters:
    ///   - part: of the whole, not below zero.
    ///   - whole: what was taxed, above zero.
    func taxes(
        goingWith part: FixedDecimal,
        of whole: FixedDecimal,
        currency: Currency
    ) throws(DecimalError) -> [String: FixedDecimal] {
        var shares: [String: FixedDecimal] = [:]
        for (rate, tax) in self {
            let share = try part.scaled(by: tax.magnitude, over: whole, currency: currency)
            if !share.isZero { shares[rate] = tax.isNegative ? share.negated : share }
        }
        return shares
    }
}

extension Dictionary where Value == FixedDecimal {
    /// Adds what another has, key by key. What comes to nothing is left out.
    package mutating func add(_ other: [Key: FixedDecimal]) throws(DecimalError) {
        for (key, amount) in other {
            let sum = try (self[key] ?? .zero).adding(amount)
            self[key] = sum.isZero ? nil : sum
        }
    }
}
