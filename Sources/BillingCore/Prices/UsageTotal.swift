/// A feature's usage in a billing period so far: what a charge depends on.
@usableFromInline
package struct UsageTotal: Sendable, Hashable {
    @usableFromInline package let quantity: FixedDecimal
    @usableFromInline package let eventCount: Int64
    /// What the providers charge for it, in the plan's currency.
    @usableFromInline package let cost: FixedDecimal

    @inlinable
    package init(quantity: FixedDecimal, eventCount: Int64, cost: FixedDecimal = .zero) {
        self.quantity = quantity
        self.eventCount = eventCount
        self.cost = cost
    }

    package static let zero = UsageTotal(quantity: .zero, eventCount: 0)
}
