package import BillingCore

/// What a transaction that counts usage or admits calls changes in one row of `limit_state`.
package struct LimitChange: Sendable {
    package let row: LimitRow
    package let windowEnd: Instant
    /// Added to `used`; negative when usage is voided.
    package var used = FixedDecimal.zero
    /// Added to `held`: what is admitted.
    package var held = FixedDecimal.zero
    /// Taken off `held`: what reservations held of the row and were settled.
    package var released = FixedDecimal.zero
    /// Added to `overshoot`, which never falls below zero: use that no reservation held, or less of a voided one.
    package var overshoot = FixedDecimal.zero
    /// The limit in force; zero of revision 0 where only a hold is taken off, which leaves the row's own.
    package let amount: FixedDecimal
    package let revision: Int64

    package init(row: LimitRow, windowEnd: Instant, amount: FixedDecimal, revision: Int64) {
        self.row = row
        self.windowEnd = windowEnd
        self.amount = amount
        self.revision = revision
    }

    /// Of a row that is there, because something is held of it, whose amount in force is left as it is.
    package init(keeping row: LimitRow) {
        self.init(row: row, windowEnd: row.windowStart, amount: .zero, revision: 0)
    }

    /// The same without what is used.
    package var withoutUse: LimitChange {
        var change = self
        change.used = .zero
        return change
    }

    /// Counts use of which a reservation held so much of this row.
    /// - Throws: `DecimalError.outOfRange` when a sum leaves the range of a quantity.
    package mutating func use(_ amount: FixedDecimal, releasing hold: FixedDecimal = .zero) throws(DecimalError) {
        used = try used.adding(amount)
        released = try released.adding(hold)
        overshoot = try overshoot.adding(LimitBalance.overshoot(using: amount, releasing: hold))
    }

    /// Takes voided use out again, and out of the overshoot as far as there is any.
    package mutating func withdraw(_ amount: FixedDecimal) throws(DecimalError) {
        used = try used.subtracting(amount)
        overshoot = try overshoot.subtracting(amount)
    }
}
