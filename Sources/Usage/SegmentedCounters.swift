import BillingCore
import Catalog

/// Puts the charges to counters, also of periods whose plan changed within them. There each segment charges what its
/// price adds to the segments before it, so that a change of one counter may change the charges of all that follow.
struct SegmentedCounters {
    /// Counters in their new state, those beside the changed ones among them.
    let states: [CounterKey: CounterState]
    /// What they were charged before. Where everything is counted anew it is empty.
    var storedCharges: [CounterKey: FixedDecimal] = [:]
    /// How many distinct values a counter saw first in its period; where it says nothing, all of them.
    var firstSeen: [CounterKey: FixedDecimal] = [:]

    /// The rows of the counters that changed and of those whose charge depends on them.
    /// - Throws: `CounterOverflow` when a charge leaves the range of an amount.
    func rows(of changed: [CounterKey: CountedPlace]) throws(CounterOverflow) -> [CounterRow] {
        let whole = changed.filter { $0.value.place.parts.isEmpty }.map { key, counted in
            ChangedCounter(
                key: key,
                state: states[key] ?? CounterState(),
                price: counted.place.price(of: key.feature),
                storedCharge: storedCharges[key] ?? .zero
            )
        }
        return try CounterRow.charged(whole) + splitRows(of: changed)
    }

    /// Cells come before the pooled counters that are charged their sum.
    private func splitRows(of changed: [CounterKey: CountedPlace]) throws(CounterOverflow) -> [CounterRow] {
        var rows: [CounterRow] = []
        var moved: [CounterKey: FixedDecimal] = [:]
        var done: Set<CounterKey> = []
        let split = changed.filter { !$0.value.place.parts.isEmpty }.sorted { !$0.key.isPooled && $1.key.isPooled }
        for (key, counted) in split {
            let keys = counted.place.keys(beside: key)
            guard let first = keys.first, done.insert(first).inserted else { continue }
            do {
                let own = try segmentRows(keys, counted, moved: moved)
                rows += own
                for row in own where !row.key.isPooled {
                    let change = try row.charge.subtracting(storedCharges[row.key] ?? .zero)
                    moved[row.key.pooled] = try (moved[row.key.pooled] ?? .zero).adding(change)
                }
            } catch {
                throw CounterOverflow(tenant: key.tenant, feature: key.feature)
            }
        }
        return rows
    }

    /// One feature, or one cell of it, in all segments of a period.
    /// - Parameter moved: by how much the cells of pooled counters changed their charges.
    private func segmentRows(
        _ keys: [CounterKey],
        _ counted: CountedPlace,
        moved: [CounterKey: FixedDecimal]
    ) throws(DecimalError) -> [CounterRow] {
        let totals = keys.map { key in
            let total = states[key]?.total ?? .zero
            guard let fresh = firstSeen[key] else { return total }
            return UsageTotal(quantity: fresh, eventCount: total.eventCount, cost: total.cost)
        }
        let prices = zip(keys, counted.place.parts).map { key, part in
            counted.place.isTrial ? nil : part.segment.planVersion.charges[key.feature]
        }
        let running = try SegmentCharges.running(totals, by: counted.accumulation)
        let charges = try SegmentCharges.charges(
            of: totals,
            prices: zip(keys, prices).map { key, price in price?.price(ofCell: key.cell) },
            by: counted.accumulation
        )
        var rows: [CounterRow] = []
        for (index, key) in keys.enumerated() {
            guard let state = states[key] else { continue }
            var charge = try charges[index].rounded(toDigits: 12)
            if key.isPooled, case .matrix = prices[index] {
                charge = try (storedCharges[key] ?? .zero).adding(moved[key] ?? .zero)
            }
            let through = running[index].through.quantity
            rows.append(CounterRow(key: key, state: state, charge: charge, runningQuantity: through))
        }
        return rows
    }
}
