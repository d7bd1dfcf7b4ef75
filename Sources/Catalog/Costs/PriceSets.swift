package import BillingCore
package import Postgres
import Synchronization
import Web

/// What a stored cost was computed with.
package enum PriceSet: Sendable, Hashable {
    /// Entries of the price book, in ascending order; none where a call had nothing to charge for.
    case prices([PriceID], Currency)
    /// What a trusted sender reported.
    case reported(Currency)

    var key: String {
        switch self {
        case .prices(let ids, let currency): "\(currency.code):" + ids.map(\.description).joined(separator: ",")
        case .reported(let currency): "\(currency.code):reported"
        }
    }

    package var isReported: Bool {
        if case .reported = self { true } else { false }
    }

    var prices: [PriceID] {
        if case .prices(let ids, _) = self { ids } else { [] }
    }

    package var currency: Currency {
        switch self {
        case .prices(_, let currency), .reported(let currency): currency
        }
    }
}

/// A price or a rate is gone that costs were about to be computed with: the catalogue must be read again.
package struct PriceVanished: Error {}

/// The price sets in use, remembered for ingest. A set that is not stored yet is stored before the costs that name it,
/// once for all replicas.
package final class PriceSets: Sendable {
    /// Beyond this many, what is remembered is let go.
    private static let capacity = 100_000

    /// A set and, once it is stored, its id. One is shared by everything that names the set.
    package final class Reference: Sendable {
        package let set: PriceSet
        private let stored = Atomic<Int64>(0)

        init(_ set: PriceSet) {
            self.set = set
        }

        /// Nil before the set is stored.
        package var id: PriceSetID? {
            let id = stored.load(ordering: .acquiring)
            return id == 0 ? nil : PriceSetID(id)
        }

        fileprivate func remember(_ id: PriceSetID) {
            stored.store(id.rawValue, ordering: .releasing)
        }
    }

    private struct Known {
        var sets: [PriceSet: Reference] = [:]
        var usedRates: Set<FXRateID> = []
    }

    private let known = Mutex(Known())

    package init() {}

    /// Has what is known asked for again: the database may not be the one that it was.
    package func forgetAll() { known.withLock { $0 = Known() } }

    package func reference(to set: PriceSet) -> Reference {
        known.withLock { known in
            if let reference = known.sets[set] { return reference }
            if known.sets.count > Self.capacity { known.sets.removeAll() }
            let reference = Reference(set)
            known.sets[set] = reference
            return reference
        }
    }

    /// Whether a rate is stored as used.
    package func isUsed(_ rate: FXRateID) -> Bool {
        known.withLock { $0.usedRates.contains(rate) }
    }

    /// Stores the sets and marks the rates that are not known yet, so that neither they nor their prices can go.
    /// - Throws: `PriceVanished` when one of them was removed in the meantime.
    package func ensure(
        _ references: [Reference],
        rates: Set<FXRateID>,
        at now: Instant,
        lane: PostgresLane,
        pool: PostgresPool
    ) async throws {
        let wanted = Set(references.map(\.set)).sorted { $0.key < $1.key }
        let marked = rates.sorted()
        guard !wanted.isEmpty || !marked.isEmpty else { return }
        let ids: [PriceSetID]
        do {
            ids = try await pool.transaction(lane, retries: .idempotent(attempts: 3)) { transaction in
                guard try FXRateStore.markUsed(marked, at: now, in: transaction).count == marked.count else {
                    throw PriceVanished()
                }
                return try PriceSetStore.ensure(wanted, at: now, in: transaction)
            }
        } catch let error as PostgresError where error.constraint == PriceSetStore.entryPriceConstraint {
            throw PriceVanished()
        }
        let idOf = Dictionary(zip(wanted, ids)) { first, _ in first }
        for reference in references {
            if let id = idOf[reference.set] { reference.remember(id) }
        }
        known.withLock { known in
            if known.usedRates.count > Self.capacity { known.usedRates.removeAll() }
            known.usedRates.formUnion(marked)
        }
    }
}

/// All SQL on `price_set` and `price_set_entry`.
enum PriceSetStore {
    static let entryPriceConstraint = "price_set_entry_price_fk"

    /// The ids of sets, in their order, made where they are missing.
    static func ensure(
        _ sets: [PriceSet],
        at now: Instant,
        in transaction: borrowing Transaction
    ) throws -> [PriceSetID] {
        guard !sets.isEmpty else { return [] }
        let keys = sets.map(\.key)
        let reported = sets.map(\.isReported)
        try transaction.execute(
            """
            INSERT INTO price_set (price_set_id, set_key, currency, is_reported, created_at)
            SELECT nextval('price_set_id_seq'), wanted.set_key, wanted.currency, wanted.is_reported, \(now)
            FROM unnest(\(keys)::text[], \(sets.map(\.currency))::text[], \(reported)::boolean[])
                AS wanted (set_key, currency, is_reported)
            WHERE NOT EXISTS (SELECT FROM price_set AS kept WHERE kept.set_key = wanted.set_key)
            ORDER BY wanted.set_key
            ON CONFLICT ON CONSTRAINT price_set_key_unique DO NOTHING
            """
        )
        let ids = try transaction.query(
            "SELECT set_key, price_set_id FROM price_set WHERE set_key = ANY(\(keys)::text[])"
        ) { row throws(PostgresError) in (try row.next(String.self), try row.next(PriceSetID.self)) }
        let byKey = Dictionary(ids) { first, _ in first }
        let found = keys.compactMap { byKey[$0] }
        guard found.count == keys.count else { throw CatalogFault.unreadable(table: "price_set", key: keys[0]) }
        let entries = zip(found, sets).flatMap { id, set in set.prices.map { (id, $0) } }
        try transaction.execute(
            """
            INSERT INTO price_set_entry (price_set_id, price_id)
            SELECT price_set_id, price_id
            FROM unnest(\(entries.map(\.0))::bigint[], \(entries.map(\.1))::uuid[]) AS entry (price_set_id, price_id)
            ORDER BY price_set_id, price_id
            ON CONFLICT ON CONSTRAINT price_set_entry_pk DO NOTHING
            """
        )
        return found
    }
}
