/// The periods of a subscription, counted from its anchor. They tile time from the anchor on.
///
/// Period n starts n x `months` months after the anchor: at the anchor's local time of day, on the anchor's day of the
/// month clamped to the month's length. It is always computed from the anchor itself, so 31 January gives 28 February
/// and then 31 March. A local time that does not exist moves to the first valid instant after the gap; an ambiguous one
/// is the earlier.
package struct BillingPeriods: Sendable, Hashable {
    package let anchor: Instant
    package let zone: Zone
    /// The length of a period; at least 1.
    package let months: Int

    private let anchorDate: CivilDate
    private let anchorTimeOfDay: Int64

    package init(anchor: Instant, zone: Zone, months: Int = 1) {
        precondition(months > 0, "a billing period is at least a month long")
        self.anchor = anchor
        self.zone = zone
        self.months = months
        let local = zone.localMicroseconds(at: anchor)
        let day = local.flooredQuotient(dividingBy: Self.dayMicroseconds)
        anchorDate = CivilDate(daysSince1970: day)
        anchorTimeOfDay = local - day * Self.dayMicroseconds
    }

    /// The period of an index; 0 starts at the anchor. Ends beyond the year 9999 are moved to `Instant.maximum`.
    package func interval(_ index: Int) -> Interval {
        Interval(start: start(of: index), end: start(of: index == .max ? index : index + 1))
    }

    /// The index of the period that contains an instant; nil before the anchor.
    package func index(containing instant: Instant) -> Int? {
        guard instant >= anchor else { return nil }
        let date = zone.localDate(at: instant)
        let elapsedMonths = (date.year - anchorDate.year) * 12 + date.month - anchorDate.month
        var index = max(0, Int(elapsedMonths) / months)
        // The estimate ignores day and time of day, so it may be one too high; and clocks set back across midnight may
        // show the month before again, so it may be one too low.
        while index > 0, case let start = start(of: index), start > instant || start == .maximum { index -= 1 }
        while case let next = start(of: index + 1), next <= instant, next < .maximum { index += 1 }
        return index
    }

    private func start(of index: Int) -> Instant {
        guard index != 0 else { return anchor }
        let (elapsedMonths, overflow) = Int64(index).multipliedReportingOverflow(by: Int64(months))
        guard !overflow, elapsedMonths.magnitude <= Self.monthsOfAllYears else {
            return index < 0 ? .minimum : .maximum
        }
        let day = anchorDate.adding(months: elapsedMonths).daysSince1970
        return zone.instant(localMicroseconds: day * Self.dayMicroseconds + anchorTimeOfDay)
    }

    private static let dayMicroseconds: Int64 = 86_400_000_000
    private static let monthsOfAllYears: UInt64 = 10_000 * 12
}
