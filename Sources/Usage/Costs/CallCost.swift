package import BillingCore
import Catalog

/// What is known of an event's provider cost.
enum CallCost: Sendable {
    /// The event is no call of a model, and no trusted sender said what it costs: nobody charges for it.
    case none
    /// A call without a price: its cost is not known, and never taken to be zero.
    case unpriced
    case priced(PricedCall)

    var priced: PricedCall? {
        if case .priced(let call) = self { call } else { nil }
    }
}

/// A call with its cost, on its way into the raw log.
struct PricedCall: Sendable {
    let amount: FixedDecimal
    /// Its id is known once the set is stored, which happens before the event is.
    let set: PriceSets.Reference
    /// What the amount is made of; empty for a reported one.
    let parts: [ProviderCost.Part]
    let conversion: CostConversion
}

/// How a provider cost becomes an amount of the tenant's currency.
package enum CostConversion: Sendable, Hashable {
    case sameCurrency
    case rate(FXRate)
    /// There is no rate for the time: the amount is not known.
    case missing

    init(from: Currency, to: Currency, at time: Instant, _ rates: FXRates) {
        if from == to {
            self = .sameCurrency
        } else {
            self = rates.rate(from: from, to: to, at: time).map(Self.rate) ?? .missing
        }
    }

    /// Nil when it can't be told.
    func convert(_ amount: FixedDecimal) -> FixedDecimal? {
        switch self {
        case .sameCurrency: amount
        case .rate(let rate): try? rate.convert(amount)
        case .missing: nil
        }
    }

    var rate: FXRate? {
        if case .rate(let rate) = self { rate } else { nil }
    }
}

/// An event's provider cost as the raw log keeps it.
package struct StoredCost: Sendable, Hashable {
    /// In the currency of the price set.
    package let amount: FixedDecimal
    package let priceSet: PriceSetID
    /// The rate to the tenant's currency, where that is another and a rate is known.
    package let fxRate: FXRateID?
    /// Of the price set; nil where a list does not ask for it.
    package let currency: Currency?
    /// Whether it is what a trusted sender said, and not what the price book says.
    package let isReported: Bool
}

/// When an event was rated after it was stored.
package struct LaterRating: Sendable, Hashable {
    /// The tenant's ledger sequence that gave it its cost, or the conversion of it.
    package let ledgerSequence: Int64
    /// The version of the shared catalogue whose prices it has; nil where the prices are those it was stored with.
    package let version: Int64?
}

extension StoredCost {
    init?(_ cost: CallCost) {
        guard let call = cost.priced, let id = call.set.id else { return nil }
        let set = call.set.set
        self.init(
            amount: call.amount,
            priceSet: id,
            fxRate: call.conversion.rate?.id,
            currency: set.currency,
            isReported: set.isReported
        )
    }
}

/// What became of the cost of a call at ingest, for the metrics.
enum CostOutcome: String, Sendable, CaseIterable {
    case priced
    case reported
    case unpriced
    /// It has a cost, but no exchange rate to the tenant's currency.
    case unconverted
}

extension CallCost {
    /// Nil for an event that nobody charges for.
    var outcome: CostOutcome? {
        switch self {
        case .none: nil
        case .unpriced: .unpriced
        case .priced(let call):
            call.conversion == .missing ? .unconverted : call.set.set.isReported ? .reported : .priced
        }
    }
}

extension IngestFlush {
    /// How many calls came with which outcome, duplicates included.
    var costOutcomes: [CostOutcome: Int] {
        var counts: [CostOutcome: Int] = [:]
        for group in groups {
            for pending in group.events {
                if let outcome = pending.cost.outcome { counts[outcome, default: 0] += 1 }
            }
        }
        return counts
    }
}
