package import BillingCore
import Identity
package import Postgres
package import Web

/// What an import of prices changes, or would change: compared with the entries in force when the new ones start.
package struct PriceImportPlan: Sendable {
    /// A price that becomes an entry of the price book.
    package struct Change: Sendable {
        package let quote: LiteLLMPrices.Quote
        /// What was in force before; nil for a rate without a price.
        package let previous: FixedDecimal?
    }

    package private(set) var changes: [Change] = []
    package private(set) var unchangedCount = 0
    /// Prices that differ from one that starts at the very same instant: it stays.
    package private(set) var refused: [Change] = []

    package var newCount: Int { changes.count { $0.previous == nil } }

    /// - Parameter inForce: the entries in force at `effectiveFrom`.
    init(_ quotes: [LiteLLMPrices.Quote], inForce: [ProviderPrice], effectiveFrom: Instant) {
        let current = Dictionary(inForce.map { ($0.rate, $0) }) { first, _ in first }
        for quote in quotes {
            guard let price = current[quote.rate] else {
                changes.append(Change(quote: quote, previous: nil))
                continue
            }
            let change = Change(quote: quote, previous: price.unitAmount)
            if price.unitAmount == quote.unitAmount {
                unchangedCount += 1
            } else if price.effectiveFrom == effectiveFrom {
                refused.append(change)
            } else {
                changes.append(change)
            }
        }
    }
}

/// Brings prices into the price book: all of them in one transaction, or none. Doing it again changes nothing.
package struct PriceImport: Sendable {
    private static let insertCount = 1_000

    let pool: PostgresPool
    let clock: Clock
    let ids: IDSource

    package init(pool: PostgresPool, clock: Clock, ids: IDSource) {
        self.pool = pool
        self.clock = clock
        self.ids = ids
    }

    /// What an import would change.
    package func plan(_ quotes: [LiteLLMPrices.Quote], effectiveFrom: Instant) async throws -> PriceImportPlan {
        try await pool.transaction(.worker, retries: .idempotent(attempts: 3)) { transaction in
            let inForce = try PriceBookStore.inForce(at: effectiveFrom, in: transaction)
            return PriceImportPlan(quotes, inForce: inForce, effectiveFrom: effectiveFrom)
        }
    }

    /// Adds what is new or changed. What it does is decided anew inside its transaction, in which no other change of
    /// the catalogue can come between.
    /// - Parameter progress: called with how many entries are written, of how many. It runs within the transaction.
    package func apply(
        _ quotes: [LiteLLMPrices.Quote],
        effectiveFrom: Instant,
        progress: @escaping @Sendable (Int, Int) -> Void
    ) async throws -> PriceImportPlan {
        let planned = try await plan(quotes, effectiveFrom: effectiveFrom)
        guard !planned.changes.isEmpty else { return planned }
        let now = clock.now()
        return try await pool.transaction(.worker, retries: .idempotent(attempts: 3)) { transaction in
            let version = try CatalogVersion.bumpPrices(in: transaction)
            let inForce = try PriceBookStore.inForce(at: effectiveFrom, in: transaction)
            let plan = PriceImportPlan(quotes, inForce: inForce, effectiveFrom: effectiveFrom)
            let records = plan.changes.map { change in
                PriceRecord(
                    price: ProviderPrice(
                        id: PriceID(rawValue: ids.next()),
                        rate: change.quote.rate,
                        unitAmount: change.quote.unitAmount,
                        currency: LiteLLMPrices.currency,
                        effectiveFrom: effectiveFrom,
                        createdVersion: version
                    ),
                    source: .litellm,
                    createdAt: now
                )
            }
            for start in stride(from: 0, to: records.count, by: Self.insertCount) {
                let page = Array(records[start..<min(records.count, start + Self.insertCount)])
                _ = try PriceBookStore.insert(page, in: transaction)
                progress(start + page.count, records.count)
            }
            try record(plan, effectiveFrom: effectiveFrom, now: now, in: transaction)
            return plan
        }
    }

    private struct Summary: Encodable {
        let effectiveFrom: Instant
        let new: Int
        let changed: Int
        let unchanged: Int
    }

    private func record(
        _ plan: PriceImportPlan,
        effectiveFrom: Instant,
        now: Instant,
        in transaction: borrowing Transaction
    ) throws {
        try AuditLog.record(
            in: transaction,
            by: AuditAuthor(
                credentialID: "command:prices-import",
                requestID: "prices-import",
                id: ids.next(),
                occurredAt: now
            ),
            action: "price_book.imported",
            resource: ("price_book", PriceSource.litellm.rawValue),
            tenant: .operatorWide,
            after: Summary(
                effectiveFrom: effectiveFrom,
                new: plan.newCount,
                changed: plan.changes.count - plan.newCount,
                unchanged: plan.unchangedCount
            )
        )
    }
}
