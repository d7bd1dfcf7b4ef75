package import BillingCore
package import Catalog
package import Usage

/// The invoice that a tenant's current billing period comes to so far, from the same counters and the same arithmetic
/// that a final invoice is made of.
package struct UpcomingInvoice: Sendable {
    package let subscription: SubscriptionSnapshot
    package let invoice: Invoice
    /// What was counted and has no price, in the plan or in a cell of a matrix: never silently free.
    package let unpriced: [CounterRow]

    /// - Parameter counters: the counters of the period that contains `now`.
    /// - Throws: `DecimalError.outOfRange` when an amount does not fit.
    package init(
        subscription: SubscriptionSnapshot,
        period: (index: Int, interval: Interval),
        counters: [CounterRow]
    ) throws(DecimalError) {
        let plan = subscription.planVersion
        let byFeature = Dictionary(grouping: counters, by: \.key.feature)
        let usage = plan.definition.charges.flatMap { charge in
            Self.priced(byFeature[charge.featureID] ?? [], by: charge)
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
        unpriced = counters.filter { $0.state.eventCount > 0 && !plan.prices($0.key) }
    }

    /// A feature's usage: of each cell that has a price, or of the feature as a whole, used or not.
    private static func priced(_ counters: [CounterRow], by charge: Charge) -> [PricedUsage] {
        let priced = counters.compactMap { row in
            charge.price.price(ofCell: row.key.cell).map { price in
                PricedUsage(feature: charge.featureID, cell: row.key.cell, price: price, through: row.state.total)
            }
        }
        guard priced.isEmpty, let price = charge.price.price(ofCell: "") else { return priced }
        return [PricedUsage(feature: charge.featureID, price: price, through: .zero)]
    }
}

extension PlanVersion {
    /// Whether what a counter counted is charged, as a whole or in a cell, or included.
    fileprivate func prices(_ key: CounterKey) -> Bool {
        guard !key.isPooled else { return mentions(key.feature) }
        return matrices[key.feature]?.price(ofCell: key.cell) != nil
    }
}
