package import BillingCore

/// A period is open until its invoice is final; late usage then becomes an adjustment of the next one.
package enum BillingPeriodStatus: String, Sendable, Hashable, CaseIterable {
    case open, final
}

/// Period `index` of a subscription under one of its segments, which counters and invoices refer to by `id`. Its
/// interval is the anchored one, also where the subscription or the segment covers a part of it only. Index -1 is the
/// trial.
package struct BillingPeriod: Sendable, Hashable {
    package let id: BillingPeriodID
    package let tenantID: TenantID
    package let subscriptionID: SubscriptionID
    package let index: Int
    package let segment: Int
    package let interval: Interval
    package let status: BillingPeriodStatus

    package init(
        id: BillingPeriodID,
        tenantID: TenantID,
        subscriptionID: SubscriptionID,
        index: Int,
        segment: Int = 0,
        interval: Interval,
        status: BillingPeriodStatus
    ) {
        self.id = id
        self.tenantID = tenantID
        self.subscriptionID = subscriptionID
        self.index = index
        self.segment = segment
        self.interval = interval
        self.status = status
    }

    /// A period that should have a row.
    package struct Wanted: Sendable, Hashable {
        package let tenantID: TenantID
        package let subscriptionID: SubscriptionID
        package let index: Int
        package let segment: Int
        package let interval: Interval

        package init(
            tenantID: TenantID,
            subscriptionID: SubscriptionID,
            index: Int,
            segment: Int = 0,
            interval: Interval
        ) {
            self.tenantID = tenantID
            self.subscriptionID = subscriptionID
            self.index = index
            self.segment = segment
            self.interval = interval
        }
    }
}
