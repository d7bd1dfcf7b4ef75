package import BillingCore

/// A subscription as the hot paths read it.
package final class SubscriptionSnapshot: Sendable {
    /// The index of the trial among the periods: from the start of the subscription to its anchor, however long. What
    /// is used there is counted and not charged.
    package static let trialIndex = -1

    package let id: SubscriptionID
    /// What it is billed by over time, by ascending start; at least one.
    package let segments: [SubscriptionSegment]
    /// The anchored periods, in the zone copied from the tenant when the subscription started.
    package let periods: BillingPeriods
    package let startsAt: Instant
    package let endsAt: Instant?
    /// Ids of the periods that have a row, as far as this snapshot knows.
    package let billingPeriodIDs: BillingPeriodIDs
    /// A few consecutive periods around the time of loading, so that the usual lookup compares integers.
    private let nearby: NearbyPeriods

    /// - Parameter segments: at least one, by ascending start, the first from the start of the subscription.
    package init(
        id: SubscriptionID,
        segments: [SubscriptionSegment],
        periods: BillingPeriods,
        startsAt: Instant,
        endsAt: Instant? = nil,
        billingPeriodIDs: BillingPeriodIDs = BillingPeriodIDs(),
        near now: Instant? = nil
    ) {
        precondition(!segments.isEmpty, "a subscription has a segment")
        self.id = id
        self.segments = segments
        self.periods = periods
        self.startsAt = startsAt
        self.endsAt = endsAt
        self.billingPeriodIDs = billingPeriodIDs
        nearby = NearbyPeriods(periods, around: now ?? startsAt)
    }

    /// A subscription that never changed its plan.
    package convenience init(
        id: SubscriptionID,
        planVersion: PlanVersion,
        periods: BillingPeriods,
        startsAt: Instant,
        endsAt: Instant? = nil,
        billingPeriodIDs: BillingPeriodIDs = BillingPeriodIDs(),
        near now: Instant? = nil
    ) {
        self.init(
            id: id,
            segments: [SubscriptionSegment(ordinal: 0, startsAt: startsAt, published: planVersion)],
            periods: periods,
            startsAt: startsAt,
            endsAt: endsAt,
            billingPeriodIDs: billingPeriodIDs,
            near: now
        )
    }

    /// Whether the subscription is in force at an instant; its end is exclusive.
    package func covers(_ instant: Instant) -> Bool {
        guard instant >= startsAt else { return false }
        guard let endsAt else { return true }
        return instant < endsAt
    }

    /// The period an instant falls in, cut by neither start nor end of the subscription; nil outside it.
    package func period(containing instant: Instant) -> (index: Int, interval: Interval)? {
        guard covers(instant) else { return nil }
        if let found = nearby.period(containing: instant) {
            return found
        }
        guard let index = periods.index(containing: instant) else {
            return trial.map { (Self.trialIndex, $0) }
        }
        return (index, periods.interval(index))
    }

    /// The whole period of an index: an anchored one, or the trial.
    package func interval(ofPeriod index: Int) -> Interval {
        index == Self.trialIndex ? Interval(start: startsAt, end: periods.anchor) : periods.interval(index)
    }

    /// The time before the anchor, which is used free of charge; nil without a trial.
    package var trial: Interval? {
        startsAt < periods.anchor ? Interval(start: startsAt, end: periods.anchor) : nil
    }

    /// The same subscription knowing more periods, and centred on the latest of them.
    package func remembering(_ found: [BillingPeriod]) -> SubscriptionSnapshot {
        guard let latest = found.max(by: { $0.index < $1.index }) else { return self }
        return SubscriptionSnapshot(
            id: id,
            segments: segments,
            periods: periods,
            startsAt: startsAt,
            endsAt: endsAt,
            billingPeriodIDs: billingPeriodIDs.adding(found),
            near: max(nearby.center, latest.interval.start)
        )
    }
}

// MARK: Segments

extension SubscriptionSnapshot {
    /// The segment in force at an instant; the first one before the start.
    package func segment(at instant: Instant) -> SubscriptionSegment {
        segments.last { $0.startsAt <= instant } ?? segments[0]
    }

    /// The plan version in force at an instant, with what the subscription has in place of it.
    package func planVersion(at instant: Instant) -> PlanVersion {
        segment(at: instant).planVersion
    }

    /// The segments that are in force in a period, in order, each with its part of it. Empty where the subscription
    /// does not reach into the period.
    package func segments(inPeriod index: Int) -> [PeriodSegment] {
        let period = interval(ofPeriod: index)
        let covered = Interval(start: max(period.start, startsAt), end: min(period.end, endsAt ?? .maximum))
        return segments.indices.compactMap { position in
            let end = position + 1 < segments.count ? segments[position + 1].startsAt : Instant.maximum
            let own = Interval(start: segments[position].startsAt, end: end)
            return covered.intersection(own).map { interval in
                PeriodSegment(
                    segment: segments[position],
                    interval: interval,
                    billingPeriodID: billingPeriodIDs[index, segments[position].ordinal]
                )
            }
        }
    }
}

/// Ids of billing periods by their index and segment: a short sorted list, which is smaller than a dictionary per
/// subscription.
package struct BillingPeriodIDs: Sendable, Hashable {
    private struct Entry: Hashable {
        let index: Int32
        let segment: Int32
        let id: BillingPeriodID
    }

    /// Older ones are forgotten first; they can always be read again. Those of all segments of a period have room.
    private static let capacity = 256
    private var entries: [Entry] = []

    package init() {}

    /// Periods of subscriptions that never changed their plan, by index.
    package init(_ ids: [Int: BillingPeriodID]) {
        self.init(entries: ids.map { Entry(index: Int32(clamping: $0.key), segment: 0, id: $0.value) })
    }

    private init(entries: [Entry]) {
        self.entries = entries.sorted { ($0.index, $0.segment) < ($1.index, $1.segment) }.suffix(Self.capacity)
    }

    package subscript(index: Int, segment: Int = 0) -> BillingPeriodID? {
        entries.last { $0.index == index && $0.segment == segment }?.id
    }

    package var count: Int { entries.count }

    /// The index and segment of the period with this id; nil where it is not among these.
    package func place(of id: BillingPeriodID) -> (index: Int, segment: Int)? {
        entries.first { $0.id == id }.map { (Int($0.index), Int($0.segment)) }
    }

    package func adding(_ periods: [BillingPeriod]) -> BillingPeriodIDs {
        let added = periods.filter { self[$0.index, $0.segment] == nil }.map {
            Entry(index: Int32(clamping: $0.index), segment: Int32(clamping: $0.segment), id: $0.id)
        }
        return BillingPeriodIDs(entries: entries + added)
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
