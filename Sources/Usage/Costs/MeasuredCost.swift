package import BillingCore
import Catalog

/// A call's cost in the tenant's currency, as features count it: of the whole call, or of some classes of its tokens.
package struct MeasuredCost: Sendable {
    private let total: FixedDecimal?
    /// Nil where the cost is not made of prices by class.
    private let parts: [ProviderCost.Part]?
    private let conversion: CostConversion

    /// Nobody charges for the event: it costs nothing.
    package static let nothing = MeasuredCost(total: .zero, parts: [], conversion: .sameCurrency)
    /// The cost is not known.
    package static let unknown = MeasuredCost(total: nil, parts: nil, conversion: .missing)

    private init(total: FixedDecimal?, parts: [ProviderCost.Part]?, conversion: CostConversion) {
        self.total = total
        self.parts = parts
        self.conversion = conversion
    }

    init(_ cost: CallCost) {
        switch cost {
        case .none: self = .nothing
        case .unpriced: self = .unknown
        case .priced(let call): self.init(amount: call.amount, parts: call.parts, conversion: call.conversion)
        }
    }

    /// - Parameter parts: what the amount is made of. Empty where that is not known, as of a reported one; of zero
    ///   every part is zero all the same.
    init(amount: FixedDecimal, parts: [ProviderCost.Part], conversion: CostConversion) {
        self.init(
            total: conversion.convert(amount),
            parts: parts.isEmpty && !amount.isZero ? nil : parts,
            conversion: conversion
        )
    }

    /// The cost of the whole call; nil when it is not known.
    package var whole: FixedDecimal? { total }

    /// The cost of some components, no more than that of the whole call; nil when it is not known, as for a reported
    /// cost.
    func cost(of wanted: CostComponents) -> FixedDecimal? {
        guard let parts else { return nil }
        var sum = FixedDecimal.zero
        for part in parts where wanted.contains(part.component) {
            guard let total = try? sum.adding(part.amount) else { return nil }
            sum = total
        }
        return conversion.convert(sum).map { min($0, total ?? $0) }
    }
}
