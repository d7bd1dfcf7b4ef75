package import BillingCore
package import Web

/// A tenant's use of plans over a span of time, as it is stored. Spans of one tenant never overlap.
package struct Subscription: Sendable {
    /// What it is billed by from `startsAt` on, until the next segment starts.
    package struct Segment: Sendable {
        package let ordinal: Int
        package let planVersionID: PlanVersionID
        package let planKey: String
        package let version: Int
        package let startsAt: Instant
        /// What stands in place of the plan version's own; nil where nothing does.
        package let overrides: JSONValue?
        package let createdAt: Instant
    }

    package let id: SubscriptionID
    package let tenantID: TenantID
    package let tenantKey: String
    /// By ascending start; at least one.
    package var segments: [Segment]
    /// Copied from the tenant at the start: a later change of the tenant's zone does not move billing periods.
    package let zone: Zone
    /// Where period 0 starts: the start, or the end of the trial.
    package let anchor: Instant
    package let startsAt: Instant
    /// Exclusive. Equal to `startsAt` when it was cancelled before it started.
    package var endsAt: Instant?
    package let createdAt: Instant
    package var updatedAt: Instant
    package var revision: Int64

    package enum Status: String, Sendable, CaseIterable {
        case scheduled, trialing, active, ended
    }

    package func status(at now: Instant) -> Status {
        if let endsAt, endsAt <= now || endsAt == startsAt { return .ended }
        if now < startsAt { return .scheduled }
        return now < anchor ? .trialing : .active
    }

    package var periods: BillingPeriods {
        BillingPeriods(anchor: anchor, zone: zone)
    }

    /// The period in force, which is the trial before the anchor, or the first one while the start is still to come;
    /// nil once it has ended.
    package func currentPeriod(at now: Instant) -> Interval? {
        guard status(at: now) != .ended else { return nil }
        let time = max(now, startsAt)
        guard let index = periods.index(containing: time) else { return Interval(start: startsAt, end: anchor) }
        return periods.interval(index)
    }

    /// The segment in force: the first one before the start, the last that was in force after the end.
    package func segment(at now: Instant) -> Segment? {
        let time = endsAt.map { min(now, max(startsAt, $0.adding(microseconds: -1))) } ?? now
        return segments.last { $0.startsAt <= time } ?? segments.first
    }

    /// The changes that are still to come, soonest first.
    package func scheduledChanges(at now: Instant) -> [Segment] {
        segments.dropFirst().filter { segment in
            segment.startsAt > now && (endsAt.map { segment.startsAt < $0 } ?? true)
        }
    }
}

/// What the API shows of a subscription.
package struct SubscriptionBody: Encodable, Sendable {
    struct Segment: Encodable, Sendable {
        let plan: String
        let version: Int
        let startsAt: Instant
        let overrides: JSONValue?

        init(_ segment: Subscription.Segment) {
            plan = segment.planKey
            version = segment.version
            startsAt = segment.startsAt
            overrides = segment.overrides
        }
    }

    let id: SubscriptionID
    let tenant: String
    let plan: String?
    let version: Int?
    let status: String
    let timezone: String
    let anchor: Instant
    let startsAt: Instant
    let trialEndsAt: Instant?
    let endsAt: Instant?
    let currentPeriod: Interval?
    let segments: [Segment]
    let scheduledChange: Segment?
    let createdAt: Instant
    let updatedAt: Instant

    init(_ subscription: Subscription, now: Instant) {
        let current = subscription.segment(at: now)
        id = subscription.id
        tenant = subscription.tenantKey
        plan = current?.planKey
        version = current?.version
        status = subscription.status(at: now).rawValue
        timezone = subscription.zone.identifier
        anchor = subscription.anchor
        startsAt = subscription.startsAt
        trialEndsAt = subscription.anchor > subscription.startsAt ? subscription.anchor : nil
        endsAt = subscription.endsAt
        currentPeriod = subscription.currentPeriod(at: now)
        segments = subscription.segments.map(Segment.init)
        scheduledChange = subscription.scheduledChanges(at: now).first.map(Segment.init)
        createdAt = subscription.createdAt
        updatedAt = subscription.updatedAt
    }
}
