/// What is used of an amount in a window, and where that leads by its end.
package struct WindowUse: Sendable, Hashable {
    /// What settled usage comes to.
    package let used: FixedDecimal
    /// What reservations hold.
    package let held: FixedDecimal
    /// The limit.
    package let amount: FixedDecimal
    package let window: Interval
    /// Usage from this time on is in `used`; before the window's start all of the window is counted.
    package let countedFrom: Instant

    package init(
        used: FixedDecimal,
        held: FixedDecimal,
        amount: FixedDecimal,
        window: Interval,
        countedFrom: Instant = .minimum
    ) {
        self.used = used
        self.held = held
        self.amount = amount
        self.window = window
        self.countedFrom = countedFrom
    }

    /// What neither usage nor reservations have taken; never below zero.
    package var remaining: FixedDecimal {
        max(.zero, (try? amount.subtracting(used).subtracting(held)) ?? .zero)
    }

    /// `used` in percent of the amount, cut off after 12 fractional digits, so that 100 is never shown too early. Nil
    /// where the amount is zero.
    package var percent: FixedDecimal? {
        used.multiplied(
            byNumerator: 100 * FixedDecimal.unscaledOne.magnitude,
            denominator: amount.unscaled.magnitude
        )
    }

    /// Where `used` is by the window's end if it goes on rising as since the start of counting: `used` times the
    /// counted time over the elapsed time, cut off after 12 fractional digits.
    ///
    /// Nil for a window without an end and during the first percent of the counted time, from which nothing follows.
    package func projected(at now: Instant) -> FixedDecimal? {
        let counted = Interval(start: countedSince, end: window.end)
        guard window != .allTime, counted.contains(now) else { return nil }
        let whole = UInt128(counted.microseconds)
        let elapsed = UInt128(now.microseconds(since: counted.start))
        guard elapsed * 100 >= whole else { return nil }
        return used.multiplied(byNumerator: whole, denominator: elapsed)
    }

    /// The time from which on the window's usage is counted.
    package var countedSince: Instant { max(countedFrom, window.start) }
}
