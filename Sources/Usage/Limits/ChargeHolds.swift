package import BillingCore
package import Catalog
package import Limits
package import Postgres

/// What open reservations hold of a limit on a tenant's charges.
///
/// Money follows the tiers: what is held is the most that the held usage can add to the charges, worked out from what
/// is used and held in all, and never a sum of amounts by reservation, of which each could still hope for the free
/// tier. So a reservation holds quantities, each in a row of `limit_state` beside the limit's own: one for each counter
/// and part of its total. The limit's own row holds the amount that follows from them, worked out anew whenever one
/// changes.
package struct ChargeHolds: Sendable {
    /// What of a counter's total is held.
    package enum Part: String, Sendable, Hashable, CaseIterable {
        case quantity, events, cost
    }

    private let prices: [CounterKey: Price]
    private let used: [CounterKey: UsageTotal]
    private var held: [CounterKey: UsageTotal] = [:]

    /// Reads what is used of the counters that anything is, or may come to be, held of under a locked row.
    /// - Parameters:
    ///   - row: the limit's own row.
    ///   - wanted: counters that may come to be held, beside those that are.
    /// - Throws: `StaleCatalog` when the snapshot does not know the period of a counter: what it holds is never priced
    ///   at zero for that.
    package init(
        of row: LimitRow,
        tenant: TenantSnapshot,
        wanted: Set<CounterKey> = [],
        parts: [LimitState],
        in transaction: borrowing Transaction
    ) throws {
        for state in parts {
            guard let (counter, part) = Self.counter(of: state.row) else { continue }
            let total = UsageTotal(part, state.balance.held)
            held[counter] = try held[counter, default: .zero].adding(total)
        }
        let counters = wanted.union(held.keys)
        let rows = try transaction.query(CounterStore.counters(counters.sorted()), CounterStore.decode)
        used = Dictionary(rows.map { ($0.key, $0.totalThroughSegment) }) { first, _ in first }
        var prices: [CounterKey: Price] = [:]
        for counter in counters { prices[counter] = try tenant.price(of: counter) }
        self.prices = prices
    }

    /// The most that what is held, with more, can add to the charges, kept to 12 digits.
    /// - Throws: `DecimalError.outOfRange` when an amount leaves its range.
    package func amount(adding more: [CounterKey: UsageTotal] = [:]) throws(DecimalError) -> FixedDecimal {
        var sum = ExactAmount.zero
        for counter in Set(held.keys).union(more.keys) {
            guard let price = prices[counter] else { continue }
            let total = try held[counter, default: .zero].adding(more[counter] ?? .zero)
            sum = try sum.adding(price.greatestCharge(of: total, after: used[counter] ?? .zero))
        }
        return try sum.rounded(toDigits: 12)
    }

    package mutating func hold(_ more: [CounterKey: UsageTotal]) throws(DecimalError) {
        for (counter, total) in more { held[counter] = try held[counter, default: .zero].adding(total) }
    }
}

// MARK: Rows

extension ChargeHolds {
    private static let mark: Character = "#"

    /// The rows that hold a use's part of each counter, with the amounts.
    package static func rows(
        beside row: LimitRow,
        holding totals: [CounterKey: UsageTotal]
    ) -> [(row: LimitRow, amount: FixedDecimal)] {
        totals.flatMap { counter, total in
            Part.allCases.compactMap { part in
                let amount = total[part]
                return amount > .zero ? (self.row(beside: row, counter, part), amount) : nil
            }
        }
    }

    /// Every row that may hold a part of these counters.
    package static func allRows(beside row: LimitRow, of counters: some Sequence<CounterKey>) -> [LimitRow] {
        counters.flatMap { counter in Part.allCases.map { self.row(beside: row, counter, $0) } }
    }

    private static func row(beside row: LimitRow, _ counter: CounterKey, _ part: Part) -> LimitRow {
        LimitRow(
            tenant: row.tenant,
            limit: row.limit,
            scopeValue: "\(mark)\(counter.period)/\(counter.feature)/\(part.rawValue)/\(counter.cell)",
            windowStart: row.windowStart
        )
    }

    /// The limit's own row beside which this one holds a quantity; nil for any other row.
    package static func mainRow(beside row: LimitRow) -> LimitRow? {
        row.scopeValue.first == mark ? row.without(scopeValue: "") : nil
    }

    private static func counter(of row: LimitRow) -> (CounterKey, Part)? {
        guard row.scopeValue.first == mark else { return nil }
        let fields = row.scopeValue.dropFirst().split(separator: "/", maxSplits: 3, omittingEmptySubsequences: false)
        guard fields.count == 4, let period = Int64(fields[0]), let feature = Int64(fields[1]),
            let part = Part(rawValue: String(fields[2]))
        else { return nil }
        let counter = CounterKey(
            tenant: row.tenant,
            period: BillingPeriodID(rawValue: period),
            feature: FeatureID(rawValue: feature),
            cell: String(fields[3])
        )
        return (counter, part)
    }
}

// MARK: After a change of usage

extension ChargeHolds {
    /// Works out anew what limits on a tenant's charges hold, after usage or quantities changed under their locked
    /// rows. What `used` and `held` together have grown by is overshoot: no reservation held it.
    /// - Parameter changed: the limits' own rows as they are now, and by how much their use was changed.
    package static func recompute(
        _ changed: [(state: LimitState, used: FixedDecimal, tenant: TenantSnapshot)],
        in transaction: borrowing Transaction
    ) throws {
        guard !changed.isEmpty else { return }
        let parts = try transaction.query(LimitStateStore.parts(of: changed.map(\.state.row)), LimitStateStore.decode)
        let byRow = Dictionary(grouping: parts) { part in part.row.without(scopeValue: "") }
        var rows: [LimitRow] = []
        var helds: [FixedDecimal] = []
        var overshoots: [FixedDecimal] = []
        for (state, used, tenant) in changed {
            let parts = byRow[state.row] ?? []
            guard !parts.isEmpty || !state.balance.held.isZero || used > .zero else { continue }
            let holds = try ChargeHolds(of: state.row, tenant: tenant, parts: parts, in: transaction)
            let held = try holds.amount()
            let growth = try used.adding(held).subtracting(state.balance.held)
            rows.append(state.row)
            helds.append(held)
            overshoots.append(max(.zero, growth))
        }
        if !rows.isEmpty { transaction.enqueue(LimitStateStore.setHeld(rows, held: helds, overshoot: overshoots)) }
    }
}

extension PendingEvent {
    /// What some of the use can be charged at most, wherever in the tenant's tiers it falls.
    /// - Throws: `DecimalError.outOfRange` when an amount leaves its range.
    package func highestCharge(of totals: [CounterKey: UsageTotal]) throws(DecimalError) -> FixedDecimal {
        var sum = ExactAmount.zero
        for (counter, total) in totals {
            guard let price = place?.price(of: counter.feature)?.price(ofCell: counter.cell) else { continue }
            sum = try sum.adding(price.highestCharge(of: total))
        }
        return try sum.rounded(toDigits: 12)
    }

    /// What the use adds to the total of each counter that has a price, as far as the price looks at it.
    package func heldTotals(of tenant: TenantID) -> [CounterKey: UsageTotal] {
        guard let place, let period = place.billingPeriodID else { return [:] }
        var totals: [CounterKey: UsageTotal] = [:]
        for measurement in measurements {
            let price = place.price(of: measurement.feature)
            measurement.forEachCounter(of: tenant, in: period) { key, value, cost in
                guard let own = price?.price(ofCell: key.cell) else { return }
                totals[key] = UsageTotal(
                    quantity: value.additive ?? .zero,
                    eventCount: own.countsEvents ? 1 : 0,
                    cost: own.followsCost ? cost ?? .zero : .zero
                )
            }
        }
        return totals
    }

    /// Whether the plan says what all of the use is charged.
    package var isPriced: Bool {
        guard let place else { return true }
        return measurements.allSatisfy { $0.isPriced(by: place.planVersion) }
    }
}

extension Price {
    fileprivate var countsEvents: Bool {
        if case .percentage = self { true } else { false }
    }

    fileprivate var followsCost: Bool {
        if case .costPlus = self { true } else { false }
    }
}

extension LimitRow {
    fileprivate func without(scopeValue: String) -> LimitRow {
        LimitRow(tenant: tenant, limit: limit, scopeValue: scopeValue, windowStart: windowStart)
    }
}

extension UsageTotal {
    fileprivate init(_ part: ChargeHolds.Part, _ amount: FixedDecimal) {
        switch part {
        case .quantity: self.init(quantity: amount, eventCount: 0)
        case .events:
            self.init(quantity: .zero, eventCount: Int64(clamping: amount.unscaled / FixedDecimal.unscaledOne))
        case .cost: self.init(quantity: .zero, eventCount: 0, cost: amount)
        }
    }

    fileprivate subscript(part: ChargeHolds.Part) -> FixedDecimal {
        switch part {
        case .quantity: quantity
        case .events: FixedDecimal(eventCount)
        case .cost: cost
        }
    }
}

extension CounterRow {
    /// What its period has used through its segment, which a price of the segment continues from.
    fileprivate var totalThroughSegment: UsageTotal {
        UsageTotal(
            quantity: runningQuantity ?? state.quantity,
            eventCount: state.eventCount,
            cost: state.cost
        )
    }
}

extension TenantSnapshot {
    /// The price that charges a counter; nil where the plan of its period has none, and in a trial.
    fileprivate func price(of counter: CounterKey) throws(StaleCatalog) -> Price? {
        for subscription in subscriptions {
            guard let (index, ordinal) = subscription.billingPeriodIDs.place(of: counter.period) else { continue }
            guard index != SubscriptionSnapshot.trialIndex,
                let segment = subscription.segments.first(where: { $0.ordinal == ordinal })
            else { return nil }
            return segment.planVersion.charges[counter.feature]?.price(ofCell: counter.cell)
        }
        throw StaleCatalog(tenants: [id], shared: false)
    }
}
