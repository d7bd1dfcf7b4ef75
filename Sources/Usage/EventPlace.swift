import BillingCore
import Catalog

/// Finds, for the events of one tenant, the billing period each falls in. Events come mostly in order, so the last
/// answer is kept and compared as integers before any calendar is asked.
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
        let place = EventPlace(
            subscription: subscription,
            periodIndex: period.index,
            period: period.interval,
            billingPeriodID: subscription.billingPeriodIDs[period.index] ?? periodIDs[subscription.id, period.index]
        )
        let covered = Interval(
            start: max(period.interval.start, subscription.startsAt),
            end: min(period.interval.end, subscription.endsAt ?? period.interval.end)
        )
        last = (covered, place)
        return place
    }
}

/// Where an event counts: the subscription that covers its time, and that subscription's billing period.
/// One instance is shared by all events of a request that fall in the same period.
final class EventPlace: Sendable {
    let subscription: SubscriptionSnapshot
    let periodIndex: Int
    let period: Interval
    /// `nil` where the period has no row yet, or none that is known here.
    let billingPeriodID: BillingPeriodID?

    init(
        subscription: SubscriptionSnapshot,
        periodIndex: Int,
        period: Interval,
        billingPeriodID: BillingPeriodID?
    ) {
        self.subscription = subscription
        self.periodIndex = periodIndex
        self.period = period
        self.billingPeriodID = billingPeriodID
    }
}

/// Ids of billing periods by subscription and index.
struct BillingPeriodMap: Sendable {
    private struct Key: Hashable {
        let subscription: SubscriptionID
        let index: Int
    }

    private let ids: [Key: BillingPeriodID]

    init(_ periods: [BillingPeriod]) {
        let pairs = periods.map { (Key(subscription: $0.subscriptionID, index: $0.index), $0.id) }
        ids = Dictionary(pairs) { first, _ in first }
    }

    subscript(subscription: SubscriptionID, index: Int) -> BillingPeriodID? {
        ids[Key(subscription: subscription, index: index)]
    }
}

/// Keeps the last calendar window per kind of one tenant's zone, so that an event costs two integer comparisons.
struct WindowCache {
    private let windows: CalendarWindows
    private var last: [WindowKind: Interval] = [:]

    init(zone: Zone) {
        windows = CalendarWindows(zone: zone)
    }

    mutating func window(_ kind: WindowKind, containing time: Instant) -> Interval {
        if let known = last[kind], known.contains(time) { return known }
        let window = windows.window(kind, containing: time)
        last[kind] = window
        return window
    }
}
