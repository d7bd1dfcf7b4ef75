/// How much of a limit is taken in one window, and where that leads by the window's end.
package struct WindowUse: Sendable, Hashable {
    package let balance: LimitBalance
    package let window: Interval
    /// Usage from this time on counts; before the window's start all of the window is counted.
    package let countedFrom: Instant

    package init(_ balance: LimitBalance, in window: Interval, countedFrom: Instant = .minimum) {
        self.balance = balance
        self.window = window
        self.countedFrom = countedFrom
    }

    /// Settled use in percent of the limit, cut off after 12 fractional digits, so that 100 is never shown too early.
    /// Nil where the limit is zero.
    package var percent: FixedDecimal? {
        balance.used.multiplied(
            byNumerator: 100 * FixedDecimal.unscaledOne.magnitude,
            denominator: balance.amount.unscaled.magnitude
        )
    }

    /// Settled use by the window's end if it goes on rising as since the start of counting: use times the counted time
    /// over the elapsed time, cut off after 12 fractional digits.
    ///
    /// Nil for a window without an end and during the first percent of the counted time, from which nothing follows.
    package func projected(at now: Instant) -> FixedDecimal? {
        let counted = Interval(start: countedSince, end: window.end)
        guard window != .allTime, counted.contains(now) else { return nil }
        let whole = UInt128(counted.microseconds)
        let elapsed = UInt128(now.microseconds(since: counted.start))
        guard elapsed * 100 >= whole else { return nil }
        return balance.used.multiplied(byNumerator: whole, denominator: elapsed)
    }

    /// Whether use at the pace so far reaches the limit by the window's end.
    package func isProjectedToReach(at now: Instant) -> Bool {
        guard balance.used > .zero, let projected = projected(at: now) else { return false }
        return projected >= balance.amount
    }

    /// The time from which on the window's usage is counted.
    package var countedSince: Instant { max(countedFrom, window.start) }
}
