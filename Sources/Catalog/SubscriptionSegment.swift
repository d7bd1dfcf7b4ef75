package import BillingCore
package import Web

/// What a subscription is billed by from one instant on, until its next segment starts. The first is made with the
/// subscription, each change of plan adds one; none is ever changed.
package struct SubscriptionSegment: Sendable {
    /// Its place among the subscription's segments, from 0 without a gap. Billing periods refer to it.
    package let ordinal: Int
    package let startsAt: Instant
    /// The plan version as it was published, shared by every subscription to it.
    package let published: PlanVersion
    /// The same with the segment's own prices, fees and quotas in place: what usage is rated and invoiced by. It is
    /// the published one itself where the segment overrides nothing.
    package let planVersion: PlanVersion
    /// What it has in place of the published one, as it is stored; nil where it overrides nothing.
    package let overrides: JSONValue?

    package init(
        ordinal: Int,
        startsAt: Instant,
        published: PlanVersion,
        planVersion: PlanVersion? = nil,
        overrides: JSONValue? = nil
    ) {
        self.ordinal = ordinal
        self.startsAt = startsAt
        self.published = published
        self.planVersion = planVersion ?? published
        self.overrides = overrides
    }
}

/// A segment that was still to come when an invoice was finalised, as the invoice pins it: it may be withdrawn later.
package struct ScheduledSegment: Sendable, Hashable {
    package let ordinal: Int
    package let planVersionID: PlanVersionID
    package let startsAt: Instant
    package let overrides: JSONValue?

    package init(ordinal: Int, planVersionID: PlanVersionID, startsAt: Instant, overrides: JSONValue?) {
        self.ordinal = ordinal
        self.planVersionID = planVersionID
        self.startsAt = startsAt
        self.overrides = overrides
    }

    package init(_ segment: SubscriptionSegment) {
        self.init(
            ordinal: segment.ordinal,
            planVersionID: segment.published.id,
            startsAt: segment.startsAt,
            overrides: segment.overrides
        )
    }
}

/// The part of an anchored period in which one segment is in force. It has counters of its own; fees, commitment and
/// included credit are prorated to it, and its usage continues the tiers of the parts before.
package struct PeriodSegment: Sendable {
    package let segment: SubscriptionSegment
    /// Within the anchored period, cut by the start and end of the subscription too; never empty.
    package let interval: Interval
    /// The row its counters refer to; nil where there is none yet, or none that the snapshot knows.
    package let billingPeriodID: BillingPeriodID?

    package var planVersion: PlanVersion { segment.planVersion }

    package init(segment: SubscriptionSegment, interval: Interval, billingPeriodID: BillingPeriodID?) {
        self.segment = segment
        self.interval = interval
        self.billingPeriodID = billingPeriodID
    }
}
