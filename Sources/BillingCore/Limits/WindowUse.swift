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
    /// Nil for a window without an end and during the first percent of the counted time, from which nothing follows,
    /// and where it leaves the range of a quantity.
    package func projected(at now: Instant) -> FixedDecimal? {
        guard let time = projectedTime(at: now) else { return nil }
        return balance.used.multiplied(byNumerator: UInt128(time.counted), denominator: UInt128(time.elapsed))
    }

    /// Whether use at the pace so far reaches the limit by the window's end, whatever it comes to.
    package func isProjectedToReach(at now: Instant) -> Bool {
        guard balance.used > .zero, let time = projectedTime(at: now) else { return false }
        let (counted, elapsed) = (FixedDecimal(time.counted), FixedDecimal(time.elapsed))
        return balance.used.multiplied(by: counted) >= balance.amount.multiplied(by: elapsed)
    }

    /// The counted time and how much of it is over, in microseconds; nil where nothing follows from that.
    private func projectedTime(at now: Instant) -> (counted: Int64, elapsed: Int64)? {
        let counted = Interval(start: countedSince, end: window.end)
        guard window != .allTime, counted.contains(now) else { return nil }
        let elapsed = now.microseconds(since: counted.start)
        guard Int128(elapsed) * 100 >= Int128(counted.microseconds) else { return nil }
        return (counted.microseconds, elapsed)
    }

    /// The time from which on the window's usage is counted.
    package var countedSince: Instant { max(countedFrom, window.start) }
}
