import BillingCore
import Catalog
import Postgres

/// The distinct values that a transaction made new to counters, and those it took from them, where the plan changed
/// within the period: a value counts in the segment that saw it first, whatever later ones see. The reference counts
/// have been written.
struct DistinctMoves {
    var appearing: [CounterKey: Set<EventKey>] = [:]
    var vanishing: [CounterKey: Set<EventKey>] = [:]

    /// How many values each counter of the changed ones' periods saw first, from what was stored before and the values
    /// that moved: only these are looked up.
    /// - Parameter running: the period's quantity through each counter that was stored.
    func firstSeen(
        of changed: [CounterKey: CountedPlace],
        running: [CounterKey: FixedDecimal],
        in transaction: borrowing Transaction
    ) throws -> [CounterKey: FixedDecimal] {
        var counts: [CounterKey: FixedDecimal] = [:]
        for (key, counted) in changed where counted.isDistinct && !counted.place.parts.isEmpty && counts[key] == nil {
            let keys = counted.place.keys(beside: key)
            var before = FixedDecimal.zero
            for key in keys {
                let through = running[key] ?? before
                counts[key] = try through.subtracting(before)
                before = through
            }
            for (value, holders) in try holders(among: keys, in: transaction) {
                let earlier = keys.indices.filter { index in
                    vanishing[keys[index]]?.contains(value) == true
                        || holders.contains(index) && appearing[keys[index]]?.contains(value) != true
                }
                guard earlier.min() != holders.min() else { continue }
                if let gone = earlier.min() { counts[keys[gone]] = try counts[keys[gone]]?.subtracting(.one) }
                if let new = holders.min() { counts[keys[new]] = try counts[keys[new]]?.adding(.one) }
            }
        }
        return counts
    }

    /// For each value that moved: the positions of the counters that have it now.
    private func holders(
        among keys: [CounterKey],
        in transaction: borrowing Transaction
    ) throws -> [EventKey: Set<Int>] {
        let moved = keys.reduce(into: Set<EventKey>()) { moved, key in
            moved.formUnion(appearing[key] ?? [])
            moved.formUnion(vanishing[key] ?? [])
        }
        guard !moved.isEmpty else { return [:] }
        var holders = Dictionary(uniqueKeysWithValues: moved.map { ($0, Set<Int>()) })
        let found = try transaction.query(DistinctStore.holding(moved.sorted(), in: keys), DistinctStore.decode)
        for held in found {
            guard let position = keys.firstIndex(of: held.counter) else { continue }
            holders[held.value]?.insert(position)
        }
        return holders
    }
}
