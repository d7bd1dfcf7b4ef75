import BillingCore
import Catalog
import Postgres

/// Where a tenant's counters stand among those of their billing periods.
extension TenantSnapshot {
    func knows(_ period: BillingPeriodID) -> Bool {
        subscriptions.contains { $0.billingPeriodIDs.place(of: period) != nil }
    }

    struct PricedPlace {
        /// Charges the counter; nil where the plan of its period has none, and in a trial.
        let price: Price?
        /// The counters of its period through its segment, in their order.
        let throughSegment: [CounterKey]
        /// Those of the segments after it, which are charged anew when it counts more.
        let later: [CounterKey]
        /// Segments of its period of which no row was known when the snapshot was taken.
        let unknown: [BillingPeriod.Wanted]

        var inPeriod: [CounterKey] { throughSegment + later }
    }

    func place(of counter: CounterKey) throws(StaleCatalog) -> PricedPlace {
        for subscription in subscriptions {
            guard let (index, ordinal) = subscription.billingPeriodIDs.place(of: counter.period) else { continue }
            let parts = subscription.segments(inPeriod: index).map { part in
                let key = part.billingPeriodID.map {
                    CounterKey(tenant: counter.tenant, period: $0, feature: counter.feature, cell: counter.cell)
                }
                return (ordinal: part.segment.ordinal, key: key)
            }
            let unknown = subscription.segments(inPeriod: index).filter { $0.billingPeriodID == nil }
            let version = subscription.segments.first { $0.ordinal == ordinal }?.planVersion
            let isTrial = index == SubscriptionSnapshot.trialIndex
            let price = isTrial ? nil : version?.charges[counter.feature]?.price(ofCell: counter.cell)
            return PricedPlace(
                price: price,
                throughSegment: parts.filter { $0.ordinal <= ordinal }.compactMap(\.key),
                later: parts.filter { $0.ordinal > ordinal }.compactMap(\.key),
                unknown: unknown.map { part in
                    BillingPeriod.Wanted(
                        tenantID: counter.tenant,
                        subscriptionID: subscription.id,
                        index: index,
                        segment: part.segment.ordinal,
                        interval: subscription.interval(ofPeriod: index)
                    )
                }
            )
        }
        throw StaleCatalog(tenants: [id], shared: false)
    }
}
