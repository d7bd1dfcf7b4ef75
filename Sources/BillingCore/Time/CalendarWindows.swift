/// What span of time a limit or quota counts over.
package enum WindowKind: String, Sendable, Hashable, CaseIterable {
    case minute
    case hour
    case day
    /// Starts on Monday.
    case week
    case month
    /// The anchored period of a subscription: see `BillingPeriods`.
    case billingPeriod = "billing_period"
    /// All time.
    case lifetime
}

/// The calendar windows of a time zone. Windows of a kind tile time: half-open, without gap or overlap.
///
/// Days, weeks and months start at local midnight: at the first valid instant after it where midnight is skipped, at
/// the earlier one where it occurs twice. A window that has ended never reopens when clocks are set back across
/// midnight, and a day that a zone skipped has no window.
///
/// Minutes and hours are those the local clock shows, cut where the zone's offset changes: an hour that clocks repeat
/// is two windows, and a change by half an hour makes a window of 30 minutes. None is ever longer than its name says.
package struct CalendarWindows: Sendable, Hashable {
    package let zone: Zone

    package init(zone: Zone) {
        self.zone = zone
    }

    /// The window that contains an instant, in time independent of the distance to any other window.
    ///
    /// Pure: callers on a hot path keep the interval and ask again only when it no longer contains their instant. The
    /// kind must not be `billingPeriod`, which belongs to a subscription and not to the calendar.
    package func window(_ kind: WindowKind, containing instant: Instant) -> Interval {
        switch kind {
        case .minute: return clockWindow(of: 60_000_000, containing: instant)
        case .hour: return clockWindow(of: 3_600_000_000, containing: instant)
        case .day: return dateWindow(containing: instant, first: { $0 }, next: { $0 + 1 })
        case .week: return dateWindow(containing: instant, first: Self.monday(ofWeekContaining:), next: { $0 + 7 })
        case .month: return dateWindow(containing: instant, first: Self.firstOfMonth, next: Self.firstOfNextMonth)
        case .lifetime: return .allTime
        case .billingPeriod: preconditionFailure("a billing period belongs to a subscription, not to the calendar")
        }
    }

    private func clockWindow(of length: Int64, containing instant: Instant) -> Interval {
        let offset = zone.offsetMicroseconds(at: instant)
        let local = instant.microseconds + offset
        var start = Instant(microseconds: local.flooredQuotient(dividingBy: length) * length - offset)
        let end = start.adding(microseconds: length)
        var before = zone.offsetMicroseconds(at: start)
        var cursor = start
        while let transition = zone.nextTransition(after: cursor), transition < end {
            let after = zone.offsetMicroseconds(at: transition)
            if after != before {
                if transition > instant { return Interval(start: start, end: transition) }
                start = transition
            }
            before = after
            cursor = transition
        }
        return Interval(start: start, end: end)
    }

    /// A window of whole local days; `first` and `next` map day numbers (days since 1970) to first days of windows.
    private func dateWindow(
        containing instant: Instant,
        first: (Int64) -> Int64,
        next: (Int64) -> Int64
    ) -> Interval {
        let local = zone.localMicroseconds(at: instant)
        let firstDay = first(local.flooredQuotient(dividingBy: Self.dayMicroseconds))
        var start = midnight(ofDay: firstDay)
        var nextDay = next(firstDay)
        var end = midnight(ofDay: nextDay)
        // Local time may lag behind after clocks were set back across midnight, and a skipped day's window is empty.
        while end <= instant, end < .maximum {
            start = end
            nextDay = next(nextDay)
            end = midnight(ofDay: nextDay)
        }
        return Interval(start: start, end: end)
    }

    private func midnight(ofDay day: Int64) -> Instant {
        zone.instant(localMicroseconds: day * Self.dayMicroseconds)
    }

    private static let dayMicroseconds: Int64 = 86_400_000_000

    private static func monday(ofWeekContaining day: Int64) -> Int64 {
        // 1970-01-01 was a Thursday.
        (day + 3).flooredQuotient(dividingBy: 7) * 7 - 3
    }

    private static func firstOfMonth(containing day: Int64) -> Int64 {
        let date = CivilDate(daysSince1970: day)
        return CivilDate(year: date.year, month: date.month, day: 1).daysSince1970
    }

    private static func firstOfNextMonth(after day: Int64) -> Int64 {
        CivilDate(daysSince1970: firstOfMonth(containing: day)).adding(months: 1).daysSince1970
    }
}
