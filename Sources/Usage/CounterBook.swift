package import BillingCore
import Catalog

/// Names one usage counter: what a feature counted for a tenant in a billing period.
package struct CounterKey: Sendable, Hashable, Comparable {
    package let tenant: TenantID
    package let period: BillingPeriodID
    package let feature: FeatureID
    /// Empty for the feature's pooled counter; otherwise the cell of a matrix price that is counted beside it.
    package let cell: String

    package init(tenant: TenantID, period: BillingPeriodID, feature: FeatureID, cell: String = "") {
        self.tenant = tenant
        self.period = period
        self.feature = feature
        self.cell = cell
    }

    /// Whether it counts the feature's whole usage of the period.
    package var isPooled: Bool { cell.isEmpty }

    /// As the database compares them: cells that look the same and are written otherwise are two.
    package static func == (left: Self, right: Self) -> Bool {
        left.period == right.period && left.feature == right.feature && left.tenant == right.tenant
            && left.cell.hasSameBytes(as: right.cell)
    }

    /// A period belongs to one tenant, and most counters are pooled: two words spread as well as all four.
    package func hash(into hasher: inout Hasher) {
        hasher.combine(period)
        hasher.combine(feature)
        if !isPooled { hasher.combine(cell) }
    }

    /// The key of the feature's pooled counter.
    package var pooled: CounterKey { CounterKey(tenant: tenant, period: period, feature: feature) }

    package static func < (left: Self, right: Self) -> Bool {
        (left.tenant, left.period, left.feature, left.cell) < (right.tenant, right.period, right.feature, right.cell)
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

/// Events without a known provider cost, and what they were measured as where the meter sums or counts: what a price
/// that follows the cost does not charge yet.
package struct UncostedUsage: Sendable, Hashable {
    package var eventCount: Int64 = 0
    package var quantity: FixedDecimal = .zero
    /// False for a counter of before all of them were noted: there may be more.
    package var isExact = true

    package static let none = UncostedUsage()

    package init(eventCount: Int64 = 0, quantity: FixedDecimal = .zero, isExact: Bool = true) {
        self.eventCount = eventCount
        self.quantity = quantity
        self.isExact = isExact
    }

    fileprivate mutating func add(_ value: MeasuredValue) throws(DecimalError) {
        eventCount += 1
        quantity = try quantity.adding(value.additive ?? .zero)
    }

    /// Takes out an event whose cost is known by now, or that was voided. Where not all are noted this may be one of
    /// the others: then fewer are left than there are, and never more.
    fileprivate mutating func remove(_ value: MeasuredValue) throws(DecimalError) {
        eventCount -= 1
        quantity = try quantity.subtracting(value.additive ?? .zero)
        guard !isExact else { return }
        eventCount = max(eventCount, 0)
        quantity = eventCount == 0 ? .zero : max(quantity, .zero)
    }
}

/// The state of one counter. `quantity` is the value of the feature's aggregation over `eventCount` events.
package struct CounterState: Sendable, Hashable {
    package var quantity: FixedDecimal = .zero
    package var eventCount: Int64 = 0
    /// What the providers charge for these events, in the plan's currency.
    package var cost: FixedDecimal = .zero
    /// Those of the events that `cost` leaves out, because theirs is not known.
    package var uncosted = UncostedUsage.none
    package var winner: CounterWinner?
    /// The ledger sequence of the last event that changed the counter, a reversal included.
    package var ledgerSequence: Int64 = 0

    package init(quantity: FixedDecimal = .zero, eventCount: Int64 = 0, cost: FixedDecimal = .zero) {
        self.quantity = quantity
        self.eventCount = eventCount
        self.cost = cost
    }

    /// What a price charges for.
    package var total: UsageTotal { UsageTotal(quantity: quantity, eventCount: eventCount, cost: cost) }

    /// Folds one more event in. `unique` changes only the event count and the cost here: whether its value is new is
    /// known from the reference counts.
    /// - Parameter added: the event's cost; nil when it is not known.
    /// - Throws: `DecimalError.outOfRange` when a sum leaves the range of a quantity.
    package mutating func add(
        _ value: MeasuredValue,
        cost added: FixedDecimal?,
        from event: CounterWinner,
        sequence: Int64
    ) throws(DecimalError) {
        eventCount += 1
        if let added {
            cost = try cost.adding(added)
        } else {
            try uncosted.add(value)
        }
        ledgerSequence = max(ledgerSequence, sequence)
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

    /// Adds the cost of an event that is counted already, without one; nil where it is not known even now.
    /// - Parameter sequence: that of the rating.
    mutating func addCost(_ added: FixedDecimal?, of value: MeasuredValue, sequence: Int64) throws(DecimalError) {
        if let added {
            cost = try cost.adding(added)
            try uncosted.remove(value)
        }
        ledgerSequence = max(ledgerSequence, sequence)
    }

    /// Takes one event out again. A `max` or `latest` cannot be undone from its state: the caller recounts it when
    /// this answers `false`.
    /// - Parameter sequence: that of the reversal.
    package mutating func remove(
        _ value: MeasuredValue,
        cost removed: FixedDecimal?,
        of event: EventKey,
        sequence: Int64
    ) throws(DecimalError) -> Bool {
        eventCount -= 1
        if let removed {
            cost = try cost.subtracting(removed)
        } else {
            try uncosted.remove(value)
        }
        ledgerSequence = max(ledgerSequence, sequence)
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
