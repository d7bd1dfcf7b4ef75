/// Credit that a tenant has, as far as it may be used now.
package struct AvailableCredit: Sendable, Hashable {
    /// What a credit does, by its name in the API.
    package enum Kind: String, Sendable, Hashable, CaseIterable {
        /// Given away: it lowers what is charged, before tax.
        case promotional
        /// Paid for, or owed to the customer: it pays an invoice, after tax.
        case prepaid
    }

    package let id: UUIDv7
    package let kind: Kind
    /// Lower ones are used first.
    package let priority: Int
    package let expiresAt: Instant?
    package let createdAt: Instant
    package fileprivate(set) var remaining: FixedDecimal

    package init(
        id: UUIDv7,
        kind: Kind,
        priority: Int,
        expiresAt: Instant?,
        createdAt: Instant,
        remaining: FixedDecimal
    ) {
        self.id = id
        self.kind = kind
        self.priority = priority
        self.expiresAt = expiresAt
        self.createdAt = createdAt
        self.remaining = remaining
    }
}

/// What an invoice uses of one credit.
package struct CreditUse: Sendable, Hashable {
    package let id: UUIDv7
    package let kind: AvailableCredit.Kind
    package let amount: FixedDecimal

    package init(id: UUIDv7, kind: AvailableCredit.Kind, amount: FixedDecimal) {
        self.id = id
        self.kind = kind
        self.amount = amount
    }
}

extension [AvailableCredit] {
    /// The same with what comes back to them. Credits that may not be used are not among them, and stay so.
    func receiving(_ returned: CreditParts) throws(DecimalError) -> [AvailableCredit] {
        var credits = self
        for index in indices {
            guard let amount = returned.grants[self[index].id] else { continue }
            credits[index].remaining = try self[index].remaining.adding(amount)
        }
        return credits
    }

    /// Uses so much of the credits of a kind: by priority, soonest expiry, oldest, id. Fewer where there is not enough.
    func using(
        _ amount: FixedDecimal,
        of kind: AvailableCredit.Kind,
        currency: Currency
    ) throws(DecimalError) -> [CreditUse] {
        var left = amount
        var uses: [CreditUse] = []
        for credit in filter({ $0.kind == kind }).sorted(by: { $0.isUsed(before: $1) }) where left > .zero {
            // A credit may hold less than a minor unit; that part buys nothing.
            let part = Swift.min(left, credit.remaining.truncated(to: currency))
            guard part > .zero else { continue }
            uses.append(CreditUse(id: credit.id, kind: kind, amount: part))
            left = try left.subtracting(part)
        }
        return uses
    }
}

extension AvailableCredit {
    fileprivate func isUsed(before other: AvailableCredit) -> Bool {
        let own = (priority, expiresAt ?? .maximum, createdAt)
        let others = (other.priority, other.expiresAt ?? .maximum, other.createdAt)
        return own == others ? id < other.id : own < others
    }
}

extension FixedDecimal {
    /// The whole minor units in it, toward zero.
    fileprivate func truncated(to currency: Currency) -> FixedDecimal {
        let unit = Int128(PowersOfTen.narrow(FixedDecimal.fractionalDigits - currency.minorUnits))
        return FixedDecimal(uncheckedUnscaled: unscaled / unit * unit)
    }
}
