package import BillingCore
package import Catalog
package import Usage

/// The invoice that a tenant's current billing period comes to so far, from the same counters and the same arithmetic
/// that a final invoice is made of.
package struct UpcomingInvoice: Sendable {
    package let subscription: SubscriptionSnapshot
    package let invoice: Invoice
    /// What was counted and the plan does not mention: never silently free.
    package let unpriced: [CounterRow]

    /// - Parameter counters: the counters of the period that contains `now`.
    /// - Throws: `DecimalError.outOfRange` when an amount does not fit.
    package init(
        subscription: SubscriptionSnapshot,
        period: (index: Int, interval: Interval),
        counters: [CounterRow]
    ) throws(DecimalError) {
        let plan = subscription.planVersion
        let counters = counters.filter(\.key.isPooled)
        let byFeature = Dictionary(counters.map { ($0.key.feature, $0) }) { first, _ in first }
        let usage = plan.definition.charges.map { charge in
            let state = byFeature[charge.featureID]?.state ?? CounterState()
            return PricedUsage(
                feature: charge.featureID,
                price: charge.price,
                through: state.total
            )
        }
        let active = Interval(start: subscription.startsAt, end: subscription.endsAt ?? .maximum)
        func segment(_ timing: Fee.Timing) -> InvoicedSegment {
            InvoicedSegment(active: active, fees: plan.fees.filter { $0.charged == timing }, usage: usage)
        }
        self.subscription = subscription
        invoice = try Invoice(
            kind: .regular,
            period: period.interval,
            periods: [
                InvoicedPeriod(
                    index: period.index,
                    interval: period.interval,
                    scope: .whole,
                    segments: [segment(.inArrears)]
                ),
                InvoicedPeriod(
                    index: period.index + 1,
                    interval: subscription.periods.interval(period.index + 1),
                    scope: .advanceFees,
                    segments: [segment(.inAdvance)]
                ),
            ],
            currency: plan.currency
        )
        unpriced = counters.filter { $0.state.eventCount > 0 && !plan.mentions($0.key.feature) }
    }
}
