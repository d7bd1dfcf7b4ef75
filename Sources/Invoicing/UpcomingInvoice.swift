package import BillingCore
package import Catalog
package import Usage

/// The invoice that a tenant's current billing period comes to so far, from the same counters and the same arithmetic
/// that a final invoice is made of.
package struct UpcomingInvoice: Sendable {
    package let subscription: SubscriptionSnapshot
    /// The plan in force at the end of the period.
    package let planKey: String
    package let invoice: Invoice
    /// What was counted and has no price, in the plan or in a cell of a matrix: never silently free.
    package let unpriced: [CounterRow]

    /// In a trial the invoice that comes up is the opening one, of the fees in advance.
    /// - Parameter counters: the counters of the period, of all its segments.
    /// - Throws: `DecimalError.outOfRange` when an amount does not fit.
    package init(
        subscription: SubscriptionSnapshot,
        period: (index: Int, interval: Interval),
        counters: [PeriodCounter]
    ) throws(DecimalError) {
        let isTrial = period.index == SubscriptionSnapshot.trialIndex
        let next = period.index + 1
        var periods = [
            InvoicedPeriod(
                index: next,
                interval: subscription.interval(ofPeriod: next),
                scope: .advanceFees,
                segments: subscription.segments(inPeriod: next).map { part in
                    InvoicedSegment(part, fees: .inAdvance)
                }
            )
        ]
        if !isTrial {
            let usage = PeriodUsage(counters)
            var segments: [InvoicedSegment] = []
            for part in subscription.segments(inPeriod: period.index) {
                segments.append(InvoicedSegment(part, fees: .inArrears, usage: try usage.priced(in: part)))
            }
            let own = InvoicedPeriod(
                index: period.index,
                interval: period.interval,
                scope: .whole,
                segments: segments
            )
            periods.insert(own, at: 0)
        }
        self.subscription = subscription
        planKey = subscription.planVersion(at: period.interval.end.adding(microseconds: -1)).planKey
        invoice = try Invoice(
            kind: isTrial ? .opening : .regular,
            period: isTrial ? subscription.interval(ofPeriod: next) : period.interval,
            periods: periods,
            currency: subscription.segments[0].planVersion.currency
        )
        unpriced = counters.filter { counter in
            let plan = subscription.segments.first { $0.ordinal == counter.segment }?.planVersion
            return counter.row.state.eventCount > 0 && plan?.prices(counter.row.key) != true
        }.map(\.row)
    }
}

extension InvoicedSegment {
    fileprivate init(_ part: PeriodSegment, fees timing: Fee.Timing, usage: [PricedUsage] = []) {
        self.init(
            ordinal: part.segment.ordinal,
            active: part.interval,
            fees: part.planVersion.fees.filter { $0.charged == timing },
            usage: usage
        )
    }
}

extension PeriodUsage {
    /// The usage of each charge in a segment: of each cell that has a price, or of the feature as a whole, used or not.
    func priced(in part: PeriodSegment) throws(DecimalError) -> [PricedUsage] {
        var priced: [PricedUsage] = []
        for charge in part.planVersion.definition.charges {
            for cell in [""] + cells(of: charge.featureID) {
                guard let price = charge.price.price(ofCell: cell) else { continue }
                let running = try running(charge.featureID, cell: cell, segment: part.segment.ordinal)
                guard cell.isEmpty || running.before != running.through else { continue }
                priced.append(
                    PricedUsage(
                        feature: charge.featureID,
                        cell: cell,
                        price: price,
                        before: running.before,
                        through: running.through
                    )
                )
            }
        }
        return priced
    }
}
