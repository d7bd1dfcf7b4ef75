package import BillingCore
import Catalog

/// Names one usage counter: what a feature counted for a tenant in a billing period.
package struct CounterKey: Sendable, Hashable, Comparable {
    package let tenant: TenantID
    package let period: BillingPeriodID
    package let feature: FeatureID

    package init(tenant: TenantID, period: BillingPeriodID, feature: FeatureID) {
        self.tenant = tenant
        self.period = period
        self.feature = feature
    }

    package static func < (left: Self, right: Self) -> Bool {
        (left.tenant, left.period, left.feature) < (right.tenant, right.period, right.feature)
    }
}

/// Which event a `max` or `latest` counter shows. The order is total, so that the winner of a tie does not depend on
/// the order of arrival.
package struct CounterWinner: Sendable, Hashable, Comparable {
    package let time: Instant
    package let id: String
    package let key: EventKey

    package static func < (left: Self, right: Self) -> Bool {
        (left.time, left.id, left.key) < (right.time, right.id, right.key)
    }
}

/// The state of one counter. `quantity` is the value of the feature's aggregation over `eventCount` events.
package struct CounterState: Sendable, Hashable {
    package var quantity: FixedDecimal = .zero
    package var eventCount: Int64 = 0
    package var winner: CounterWinner?

    package init(quantity: FixedDecimal = .zero, eventCount: Int64 = 0, winner: CounterWinner? = nil) {
        self.quantity = quantity
        self.eventCount = eventCount
        self.winner = winner
    }

    /// Folds one more event in. `unique` changes only the event count here: whether its value is new is known
    /// from the reference counts.
    /// - Throws: `DecimalError.outOfRange` when the sum leaves the range of a quantity.
    package mutating func add(_ value: MeasuredValue, from event: CounterWinner) throws(DecimalError) {
        eventCount += 1
        switch value {
        case .sum(let amount):
            quantity = try quantity.adding(amount)
        case .count:
            quantity = try quantity.adding(.one)
        case .maximum(let amount):
            if let winner, amount < quantity || (amount == quantity && winner < event) { return }
            quantity = amount
            winner = event
        case .latest(let amount):
            if let winner, event < winner { return }
            quantity = amount
            winner = event
        case .unique:
            break
        }
    }

    /// Takes one event out again. A `max` or `latest` cannot be undone from its state: the caller recounts it when
    /// this answers `false`.
    package mutating func remove(_ value: MeasuredValue, of event: EventKey) throws(DecimalError) -> Bool {
        eventCount -= 1
        switch value {
        case .sum(let amount):
            quantity = try quantity.subtracting(amount)
        case .count:
            quantity = try quantity.subtracting(.one)
        case .maximum, .latest:
            return winner?.key != event
        case .unique:
            break
        }
        return true
    }
}
