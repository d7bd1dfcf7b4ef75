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
    private let logger: Logger

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
        self.logger = logger
        loop = WorkerLoop("invoice_overdue", every: interval, clock: clock, logger: logger)
    }

    package func run() async throws {
        await loop.run { try await tell() }
    }

    /// Tells of everything that is overdue by now. An invoice that can't be read keeps back no other: it is told of
    /// once it can be.
    package func tell() async throws {
        let now = clock.now()
        var position: InvoiceStore.UnpaidPosition? = .start
        while let start = position, !Task.isCancelled {
            let told = try await pool.transaction(.worker, retries: .idempotent(attempts: 3)) { transaction in
                try tellSome(after: start, at: now, in: transaction)
            }
            for (invoice, error) in told.unreadable {
                logger.error(
                    "an overdue invoice cannot be read, and is told to nobody",
                    metadata: ["invoice": "\(invoice)", "error": "\(error)"]
                )
            }
            position = told.next
        }
    }

    private struct Told: Sendable {
        /// Where to go on; nil when there is no more, or another replica is at it.
        var next: InvoiceStore.UnpaidPosition?
        var unreadable: [(InvoiceID, PostgresError)] = []
    }

    private func tellSome(
        after position: InvoiceStore.UnpaidPosition,
        at now: Instant,
        in transaction: borrowing Transaction
    ) throws -> Told {
        guard try transaction.tryLock(Self.lockID) else { return Told() }
        let noted = try transaction.query(InvoiceStore.noteOverdue(at: now, after: position, limit: Self.batch)) {
            row throws(PostgresError) in
            InvoiceStore.UnpaidPosition(tenant: try row.next(), id: try row.next())
        }
        var told = Told(next: noted.count == Self.batch ? noted.max() : nil)
        var events: [OutboxEvent] = []
        for (id, head) in try InvoiceStore.attempts(noted.map(\.id), in: transaction) {
            switch head {
            case .success(let found):
                guard let document = found.document else { continue }
                let dueAt = document.dueAt ?? now
                events.append(OutboxEvent(.invoiceOverdue, found.invoice, document, id: ids.next(), at: dueAt))
            case .failure(let error):
                told.unreadable.append((id, error))
            }
        }
        if !told.unreadable.isEmpty {
            let unreadable = Set(told.unreadable.map(\.0))
            transaction.enqueue(InvoiceStore.forgetOverdue(noted.filter { unreadable.contains($0.id) }))
        }
        Outbox.enqueue(events, in: transaction)
        return told
    }
}
