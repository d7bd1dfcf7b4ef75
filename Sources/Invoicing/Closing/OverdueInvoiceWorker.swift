import BillingCore
package import Logging
package import Postgres
import ServiceLifecycle
package import Web
import Webhooks

/// Tells of invoices that have become overdue: each once, in the transaction that notes it. Safe on every replica: one
/// at a time looks for them, and a row is noted by whoever writes it first.
package struct OverdueInvoiceWorker: Service {
    private static let batch = 300
    private static let lockID: Int64 = 0x7475_726E_6F76_6475

    private let pool: PostgresPool
    private let clock: Clock
    private let ids: IDSource
    private let loop: WorkerLoop

    package init(
        pool: PostgresPool,
        clock: Clock,
        ids: IDSource,
        interval: Duration = .seconds(60),
        logger: Logger
    ) {
        self.pool = pool
        self.clock = clock
        self.ids = ids
        loop = WorkerLoop("invoice_overdue", every: interval, clock: clock, logger: logger)
    }

    package func run() async throws {
        await loop.run { try await tell() }
    }

    /// Tells of everything that is overdue by now.
    package func tell() async throws {
        let now = clock.now()
        var position: InvoiceStore.UnpaidPosition? = .start
        while let start = position, !Task.isCancelled {
            position = try await pool.transaction(.worker, retries: .idempotent(attempts: 3)) { transaction in
                try tellSome(after: start, at: now, in: transaction)
            }
        }
    }

    /// - Returns: where to go on; nil when there is no more, or another replica is at it.
    private func tellSome(
        after position: InvoiceStore.UnpaidPosition,
        at now: Instant,
        in transaction: borrowing Transaction
    ) throws -> InvoiceStore.UnpaidPosition? {
        guard try transaction.tryLock(Self.lockID) else { return nil }
        let noted = try transaction.query(InvoiceStore.noteOverdue(at: now, after: position, limit: Self.batch)) {
            row throws(PostgresError) in
            InvoiceStore.UnpaidPosition(tenant: try row.next(), id: try row.next())
        }
        let events = try InvoiceStore.heads(noted.map(\.id), in: transaction).compactMap { invoice, document in
            document.map {
                OutboxEvent(.invoiceOverdue, invoice, $0, id: ids.next(), at: $0.dueAt ?? now)
            }
        }
        Outbox.enqueue(events, in: transaction)
        return noted.count == Self.batch ? noted.max() : nil
    }
}
