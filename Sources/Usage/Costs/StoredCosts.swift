import BillingCore
import Catalog

/// What the costs of stored events come to, as of one place in a tenant's ledger: for counting them anew.
struct StoredCosts: Sendable {
    private struct Model: Hashable {
        let provider: ExactText?
        let model: ExactText
    }

    private let costs: CostCatalog
    private let currency: Currency
    private let throughSequence: Int64
    private var known: [Model: [ModelPrices]] = [:]

    /// - Parameters:
    ///   - currency: the tenant's.
    ///   - throughSequence: ratings after this one are not known yet.
    init(costs: CostCatalog, currency: Currency, throughSequence: Int64 = .max) {
        self.costs = costs
        self.currency = currency
        self.throughSequence = throughSequence
    }

    /// What features count of the event's cost.
    mutating func measured(_ stored: StoredEvent) -> MeasuredCost {
        guard let cost = stored.cost else { return stored.event.isModelCall ? .unknown : .nothing }
        guard isKnown(stored) else { return .unknown }
        return MeasuredCost(
            amount: cost.amount,
            parts: parts(of: cost, stored),
            conversion: conversion(of: cost)
        )
    }

    /// The ledger sequence that gave the event a cost which features count, where that was a later one than its own.
    func laterSequence(_ stored: StoredEvent) -> Int64? {
        guard let cost = stored.cost, isKnown(stored), conversion(of: cost) != .missing else { return nil }
        return stored.laterRating?.ledgerSequence
    }

    /// The rate that a cost without one has by now, and what features count then; nil while there is none.
    mutating func converted(_ stored: StoredEvent) -> (CostConversion, MeasuredCost)? {
        guard let cost = stored.cost, let from = cost.currency, conversion(of: cost) == .missing else { return nil }
        let conversion = CostConversion(from: from, to: currency, at: stored.time, costs.rates)
        guard conversion != .missing else { return nil }
        let parts = parts(of: cost, stored)
        return (conversion, MeasuredCost(amount: cost.amount, parts: parts, conversion: conversion))
    }

    /// What the price book says, where that is not what is stored; texts for the report.
    mutating func difference(_ stored: StoredEvent) -> (stored: String, rebuilt: String)? {
        guard stored.reversalOf == nil, isKnown(stored) else { return nil }
        let rated = rated(stored)
        let kept = stored.cost?.amount
        let expected = stored.cost?.isReported == true && rated == nil ? stored.event.usage.cost : rated?.amount
        guard kept != expected else { return nil }
        return (kept?.description ?? "none", expected?.description ?? "none")
    }

    private func isKnown(_ stored: StoredEvent) -> Bool {
        stored.laterRating.map { $0.ledgerSequence <= throughSequence } ?? true
    }

    private func conversion(of cost: StoredCost) -> CostConversion {
        if let rate = cost.fxRate.flatMap({ costs.rates[$0] }) { return .rate(rate) }
        return cost.currency == currency ? .sameCurrency : .missing
    }

    /// Empty for a reported cost.
    private mutating func parts(of cost: StoredCost, _ stored: StoredEvent) -> [ProviderCost.Part] {
        cost.isReported ? [] : rated(stored)?.parts ?? []
    }

    private mutating func rated(_ stored: StoredEvent) -> ProviderCost? {
        guard let name = stored.event.usage.model else { return nil }
        let model = Model(provider: stored.event.usage.provider.map { ExactText($0) }, model: ExactText(name))
        let candidates = known[model] ?? costs.prices.candidates(provider: model.provider?.text, model: name)
        known[model] = candidates
        return CallRater.providerCost(
            of: stored.event,
            at: stored.time,
            by: candidates,
            version: stored.laterRating?.version ?? stored.catalogVersion
        )
    }
}
