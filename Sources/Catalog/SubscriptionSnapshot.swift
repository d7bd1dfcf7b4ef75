package import BillingCore

/// A subscription as the hot paths read it.
package struct SubscriptionSnapshot: Sendable {
    package let id: SubscriptionID
    package let planVersion: PlanVersion
    /// The anchored periods, in the zone copied from the tenant when the subscription started.
    package let periods: BillingPeriods
    package let startsAt: Instant
    package let endsAt: Instant?
    /// Ids of the periods that have a row, as far as this snapshot knows.
    package let billingPeriodIDs: BillingPeriodIDs
    /// A few consecutive periods around the time of loading, so that the usual lookup compares integers.
    private let nearby: NearbyPeriods

    package init(
        id: SubscriptionID,
        planVersion: PlanVersion,
        periods: BillingPeriods,
        startsAt: Instant,
        endsAt: Instant? = nil,
        billingPeriodIDs: BillingPeriodIDs = BillingPeriodIDs(),
        near now: Instant? = nil
    ) {
        self.id = id
        self.planVersion = planVersion
        self.periods = periods
        self.startsAt = startsAt
        self.endsAt = endsAt
        self.billingPeriodIDs = billingPeriodIDs
        nearby = NearbyPeriods(periods, around: now ?? startsAt)
    }

    package var planKey: String { planVersion.planKey }
    package var version: Int { planVersion.version }

    /// Whether the subscription is in force at an instant; its end is exclusive.
    package func covers(_ instant: Instant) -> Bool {
        guard instant >= startsAt else { return false }
        guard let endsAt else { return true }
        return instant < endsAt
    }

    /// The anchored period an instant falls in, cut by neither start nor end of the subscription; nil outside it.
    package func period(containing instant: Instant) -> (index: Int, interval: Interval)? {
        guard covers(instant) else { return nil }
        if let found = nearby.period(containing: instant) {
            return found
        }
        guard let index = periods.index(containing: instant) else { return nil }
        return (index, periods.interval(index))
    }

    fileprivate func with(_ ids: BillingPeriodIDs, near now: Instant) -> SubscriptionSnapshot {
        SubscriptionSnapshot(
            id: id,
            planVersion: planVersion,
            periods: periods,
            startsAt: startsAt,
            endsAt: endsAt,
            billingPeriodIDs: ids,
            near: now
        )
    }

    /// The same subscription knowing more periods, and centred on the latest of them.
    package func remembering(_ found: [BillingPeriod]) -> SubscriptionSnapshot {
        guard let latest = found.max(by: { $0.index < $1.index }) else { return self }
        let center = max(nearby.center, latest.interval.start)
        return with(billingPeriodIDs.adding(found.map { ($0.index, $0.id) }), near: center)
    }
}

/// Ids of billing periods by their index: a short sorted list, which is smaller than a dictionary per subscription.
package struct BillingPeriodIDs: Sendable, Hashable {
    private struct Entry: Hashable {
        let index: Int32
        let id: BillingPeriodID
    }

    /// Older ones are forgotten first; they can always be read again.
    private static let capacity = 16
    private var entries: [Entry] = []

    package init() {}

    package init(_ ids: [Int: BillingPeriodID]) {
        self = BillingPeriodIDs().adding(ids.map { ($0.key, $0.value) })
    }

    package subscript(index: Int) -> BillingPeriodID? {
        entries.last { $0.index == index }?.id
    }

    package var count: Int { entries.count }

    package func adding(_ periods: [(index: Int, id: BillingPeriodID)]) -> BillingPeriodIDs {
        var known = entries
        for period in periods where self[period.index] == nil {
            known.append(Entry(index: Int32(clamping: period.index), id: period.id))
        }
        known.sort { $0.index < $1.index }
        var result = BillingPeriodIDs()
        result.entries = Array(known.suffix(Self.capacity))
        return result
    }
}

/// The period around an instant, two before it and one after: late events fall in these.
private struct NearbyPeriods: Sendable {
    let center: Instant
    private let firstIndex: Int
    private let intervals: [Interval]

    init(_ periods: BillingPeriods, around instant: Instant) {
        center = instant
        let current = periods.index(containing: instant) ?? 0
        firstIndex = max(0, current - 2)
        intervals = (firstIndex...current + 1).map { periods.interval($0) }
    }

    func period(containing instant: Instant) -> (index: Int, interval: Interval)? {
        guard let offset = intervals.lastIndex(where: { $0.contains(instant) }) else { return nil }
        return (firstIndex + offset, intervals[offset])
    }
}
