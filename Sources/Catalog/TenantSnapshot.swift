package import BillingCore

/// Suspended tenants are refused at admission; what they use is still recorded.
package enum TenantStatus: String, Sendable, Hashable, CaseIterable {
    case active, suspended
}

/// A tenant as the hot paths read it: immutable, one shared instance. It was read at `catalogVersion` of the
/// tenant's ledger row; a transaction that finds another version there must read it again.
package final class TenantSnapshot: Sendable {
    package let id: TenantID
    package let key: String
    package let name: String
    package let currency: Currency
    package let zone: Zone
    package let status: TenantStatus
    package let costCenter: String?
    package let catalogVersion: Int64
    /// Whether a counter of the tenant's is so large that an ordinary request could make it overflow.
    package let hasLargeCounters: Bool
    /// By ascending start; they never overlap.
    package let subscriptions: [SubscriptionSnapshot]
    /// The limits the tenant has or had, by ascending id.
    package let limits: [UsageLimit]
    /// The budgets in force that name this tenant exactly, by ascending id.
    package let budgets: [Budget]
    /// The spend cap the tenant has or had.
    package let spendCap: SpendCapInForce?
    /// Everything that bounds this tenant and no other: its quotas, spend cap and budgets, those out of force too.
    package let ownLimits: [Limit]

    package init(
        id: TenantID,
        key: String,
        name: String,
        currency: Currency,
        zone: Zone,
        status: TenantStatus = .active,
        costCenter: String? = nil,
        catalogVersion: Int64,
        hasLargeCounters: Bool = false,
        subscriptions: [SubscriptionSnapshot] = [],
        limits: [UsageLimit] = [],
        budgets: [Budget] = [],
        spendCap: SpendCapInForce? = nil
    ) {
        self.id = id
        self.key = key
        self.name = name
        self.currency = currency
        self.zone = zone
        self.status = status
        self.costCenter = costCenter
        self.catalogVersion = catalogVersion
        self.hasLargeCounters = hasLargeCounters
        self.subscriptions = subscriptions
        self.limits = limits
        self.budgets = budgets
        self.spendCap = spendCap
        let cap = spendCap.map { Limit($0, currency: currency) }
        ownLimits = limits.map { Limit($0) } + [cap].compactMap { $0 } + budgets.map { Limit($0) }
    }

    /// The subscription in force at an instant; nil when none covers it.
    package func subscription(covering instant: Instant) -> SubscriptionSnapshot? {
        subscriptions.last { $0.covers(instant) }
    }

    /// The billing period that an instant falls in, cut by neither start nor end of its subscription; nil where none
    /// covers it.
    package func billingPeriod(containing instant: Instant) -> Interval? {
        subscription(covering: instant)?.period(containing: instant)?.interval
    }

    /// Where the billing period begins that an instant falls in; the instant itself where no subscription covers it, so
    /// that no period of before is taken for a present one.
    package func periodStart(at instant: Instant) -> Instant {
        billingPeriod(containing: instant)?.start ?? instant
    }

    /// The same tenant with more billing period ids known; itself when none of them is its own or new.
    package func remembering(_ periods: [BillingPeriod]) -> TenantSnapshot {
        var changed = false
        let subscriptions = subscriptions.map { subscription in
            let own = periods.filter { period in
                period.subscriptionID == subscription.id
                    && subscription.billingPeriodIDs[period.index, period.segment] == nil
            }
            guard !own.isEmpty else { return subscription }
            changed = true
            return subscription.remembering(own)
        }
        guard changed else { return self }
        return TenantSnapshot(
            id: id,
            key: key,
            name: name,
            currency: currency,
            zone: zone,
            status: status,
            costCenter: costCenter,
            catalogVersion: catalogVersion,
            hasLargeCounters: hasLargeCounters,
            subscriptions: subscriptions,
            limits: limits,
            budgets: budgets,
            spendCap: spendCap
        )
    }
}
