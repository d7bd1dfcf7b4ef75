package import BillingCore
import Catalog
import Postgres
import Web

extension InvoiceClosing {
    /// What could not be drafted or finalised, and is left alone until it is tried again.
    package struct PutOff: Sendable, Hashable {
        /// Subscriptions whose next invoice or adjustment can't be drafted.
        package let subscriptions: Int
        /// Drafts that can't be finalised.
        package let drafts: Int
        /// When the first of them is tried again; nil where there are none.
        package let triedAt: Instant?

        package var isEmpty: Bool { triedAt == nil }
    }

    /// What is put off now.
    package func putOff() async throws -> PutOff {
        let now = clock.now()
        let subscriptions = try await count(SubscriptionClosingStore.countPutOff(at: now))
        let drafts = try await count(InvoiceStore.countPutOff(at: now))
        return PutOff(
            subscriptions: subscriptions.count,
            drafts: drafts.count,
            triedAt: [subscriptions.first, drafts.first].compactMap(\.self).min()
        )
    }

    private func count(_ statement: SQL) async throws -> (count: Int, first: Instant?) {
        let rows = try await pool.query(.worker, statement) { row throws(PostgresError) in
            (count: Int(try row.next(Int64.self)), first: try row.next(Instant?.self))
        }
        return rows.first ?? (count: 0, first: nil)
    }
}
