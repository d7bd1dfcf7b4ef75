package import BillingCore
import Catalog

extension PendingEvent {
    /// What some of the use can be charged at most, wherever in the tenant's tiers it falls.
    /// - Throws: `DecimalError.outOfRange` when an amount leaves its range.
    package func highestCharge(of totals: [CounterKey: UsageTotal]) throws(DecimalError) -> FixedDecimal {
        try sum(of: totals) { price, total throws(DecimalError) in try price.highestCharge(of: total) }
    }

    /// What some of the use is charged at least, wherever in the tenant's tiers it falls.
    /// - Throws: `DecimalError.outOfRange` when an amount leaves its range.
    package func lowestCharge(of totals: [CounterKey: UsageTotal]) throws(DecimalError) -> FixedDecimal {
        try sum(of: totals) { price, total throws(DecimalError) in try price.lowestCharge(of: total) }
    }

    private func sum(
        of totals: [CounterKey: UsageTotal],
        _ charge: (Price, UsageTotal) throws(DecimalError) -> ExactAmount
    ) throws(DecimalError) -> FixedDecimal {
        var sum = ExactAmount.zero
        for (counter, total) in totals {
            guard let price = place?.price(of: counter.feature)?.price(ofCell: counter.cell) else { continue }
            sum = try sum.adding(charge(price, total))
        }
        return try sum.rounded(toDigits: 12)
    }
}
