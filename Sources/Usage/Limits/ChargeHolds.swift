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

    /// What is asked of one limit's own row, which the transaction has locked.
    package struct Wanted: Sendable {
        let row: LimitRow
        private(set) var tenant: TenantSnapshot
        /// Counters that may come to be held, beside those that are.
        private(set) var counters: Set<CounterKey> = []

        package init(row: LimitRow, tenant: TenantSnapshot) {
            self.row = row
            self.tenant = tenant
        }

        /// Counters of the same tenant, which may be of billing periods that were made meanwhile.
        package mutating func add(_ more: some Collection<CounterKey>, of snapshot: TenantSnapshot) {
            if more.contains(where: { !tenant.knows($0.period) }) { tenant = snapshot }
            counters.formUnion(more)
        }
    }

    private var prices: [CounterKey: Price] = [:]
    /// What the period had used through a counter's segment: a price continues from there.
    private var used: [CounterKey: UsageTotal] = [:]
    private var held: [CounterKey: UsageTotal] = [:]
    /// What a counter's own segment has used, and is charged, and what those before it have used.
    private var own: [CounterKey: (used: UsageTotal, charge: FixedDecimal)] = [:]
    private var usedEarlier: [CounterKey: UsageTotal] = [:]
    /// The counters of the segments before a counter's, of the same period.
    private var earlier: [CounterKey: [CounterKey]] = [:]
    /// Held as money, for what had no known price.
    private var money = FixedDecimal.zero

    /// Reads what is held, and what is used of the counters that anything is, or may come to be, held of.
    /// - Throws: `StaleCatalog`, see `Reading`.
    package static func load(
        _ wanted: [Wanted],
        in transaction: borrowing Transaction
    ) throws -> [LimitRow: ChargeHolds] {
        guard !wanted.isEmpty else { return [:] }
        let reading = try Reading(wanted)
        return try reading.holds(try transaction.pipeline(reading.statements), in: transaction)
    }

    /// What is to be read, as statements that may travel with others.
    package struct Reading {
        private let wanted: [Wanted]
        private var places: [CounterKey: TenantSnapshot.PricedPlace] = [:]
        private let expected: [CounterKey]

        /// - Throws: `StaleCatalog` when the snapshot does not know the period of a counter: what it holds is never
        ///   priced at zero for that.
        package init(_ wanted: [Wanted]) throws(StaleCatalog) {
            self.wanted = wanted
            for item in wanted {
                for counter in item.counters { places[counter] = try item.tenant.place(of: counter) }
            }
            expected = Set(places.values.flatMap(\.inPeriod)).sorted()
        }

        /// They must come behind the locks of the limits' own rows.
        package var statements: [SQL] {
            [LimitStateStore.parts(of: wanted.map(\.row))] + (expected.isEmpty ? [] : [CounterStore.counters(expected)])
        }

        /// What is counted in a segment has made its row, and is known behind the locks of limits; what is held of
        /// before it counts with that.
        /// - Throws: `StaleCatalog` where there is such a row by now.
        private static func requireKnown(
            _ unknown: [BillingPeriod.Wanted],
            in transaction: borrowing Transaction
        ) throws {
            let made = try BillingPeriodStore.read(Array(Set(unknown)), in: transaction)
            guard made.isEmpty else { throw StaleCatalog(tenants: Set(made.map(\.tenantID)), shared: false) }
        }

        /// Periods that something is held in and that the snapshot does not know, as those that ended long ago.
        private func olderPeriods(
            heldBy parts: [LimitRow: [LimitState]],
            in transaction: borrowing Transaction
        ) throws(PostgresError) -> [BillingPeriod] {
            var unknown: [BillingPeriodID: TenantID] = [:]
            for item in wanted {
                for state in parts[item.row] ?? [] {
                    guard let (counter, _) = ChargeHolds.counter(of: state.row), !item.tenant.knows(counter.period)
                    else { continue }
                    unknown[counter.period] = counter.tenant
                }
            }
            return try BillingPeriodStore.segments(ofPeriodsWith: unknown, in: transaction)
        }

        /// - Parameter results: of the statements. Counters that only they tell of are read from the transaction.
        package func holds(
            _ results: [PostgresResult],
            in transaction: borrowing Transaction
        ) throws -> [LimitRow: ChargeHolds] {
            let states = try results.first?.map(LimitStateStore.decode) ?? []
            let parts = Dictionary(grouping: states) { $0.row.without(scopeValue: "") }
            let older = try olderPeriods(heldBy: parts, in: transaction)
            var places = places
            var loaded: [LimitRow: ChargeHolds] = [:]
            for item in wanted {
                var holds = try ChargeHolds(holding: parts[item.row] ?? [])
                let tenant = item.tenant.remembering(older)
                for counter in item.counters.union(holds.held.keys) {
                    let place = try places[counter] ?? tenant.place(of: counter)
                    places[counter] = place
                    for counter in [counter] + place.later {
                        let place = try places[counter] ?? tenant.place(of: counter)
                        places[counter] = place
                        holds.prices[counter] = place.price
                        holds.earlier[counter] = place.throughSegment.filter { $0 != counter }
                    }
                }
                loaded[item.row] = holds
            }
            try Self.requireKnown(places.values.flatMap(\.unknown), in: transaction)
            var rows = try results.dropFirst().first?.map(CounterStore.decode) ?? []
            let others = Set(places.values.flatMap(\.inPeriod)).subtracting(expected).sorted()
            if !others.isEmpty { rows += try transaction.query(CounterStore.counters(others), CounterStore.decode) }
            let counted = Dictionary(rows.map { ($0.key, $0) }) { first, _ in first }
            for row in loaded.keys {
                for counter in loaded[row]?.prices.keys ?? [:].keys {
                    let through = places[counter]?.throughSegment ?? []
                    loaded[row]?.used[counter] = try UsageTotal(through: through.compactMap { counted[$0] })
                    loaded[row]?.usedEarlier[counter] = try UsageTotal(
                        through: through.filter { $0 != counter }.compactMap { counted[$0] }
                    )
                    loaded[row]?.own[counter] = counted[counter].map { ($0.state.total, $0.charge) }
                }
            }
            return loaded
        }
    }

    private init(holding parts: [LimitState]) throws(DecimalError) {
        for state in parts {
            if let (counter, part) = Self.counter(of: state.row) {
                let total = UsageTotal(part, state.balance.held)
                held[counter] = try held[counter, default: .zero].adding(total)
            } else {
                money = try money.adding(state.balance.held)
            }
        }
    }

    /// The most that what is held, with more, can add to the charges, kept to 12 digits. What is held in a segment may
    /// be used before what is held, and was used, in the segments after it, and so leave less of a tier to them.
    /// - Throws: `DecimalError.outOfRange` when an amount leaves its range.
    package func amount(
        adding more: [CounterKey: UsageTotal] = [:],
        money added: FixedDecimal = .zero
    ) throws(DecimalError) -> FixedDecimal {
        var sum = ExactAmount(try money.adding(added))
        for (counter, price) in prices {
            let here = try held[counter, default: .zero].adding(more[counter] ?? .zero)
            var before = UsageTotal.zero
            for segment in earlier[counter] ?? [] {
                before = try before.adding(held[segment] ?? .zero).adding(more[segment] ?? .zero)
            }
            sum = try sum.adding(growth(of: counter, at: price, holding: here, before: before))
        }
        return try sum.rounded(toDigits: 12)
    }

    /// By how much what is held can raise the charge of a counter's segment at most.
    /// - Parameter before: what is held in the segments before it. The segment is charged what its price adds to them:
    ///   the more at its end, and the less at its start, the more.
    private func growth(
        of counter: CounterKey,
        at price: Price,
        holding here: UsageTotal,
        before: UsageTotal
    ) throws(DecimalError) -> ExactAmount {
        let through = used[counter] ?? .zero
        let greatest = try price.greatestCharge(of: try before.adding(here), after: through)
        guard before != .zero else { return greatest }
        let charged = ExactAmount(own[counter]?.charge ?? .zero)
        let least = try price.leastCharge(of: before, after: usedEarlier[counter] ?? .zero)
        let growth = try greatest.adding(price.usageCharge(for: through)).subtracting(least).subtracting(charged)
        if case .volume = price { return max(.zero, growth) }
        // Of other prices each unit comes to the highest amount at most.
        let highest = try price.highestCharge(of: own[counter]?.used.adding(here) ?? here)
        return max(.zero, min(growth, try highest.subtracting(charged)))
    }

    /// What a call that takes so much comes to by itself: in the period and segment, of those that it may fall in, and
    /// at the use, none or the present one, where that is least.
    package func least(of totals: [CounterKey: UsageTotal], money: FixedDecimal) throws(DecimalError) -> FixedDecimal {
        var least: FixedDecimal?
        for own in Dictionary(grouping: totals, by: \.key.period).values {
            var (atStart, now) = (ExactAmount(money), ExactAmount(money))
            for (counter, total) in own {
                guard let price = prices[counter] else { continue }
                atStart = try atStart.adding(price.greatestCharge(of: total, after: .zero))
                now = try now.adding(price.greatestCharge(of: total, after: used[counter] ?? .zero))
            }
            let amount = try min(atStart.rounded(toDigits: 12), now.rounded(toDigits: 12))
            least = min(least ?? amount, amount)
        }
        return least ?? money
    }

    package mutating func hold(_ more: [CounterKey: UsageTotal], money added: FixedDecimal) throws(DecimalError) {
        money = try money.adding(added)
        for (counter, total) in more { held[counter] = try held[counter, default: .zero].adding(total) }
    }

    /// Takes back what `rows(beside:holding:)` of so much holds.
    package mutating func free(_ totals: [CounterKey: UsageTotal], money freed: FixedDecimal) throws(DecimalError) {
        money = try money.subtracting(freed)
        for (counter, total) in totals { held[counter] = try held[counter, default: .zero].freeing(total) }
    }
}

// MARK: After a change of usage

extension ChargeHolds {
    /// Works out anew what limits on a tenant's charges hold, after usage or quantities changed under their locked
    /// rows, and writes it with what they have used. What `used` and `held` together have grown by is overshoot, as
    /// no reservation held it; what they have fallen by when usage was voided is less of that.
    /// - Parameter changed: the limits' own rows as they are, what is used of them then, and by how much more it would
    ///   have fallen below zero, see `LimitStateStore.floor`.
    /// - Returns: what they hold then.
    static func recompute(
        _ changed: [(
            state: LimitState, used: FixedDecimal, floored: FixedDecimal, isVoid: Bool, tenant: TenantSnapshot
        )],
        in transaction: borrowing Transaction
    ) throws -> [LimitRow: FixedDecimal] {
        let loaded = try load(changed.map { Wanted(row: $0.state.row, tenant: $0.tenant) }, in: transaction)
        var computed: [LimitStateStore.Computed] = []
        for (state, used, floored, isVoid, _) in changed {
            guard let holds = loaded[state.row] else { continue }
            let held = try holds.amount()
            let grown = try used.subtracting(max(.zero, state.balance.used))
            let growth = try grown.adding(held).subtracting(state.balance.held)
            let more = isVoid ? growth : max(.zero, growth)
            computed.append(.init(state.row, held: held, used: used, floored: floored, overshoot: more))
        }
        if !computed.isEmpty { transaction.enqueue(LimitStateStore.set(computed)) }
        return Dictionary(uniqueKeysWithValues: computed.map { ($0.row, $0.held) })
    }
}

extension PendingEvent {
    /// - Parameters:
    ///   - feature: the only one that is looked at; nil for all.
    ///   - withDistinct: whether distinct values are, which are charged to all of a tenant's use together.
    func measurements(of feature: FeatureID?, withDistinct: Bool) -> [Measurement] {
        measurements.filter { (feature == nil || $0.feature == feature) && (withDistinct || !$0.isDistinct) }
    }

    /// What the use adds to the total of each counter that has a price, as far as the price looks at it.
    /// - Parameters:
    ///   - feature: the only one that is looked at; nil for all.
    ///   - withDistinct: whether distinct values are, which are charged to all of a tenant's use together.
    package func heldTotals(
        of tenant: TenantID,
        feature: FeatureID? = nil,
        withDistinct: Bool = true
    ) -> [CounterKey: UsageTotal] {
        guard let place, let period = place.billingPeriodID else { return [:] }
        var totals: [CounterKey: UsageTotal] = [:]
        for measurement in measurements(of: feature, withDistinct: withDistinct) {
            let price = place.price(of: measurement.feature)
            measurement.forEachCounter(of: tenant, in: period) { key, value, cost in
                guard let own = price?.price(ofCell: key.cell) else { return }
                totals[key] = UsageTotal(
                    // A greatest or latest value, and a distinct one, may be as much more as it says.
                    quantity: value.quantity,
                    eventCount: own.countsEvents ? 1 : 0,
                    cost: own.followsCost ? cost ?? .zero : .zero
                )
            }
        }
        return totals
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
    func without(scopeValue: String) -> LimitRow {
        LimitRow(tenant: tenant, limit: limit, scopeValue: scopeValue, windowStart: windowStart)
    }
}

extension UsageTotal {
    init(_ part: ChargeHolds.Part, _ amount: FixedDecimal) {
        switch part {
        case .quantity: self.init(quantity: amount, eventCount: 0)
        case .events:
            self.init(quantity: .zero, eventCount: Int64(clamping: amount.unscaled / FixedDecimal.unscaledOne))
        case .cost: self.init(quantity: .zero, eventCount: 0, cost: amount)
        }
    }

    subscript(part: ChargeHolds.Part) -> FixedDecimal {
        switch part {
        case .quantity: quantity
        case .events: FixedDecimal(eventCount)
        case .cost: cost
        }
    }
}

extension UsageTotal {
    /// What is left when the parts of another that are held are not any more.
    fileprivate func freeing(_ other: UsageTotal) throws(DecimalError) -> UsageTotal {
        UsageTotal(
            quantity: try quantity.subtracting(max(.zero, other.quantity)),
            eventCount: eventCount - max(0, other.eventCount),
            cost: try cost.subtracting(max(.zero, other.cost))
        )
    }

    /// What a period has used through a segment, from the counters of that and the ones before it, in their order.
    fileprivate init(through rows: [CounterRow]) throws(DecimalError) {
        var events: Int64 = 0
        var cost = FixedDecimal.zero
        for row in rows {
            let (sum, overflow) = events.addingReportingOverflow(row.state.eventCount)
            guard !overflow else { throw .outOfRange }
            events = sum
            cost = try cost.adding(row.state.cost)
        }
        let last = rows.last
        self.init(quantity: last?.runningQuantity ?? last?.state.quantity ?? .zero, eventCount: events, cost: cost)
    }
}
