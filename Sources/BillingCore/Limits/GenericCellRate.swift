/// A bound on how fast something may be used: so many units a period, with a burst above the steady pace.
package struct GenericCellRate: Sendable, Hashable {
    /// Units per period, more than zero.
    package let limit: Int64
    package let periodMicroseconds: Int64
    /// How many units may be used at once after a time of rest, more than zero.
    package let burst: Int64
    /// How many microseconds one unit takes at the steady pace, rounded up at the twelfth digit, so that no rounding
    /// ever lets more through than the limit says.
    package let interval: FixedDecimal

    package init(limit: Int64, periodMicroseconds: Int64, burst: Int64) {
        precondition(limit > 0 && periodMicroseconds > 0 && burst > 0, "a rate is more than zero")
        self.limit = limit
        self.periodMicroseconds = periodMicroseconds
        self.burst = burst
        let (quotient, remainder) = FixedDecimal(periodMicroseconds).unscaled
            .quotientAndRemainder(dividingBy: Int128(limit))
        interval = FixedDecimal(uncheckedUnscaled: remainder > 0 ? quotient + 1 : quotient)
    }
}

/// What a rate limit says of a use.
package enum RateDecision: Sendable, Hashable {
    /// The arrival time to store, and how many units are left now.
    case allowed(arrival: FixedDecimal, remaining: Int64)
    /// After how many microseconds the same use would be allowed; nil when it never is, because it exceeds the burst.
    case refused(retryAfterMicroseconds: Int64?, remaining: Int64)

    /// How many units are left.
    package var remaining: Int64 {
        switch self {
        case .allowed(_, let remaining), .refused(_, let remaining): remaining
        }
    }
}

extension GenericCellRate {
    /// Decides by the generic cell rate algorithm (ITU-T I.371, annex A, in its form of virtual scheduling).
    ///
    /// The state is one instant: the theoretical arrival time of the next unit at the steady pace, in microseconds
    /// since 1970 with 12 fractional digits.
    /// - Parameters:
    ///   - arrival: the stored state; nil before the first use.
    ///   - units: how many are used at once; zero or more.
    ///   - share: which percentage of the burst the caller may use, 0...100, and one unit at least; others keep the
    ///     rest.
    package func decide(
        _ units: FixedDecimal,
        arrival: FixedDecimal?,
        at now: Instant,
        share: Percent
    ) throws(DecimalError) -> RateDecision {
        let present = FixedDecimal(now.microseconds)
        let from = max(arrival ?? present, present)
        let most = try mostUnits(of: share)
        let tolerance = try duration(of: most)
        let before = try from.subtracting(present)
        func refused(after microseconds: Int64?) throws(DecimalError) -> RateDecision {
            let remaining = wholeUnits(in: try tolerance.subtracting(before))
            return .refused(retryAfterMicroseconds: microseconds, remaining: remaining)
        }
        // Also what would take longer than there is time.
        guard units <= most else { return try refused(after: nil) }
        let until = try from.adding(duration(of: units))
        let ahead = try until.subtracting(present)
        guard ahead <= tolerance else { return try refused(after: try ahead.subtracting(tolerance).ceiling) }
        return .allowed(arrival: until, remaining: wholeUnits(in: try tolerance.subtracting(ahead)))
    }

    /// How many units may be used at once of a share, see `decide`.
    package func mostUnits(of share: Percent) throws(DecimalError) -> FixedDecimal {
        max(.one, try FixedDecimal(burst).multiplied(by: share.fraction).rounded(toDigits: 12))
    }

    /// What is left of the whole burst, and when all of it is there again; nil where it is now.
    package func standing(
        arrival: FixedDecimal?,
        at now: Instant
    ) throws(DecimalError) -> (remaining: Int64, fullAt: Instant?) {
        let end = arrival.map { Instant(microseconds: $0.ceiling) }
        let fullAt = end.flatMap { now < $0 ? $0 : nil }
        return (try decide(.zero, arrival: arrival, at: now, share: .hundred).remaining, fullAt)
    }

    /// How many microseconds so many units take at the steady pace, rounded up: as long together as one by one.
    package func duration(of units: FixedDecimal) throws(DecimalError) -> FixedDecimal {
        let exact = units.multiplied(by: interval)
        let rounded = try exact.rounded(toDigits: FixedDecimal.fractionalDigits)
        return ExactAmount(rounded) < exact ? try rounded.adding(.smallest) : rounded
    }

    /// How many whole units a time allows at the steady pace.
    private func wholeUnits(in time: FixedDecimal) -> Int64 {
        time > .zero ? Int64(clamping: time.unscaled / interval.unscaled) : 0
    }
}

extension FixedDecimal {
    /// The least whole number that is not below it.
    fileprivate var ceiling: Int64 {
        let (quotient, remainder) = unscaled.quotientAndRemainder(dividingBy: Self.unscaledOne)
        return Int64(clamping: remainder > 0 ? quotient + 1 : quotient)
    }
}
