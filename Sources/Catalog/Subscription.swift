package import BillingCore
import Web

/// A tenant's use of a plan version over a span of time, as it is stored. Spans of one tenant never overlap.
package struct Subscription: Sendable {
    package let id: SubscriptionID
    package let tenantID: TenantID
    package let tenantKey: String
    package let planVersionID: PlanVersionID
    package let planKey: String
    package let version: Int
    /// Copied from the tenant at the start: a later change of the tenant's zone does not move billing periods.
    package let zone: Zone
    /// Where period 0 starts.
    package let anchor: Instant
    package let startsAt: Instant
    /// Exclusive. Equal to `startsAt` when it was cancelled before it started.
    package var endsAt: Instant?
    package let createdAt: Instant
    package var updatedAt: Instant
    package var revision: Int64

    package enum Status: String, Sendable, CaseIterable {
        case scheduled, active, ended
    }

    package func status(at now: Instant) -> Status {
        if let endsAt, endsAt <= now || endsAt == startsAt { return .ended }
        return startsAt <= now ? .active : .scheduled
    }

    package var periods: BillingPeriods {
        BillingPeriods(anchor: anchor, zone: zone)
    }

    /// The anchored period in force, or the first one while the start is still to come; nil once it has ended.
    package func currentPeriod(at now: Instant) -> Interval? {
        guard status(at: now) != .ended, let index = periods.index(containing: max(now, startsAt)) else { return nil }
        return periods.interval(index)
    }
}

/// What the API shows of a subscription.
package struct SubscriptionBody: Encodable, Sendable {
    struct Period: Encodable, Sendable {
        let start: Instant
        let end: Instant
    }

    let id: SubscriptionID
    let tenant: String
    let plan: String
    let version: Int
    let status: String
    let timezone: String
    let anchor: Instant
    let startsAt: Instant
    let endsAt: Instant?
    let currentPeriod: Period?
    let createdAt: Instant
    let updatedAt: Instant

    init(_ subscription: Subscription, now: Instant) {
        id = subscription.id
        tenant = subscription.tenantKey
        plan = subscription.planKey
        version = subscription.version
        status = subscription.status(at: now).rawValue
        timezone = subscription.zone.identifier
        anchor = subscription.anchor
        startsAt = subscription.startsAt
        endsAt = subscription.endsAt
        currentPeriod = subscription.currentPeriod(at: now).map { Period(start: $0.start, end: $0.end) }
        createdAt = subscription.createdAt
        updatedAt = subscription.updatedAt
    }
}
