package import BillingCore
package import Catalog
import Identity
package import Logging
package import Postgres
package import Web

/// Closes billing periods: drafts the invoices that are due, and finalises them when their grace is over, hundreds of
/// tenants in each transaction.
///
/// Any number may run at once, on any replica. Each transaction takes the ledgers of its tenants before it looks at
/// what there is to do, so that two of them never do the same; unique indexes stand behind that. A process that dies
/// leaves nothing half done, and the next one goes on.
package struct InvoiceClosing: Sendable {
    /// How many invoices a transaction finalises at most: few enough for memory to stay flat and locks to be short.
    package static let batchInvoices = 300
    private static let batchSubscriptions = 500
    /// The work is divided among so many, each of which one process does at a time.
    package static let parts = 2

    let pool: PostgresPool
    private let catalog: Catalog
    let clock: Clock
    private let ids: IDSource
    private let grace: InvoiceGrace
    private let seller: InvoiceSeller?
    /// Told of what can't be drafted or finalised.
    private var logger = Logger(label: "turnpike.period_close")

    /// How far closing has come.
    package struct Progress: Sendable {
        /// Invoices that were drafted, adjustments too.
        package var drafted = 0
        package var finalized = 0
        /// Drafts that can't be made or finalised: their amounts are out of range, or something of them can't be read
        /// or stored.
        package var failed = 0

        package init() {}

        package static func + (left: Progress, right: Progress) -> Progress {
            var sum = left
            sum.drafted += right.drafted
            sum.finalized += right.finalized
            sum.failed += right.failed
            return sum
        }
    }

    /// - Parameter seller: who issues the invoices; nil where the operator has not said.
    package init(
        pool: PostgresPool,
        catalog: Catalog,
        clock: Clock,
        ids: IDSource,
        grace: InvoiceGrace,
        seller: InvoiceSeller? = nil
    ) {
        self.pool = pool
        self.catalog = catalog
        self.clock = clock
        self.ids = ids
        self.grace = grace
        self.seller = seller
    }

    /// The same, and what can't be done is told there.
    package func telling(_ logger: Logger) -> InvoiceClosing {
        var copy = self
        copy.logger = logger
        return copy
    }

    /// Does everything that is due.
    ///
    /// - Parameters:
    ///   - asOf: what counts as the present for what is due; not after the clock.
    ///   - waits: whether to wait for another process that is doing a part; else the part is left to it.
    ///   - progress: called after each transaction with what it did.
    @discardableResult
    package func run(
        asOf: Instant,
        waits: Bool,
        progress: @escaping @Sendable (Progress) -> Void = { _ in }
    ) async throws -> Progress {
        try await catalog.reload(lane: .worker)
        return try await withThrowingTaskGroup(of: Progress.self) { group in
            for part in 0..<Self.parts {
                group.addTask { try await run(part, asOf: asOf, waits: waits, progress: progress) }
            }
            return try await group.reduce(Progress(), +)
        }
    }

    private func run(
        _ part: Int,
        asOf: Instant,
        waits: Bool,
        progress: @Sendable (Progress) -> Void
    ) async throws -> Progress {
        let share = ClosingShare(part: part, parts: Self.parts, waits: waits)
        var plans: [PlanVersionID: PlanVersion] = [:]
        var total = Progress()
        while true {
            var round = Progress()
            let drafted = try await draft(share, asOf: asOf, plans: plans)
            plans = drafted.plans
            let adjustments = try await draftAdjustments(share, asOf: asOf)
            round.drafted = drafted.drafts + adjustments.drafted
            let finalized = try await finalize(share, asOf: asOf, plans: plans)
            plans = finalized.plans
            round.finalized = finalized.done
            round.failed = drafted.failed + adjustments.failed + finalized.failed
            total = total + round
            progress(round)
            // What failed is put off: there may be more behind it.
            let isDone =
                drafted.steps + drafted.failed + adjustments.drafted + adjustments.failed + finalized.found == 0
            if isDone || Task.isCancelled { return total }
        }
    }

    /// Drafts one batch.
    private func draft(
        _ share: ClosingShare,
        asOf: Instant,
        plans: [PlanVersionID: PlanVersion]
    ) async throws -> InvoiceDrafting.Outcome {
        do {
            return try await draft(share, asOf: asOf, plans: plans, only: nil)
        } catch  where error.mayBeOfOne {
            logger.warning("what is due is drafted tenant by tenant", metadata: ["error": "\(error)"])
            return try await draftOneByOne(share, asOf: asOf, plans: plans)
        }
    }

    /// Drafts a batch in which something fails, tenant by tenant: what is due of one that fails is put off.
    private func draftOneByOne(
        _ share: ClosingShare,
        asOf: Instant,
        plans: [PlanVersionID: PlanVersion]
    ) async throws -> InvoiceDrafting.Outcome {
        let batch = try await pool.transaction(.worker, retries: .idempotent(attempts: 5)) { transaction in
            try tenantsDue(share, asOf: asOf, in: transaction)
        }
        var total = InvoiceDrafting.Outcome(plans: plans)
        for tenant in batch.sorted() {
            do {
                let one = try await draft(share, asOf: asOf, plans: total.plans, only: tenant)
                total.steps += one.steps
                total.drafts += one.drafts
                total.plans = one.plans
            } catch  where error.mayBeOfOne {
                logger.error(
                    "the invoices of a tenant cannot be drafted, and are put off",
                    metadata: ["tenant_id": "\(tenant)", "error": "\(error)"]
                )
                let (now, later) = (clock.now(), putOffUntil)
                try await pool.transaction(.worker, retries: .idempotent(attempts: 5)) { transaction in
                    _ = try TenantLedger.allocate([tenant: 0], in: transaction)
                    let due = try SubscriptionClosingStore.due(of: [tenant], at: asOf, now: now, in: transaction)
                    let subscriptions = due.map(\.subscriptionID)
                    try transaction.execute(
                        SubscriptionClosingStore.putOff(subscriptions, of: tenant, until: later)
                    )
                }
                total.failed += 1
            }
        }
        return total
    }

    /// The tenants of a batch.
    private func tenantsDue(
        _ share: ClosingShare,
        asOf: Instant,
        in transaction: borrowing Transaction
    ) throws -> Set<TenantID> {
        Set(
            try transaction.query(
                SubscriptionClosingStore.tenantsDue(
                    at: asOf,
                    now: clock.now(),
                    share.part,
                    of: share.parts,
                    limit: Self.batchSubscriptions
                )
            ) { row throws(PostgresError) in try row.next(TenantID.self) }
        )
    }

    /// - Parameter only: the one tenant, or a batch of those of which something is due.
    private func draft(
        _ share: ClosingShare,
        asOf: Instant,
        plans: [PlanVersionID: PlanVersion],
        only: TenantID?
    ) async throws -> InvoiceDrafting.Outcome {
        let nothing = InvoiceDrafting.Outcome(plans: plans)
        let drafting = drafting(asOf: asOf)
        return try await pool.transaction(.worker, retries: .idempotent(attempts: 5)) { transaction in
            guard try share.take(in: transaction) else { return nothing }
            let tenants: Set<TenantID> = try only.map { [$0] } ?? tenantsDue(share, asOf: asOf, in: transaction)
            guard !tenants.isEmpty else { return nothing }
            _ = try TenantLedger.allocate(Dictionary(uniqueKeysWithValues: tenants.map { ($0, 0) }), in: transaction)
            return try drafting.run(tenants.sorted(), plans: plans, asOf: asOf, in: transaction)
        }
    }

    private func drafting(asOf: Instant) -> InvoiceDrafting {
        let now = clock.now()
        return InvoiceDrafting(now: now, finalAt: grace.end(draftedAt: now, asOf: asOf), ids: ids)
    }

    /// Until when something that fails is left to itself.
    private var putOffUntil: Instant { clock.now().adding(seconds: 3_600) }

    /// Drafts one batch of adjustments; where something of it fails, subscription by subscription: one that fails is
    /// put off.
    private func draftAdjustments(_ share: ClosingShare, asOf: Instant) async throws -> (drafted: Int, failed: Int) {
        do {
            return (try await draftAdjustments(share, asOf: asOf, only: nil), 0)
        } catch  where error.mayBeOfOne {
            logger.warning("adjustments are drafted one by one", metadata: ["error": "\(error)"])
        }
        let waiting = try await pool.query(
            .worker,
            retries: .idempotent(attempts: 5),
            awaiting(share),
            PeriodClosingStore.awaiting
        )
        var total = (drafted: 0, failed: 0)
        for (tenant, subscription, _) in waiting {
            do {
                total.drafted += try await draftAdjustments(share, asOf: asOf, only: subscription)
            } catch  where error.mayBeOfOne {
                logger.error(
                    "the adjustment of a subscription cannot be drafted, and is put off",
                    metadata: ["subscription": "\(subscription)", "tenant_id": "\(tenant)", "error": "\(error)"]
                )
                try await pool.execute(
                    .worker,
                    retries: .idempotent(attempts: 5),
                    SubscriptionClosingStore.putOff([subscription], of: tenant, until: putOffUntil)
                )
                total.failed += 1
            }
        }
        return total
    }

    private func draftAdjustments(_ share: ClosingShare, asOf: Instant, only: SubscriptionID?) async throws -> Int {
        let drafting = drafting(asOf: asOf)
        return try await pool.transaction(.worker, retries: .idempotent(attempts: 5)) { transaction in
            guard try share.take(in: transaction) else { return 0 }
            return try drafting.adjustments(awaiting(share, only: only), in: transaction)
        }
    }

    private func awaiting(_ share: ClosingShare, only: SubscriptionID? = nil) -> SQL {
        InvoiceAwaiting.statement(
            now: clock.now(),
            share.part,
            of: share.parts,
            limit: Self.batchSubscriptions,
            only: only
        )
    }

    /// Finalises one batch: at most one invoice of each tenant, whose credits it alone uses.
    private func finalize(
        _ share: ClosingShare,
        asOf: Instant,
        plans: [PlanVersionID: PlanVersion]
    ) async throws -> Finalized {
        do {
            return try await finalize(share, asOf: asOf, plans: plans, only: nil)
        } catch  where error.mayBeOfOne {
            logger.warning("due invoices are finalised one by one", metadata: ["error": "\(error)"])
            return try await finalizeOneByOne(share, asOf: asOf, plans: plans)
        }
    }

    /// Finalises a batch in which something fails, invoice by invoice: one that fails is put off, so that one tenant's
    /// invoice doesn't keep back all others'.
    private func finalizeOneByOne(
        _ share: ClosingShare,
        asOf: Instant,
        plans: [PlanVersionID: PlanVersion]
    ) async throws -> Finalized {
        let batch = try await pool.transaction(.worker, retries: .idempotent(attempts: 5)) { transaction in
            try due(share, asOf: asOf, in: transaction)
        }
        var total: Finalized = (found: 0, done: 0, failed: 0, plans: plans)
        for (tenant, invoice) in batch {
            do {
                let one = try await finalize(share, asOf: asOf, plans: total.plans, only: [tenant: invoice])
                total.found += one.found
                total.done += one.done
                total.failed += one.failed
                total.plans = one.plans
            } catch  where error.mayBeOfOne {
                tellPutOff(invoice, tenant, error)
                let later = putOffUntil
                try await pool.transaction(.worker, retries: .idempotent(attempts: 5)) { transaction in
                    let drafts = try InvoiceStore.drafts([(tenant, invoice)], in: transaction)
                    try transaction.execute(InvoiceInsertion.postpone(drafts, to: later))
                }
                total.found += 1
                total.failed += 1
            }
        }
        return total
    }

    private func tellPutOff(_ invoice: InvoiceID, _ tenant: TenantID, _ error: any Error) {
        logger.error(
            "an invoice cannot be finalised, and is put off",
            metadata: ["invoice": "\(invoice)", "tenant_id": "\(tenant)", "error": "\(error)"]
        )
    }

    /// The first draft that is due of each tenant of a batch.
    private func due(
        _ share: ClosingShare,
        asOf: Instant,
        in transaction: borrowing Transaction
    ) throws -> [TenantID: InvoiceID] {
        let due = try InvoiceStore.dueDrafts(
            at: asOf,
            share.part,
            of: share.parts,
            limit: Self.batchInvoices,
            in: transaction
        )
        return Dictionary(due.map { ($0.0, $0.1) }) { first, _ in first }
    }

    private typealias Finalized = (found: Int, done: Int, failed: Int, plans: [PlanVersionID: PlanVersion])

    /// - Parameter only: the one invoice, or a batch of those that are due.
    private func finalize(
        _ share: ClosingShare,
        asOf: Instant,
        plans: [PlanVersionID: PlanVersion],
        only: [TenantID: InvoiceID]?
    ) async throws -> Finalized {
        var finalizing = InvoiceFinalizing(catalog: catalog.current, plans: plans, now: clock.now(), ids: ids)
        finalizing.seller = seller
        let batch = finalizing
        return try await pool.transaction(.worker, retries: .idempotent(attempts: 5)) { transaction in
            guard try share.take(in: transaction) else { return (0, 0, 0, plans) }
            let first = try only ?? due(share, asOf: asOf, in: transaction)
            guard !first.isEmpty else { return (0, 0, 0, plans) }
            _ = try TenantLedger.allocate(first.mapValues { _ in 0 }, in: transaction)
            let drafts = try InvoiceStore.drafts(first.map { ($0.key, $0.value) }, in: transaction)
            let outcome = try batch.run(drafts, in: transaction)
            let failed = outcome.failed
            transaction.afterCommit { for (draft, error) in failed { tellPutOff(draft.id, draft.tenantID, error) } }
            AuditLog.record(
                outcome.finalized.map(\.auditEntry),
                in: transaction,
                worker: "period_close",
                action: "invoice.finalized",
                resourceType: "invoice",
                at: batch.now,
                ids: ids
            )
            return (first.count, outcome.finalized.count, outcome.failed.count, outcome.plans)
        }
    }

    /// What would be done at a time, without doing it.
    package func due(asOf: Instant) async throws -> (subscriptions: Int, drafts: Int) {
        let subscriptions = try await pool.query(.worker, SubscriptionClosingStore.countDue(at: asOf, now: clock.now()))
        {
            row throws(PostgresError) in try row.next(Int64.self)
        }
        let drafts = try await pool.query(.worker, InvoiceStore.countDueDrafts(at: asOf)) {
            row throws(PostgresError) in try row.next(Int64.self)
        }
        return (Int(subscriptions.first ?? 0), Int(drafts.first ?? 0))
    }
}

extension Error {
    /// Whether one of a batch may be to blame, so that the others can do without it: anything but that the connection
    /// was lost or there was none, and that the work was called off. The server also ends the connection of a
    /// transaction that computes for too long.
    fileprivate var mayBeOfOne: Bool {
        guard let error = self as? PostgresError else { return !(self is CancellationError) }
        switch error.kind {
        case .timeout, .decoding: return true
        case .server: return error.sqlState != .tooManyConnections
        case .connection: return error.sqlState == .idleInTransactionTimeout
        case .cancelled, .poolExhausted: return false
        }
    }
}
