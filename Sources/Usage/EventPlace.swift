package import BillingCore
import Catalog
import Synchronization

/// Finds, for the events of one tenant, the billing period and segment each falls in. Events come mostly in order, so
/// the last answer is kept and compared as integers before any calendar is asked.
struct PeriodLocator {
    private let tenant: TenantSnapshot
    private let periodIDs: BillingPeriodMap
    private var last: (interval: Interval, place: EventPlace)?

    /// - Parameter periodIDs: billing periods that the snapshot may not know.
    init(tenant: TenantSnapshot, periodIDs: BillingPeriodMap = BillingPeriodMap([])) {
        self.tenant = tenant
        self.periodIDs = periodIDs
    }

    /// - Returns: `nil` when no subscription covers the time.
    mutating func place(of time: Instant) -> EventPlace? {
        if let last, last.interval.contains(time) { return last.place }
        guard let subscription = tenant.subscription(covering: time),
            let period = subscription.period(containing: time)
        else { return nil }
        let segment = subscription.segment(at: time)
        let parts = subscription.segments.count > 1 ? subscription.segments(inPeriod: period.index) : []
        let place = EventPlace(
            subscription: subscription,
            segment: segment,
            periodIndex: period.index,
            period: period.interval,
            billingPeriodID: id(of: period.index, segment, of: subscription),
            parts: parts.map { ($0.segment, id(of: period.index, $0.segment, of: subscription)) }
        )
        let own = parts.first { $0.segment.ordinal == segment.ordinal }?.interval ?? period.interval
        let covered = Interval(
            start: max(own.start, subscription.startsAt),
            end: min(own.end, subscription.endsAt ?? own.end)
        )
        last = (covered, place)
        return place
    }

    private func id(
        of index: Int,
        _ segment: SubscriptionSegment,
        of subscription: SubscriptionSnapshot
    ) -> BillingPeriodID? {
        subscription.billingPeriodIDs[index, segment.ordinal] ?? periodIDs[subscription.id, index, segment.ordinal]
    }
}

/// Where an event counts: the subscription that covers its time, and that subscription's billing period and segment.
/// One instance is shared by all events of a request that fall in the same period and segment.
final class EventPlace: Sendable {
    /// A segment of the period, and the row its counters refer to.
    typealias Part = (segment: SubscriptionSegment, billingPeriodID: BillingPeriodID?)

    let subscription: SubscriptionSnapshot
    let segment: SubscriptionSegment
    let periodIndex: Int
    let period: Interval
    /// `nil` where the period has no row yet, or none that is known here.
    let billingPeriodID: BillingPeriodID?
    /// The segments of the period in order, this one among them, where there are several; empty where there is one.
    /// Usage of one changes what those after it charge.
    let parts: [Part]

    init(
        subscription: SubscriptionSnapshot,
        segment: SubscriptionSegment,
        periodIndex: Int,
        period: Interval,
        billingPeriodID: BillingPeriodID?,
        parts: [Part]
    ) {
        self.subscription = subscription
        self.segment = segment
        self.periodIndex = periodIndex
        self.period = period
        self.billingPeriodID = billingPeriodID
        self.parts = parts.count > 1 ? parts : []
    }

    var planVersion: PlanVersion { segment.planVersion }

    /// Whether usage here is counted and not charged.
    var isTrial: Bool { periodIndex == SubscriptionSnapshot.trialIndex }

    /// Whether every row is known that counting here needs.
    var isComplete: Bool {
        billingPeriodID != nil && parts.allSatisfy { $0.billingPeriodID != nil }
    }

    /// The rows that counting here needs.
    func wanted(by tenant: TenantID) -> [BillingPeriod.Wanted] {
        let segments = parts.isEmpty ? [segment] : parts.map(\.segment)
        return segments.map { segment in
            BillingPeriod.Wanted(
                tenantID: tenant,
                subscriptionID: subscription.id,
                index: periodIndex,
                segment: segment.ordinal,
                interval: period
            )
        }
    }
}

/// Ids of billing periods by subscription, index and segment.
struct BillingPeriodMap: Sendable {
    private struct Key: Hashable {
        let subscription: SubscriptionID
        let index: Int
        let segment: Int
    }

    private let ids: [Key: BillingPeriodID]

    init(_ periods: [BillingPeriod]) {
        let pairs = periods.map {
            (Key(subscription: $0.subscriptionID, index: $0.index, segment: $0.segment), $0.id)
        }
        ids = Dictionary(pairs) { first, _ in first }
    }

    subscript(subscription: SubscriptionID, index: Int, segment: Int) -> BillingPeriodID? {
        ids[Key(subscription: subscription, index: index, segment: segment)]
    }
}

/// Keeps the last calendar window per kind of one tenant's zone, so that an event costs two integer comparisons.
package struct WindowCache {
    private let windows: CalendarWindows
    private var last: [WindowKind: Interval] = [:]

    package init(zone: Zone) {
        windows = CalendarWindows(zone: zone)
    }

    mutating func window(_ kind: WindowKind, containing time: Instant) -> Interval {
        if let known = last[kind], known.contains(time) { return known }
        let window = Self.latest.window(kind, containing: time, windows)
        last[kind] = window
        return window
    }

    private static let latest = LatestWindows()
}

/// The windows that were asked for last in each zone, so that most of those who ask first need no calendar.
private final class LatestWindows: Sendable {
    private struct Key: Hashable {
        let zone: String
        let kind: WindowKind
    }

    private let latest = Mutex<[Key: Interval]>([:])

    func window(_ kind: WindowKind, containing time: Instant, _ windows: CalendarWindows) -> Interval {
        let key = Key(zone: windows.zone.identifier, kind: kind)
        if let known = latest.withLock({ $0[key] }), known.contains(time) { return known }
        let window = windows.window(kind, containing: time)
        latest.withLock { $0[key] = window }
        return window
    }
}
