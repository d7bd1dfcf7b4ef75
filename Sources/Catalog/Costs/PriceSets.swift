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

/// The ids of price sets, remembered for ingest. A set that is not known yet is stored before the costs that name it,
/// once for all replicas.
package final class PriceSets: Sendable {
    /// Beyond this many, what is remembered is let go.
    private static let capacity = 100_000

    private struct Known {
        var sets: [PriceSet: PriceSetID] = [:]
        var usedRates: Set<FXRateID> = []
    }

    private let known = Mutex(Known())

    package init() {}

    package subscript(set: PriceSet) -> PriceSetID? {
        known.withLock { $0.sets[set] }
    }

    /// Whether a rate is stored as used.
    package func isUsed(_ rate: FXRateID) -> Bool {
        known.withLock { $0.usedRates.contains(rate) }
    }

    /// Stores the sets and marks the rates that are not known yet, so that neither they nor their prices can go.
    /// - Throws: `PriceVanished` when one of them was removed in the meantime.
    package func ensure(
        _ sets: Set<PriceSet>,
        rates: Set<FXRateID>,
        at now: Instant,
        lane: PostgresLane,
        pool: PostgresPool
    ) async throws {
        let wanted = sets.sorted { $0.key < $1.key }
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
        known.withLock { known in
            if known.sets.count > Self.capacity { known.sets.removeAll() }
            if known.usedRates.count > Self.capacity { known.usedRates.removeAll() }
            for (set, id) in zip(wanted, ids) { known.sets[set] = id }
            known.usedRates.formUnion(marked)
        }
    }
}

/// All SQL on `price_set` and `price_set_entry`.
package enum PriceSetStore {
    static let entryPriceConstraint = "price_set_entry_price_fk"

    /// The ids of sets, in their order, made where they are missing.
    static func ensure(
        _ sets: [PriceSet],
        at now: Instant,
        in transaction: borrowing Transaction
    ) throws -> [PriceSetID] {
        guard !sets.isEmpty else { return [] }
        let keys = sets.map(\.key)
        let reported = sets.map { if case .reported = $0 { true } else { false } }
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

    /// The sets that stand for reported costs, with their currencies.
    package static func reported(in transaction: borrowing Transaction) throws(PostgresError) -> [PriceSetID: Currency]
    {
        let rows = try transaction.query("SELECT price_set_id, currency FROM price_set WHERE is_reported") {
            row throws(PostgresError) in (try row.next(PriceSetID.self), try row.next(Currency.self))
        }
        return Dictionary(rows) { first, _ in first }
    }
}
