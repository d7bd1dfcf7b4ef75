import BillingCore
import Catalog
import Postgres
import Web

/// Makes the drafts that are due: the opening invoice of a subscription at its anchor, the regular one of each period
/// at its end or at the subscription's, and an adjustment where a subscription ended before what was charged in
/// advance.
struct InvoiceDrafting: Sendable {
    let now: Instant
    /// When the drafts are due to be finalised: see `InvoiceGrace`.
    let finalAt: Instant
    let ids: IDSource

    /// What drafting did.
    struct Outcome: Sendable {
        /// Subscriptions that moved on, with an invoice or without.
        var steps = 0
        var drafts = 0
        /// Tenants of which nothing could be drafted: put off.
        var failed = 0
        /// The plan versions that are known now.
        var plans: [PlanVersionID: PlanVersion]
    }

    /// One step of each subscription that is due, of tenants whose ledgers are locked.
    func run(
        _ tenants: [TenantID],
        plans: [PlanVersionID: PlanVersion],
        asOf: Instant,
        in transaction: borrowing Transaction
    ) throws -> Outcome {
        let due = try SubscriptionClosingStore.due(of: tenants, at: asOf, now: now, in: transaction)
        guard !due.isEmpty else { return Outcome(plans: plans) }
        var subscriptions: [SubscriptionID: SubscriptionSnapshot] = [:]
        let ids = Set(due.map(\.tenantID)).sorted()
        for tenant in try TenantSnapshotStore.read(ids, plans: plans, now: now, in: transaction) {
            for subscription in tenant.subscriptions { subscriptions[subscription.id] = subscription }
        }
        var drafts: [StoredInvoice] = []
        var ended: [StoredInvoice] = []
        var next: [(closing: SubscriptionClosing, dueAt: Instant)] = []
        for closing in due {
            guard let subscription = subscriptions[closing.subscriptionID] else { continue }
            let step = Step(closing, of: subscription)
            next.append((step.next, step.dueAt))
            guard let kind = step.kind else { continue }
            let draft = draft(kind, step.index, subscription, of: closing.tenantID)
            if kind == .adjustment { ended.append(draft) } else { drafts.append(draft) }
        }
        drafts += try charged(ended, in: transaction)
        let drafted = try drafts.isEmpty ? 0 : transaction.execute(InvoiceInsertion.drafts(drafts))
        try transaction.execute(SubscriptionClosingStore.advance(next))
        var known = plans
        known.learn(from: subscriptions.values)
        return Outcome(steps: next.count, drafts: drafted, plans: known)
    }

    /// Adjustments of subscriptions that no regular invoice will follow.
    /// - Parameter awaiting: which those are, see `InvoiceAwaiting`.
    /// - Returns: how many there were.
    func adjustments(_ awaiting: SQL, in transaction: borrowing Transaction) throws -> Int {
        let waiting = try transaction.query(awaiting, PeriodClosingStore.awaiting)
        guard !waiting.isEmpty else { return 0 }
        let tenants = Set(waiting.map(\.tenant)).sorted()
        var subscriptions: [SubscriptionID: SubscriptionSnapshot] = [:]
        for tenant in try TenantSnapshotStore.read(tenants, plans: [:], now: now, in: transaction) {
            for subscription in tenant.subscriptions { subscriptions[subscription.id] = subscription }
        }
        var drafts: [StoredInvoice] = []
        for (tenant, id, index) in waiting {
            guard let subscription = subscriptions[id] else { continue }
            drafts.append(draft(.adjustment, index, subscription, of: tenant))
        }
        return try transaction.execute(InvoiceInsertion.drafts(drafts))
    }

    private func draft(
        _ kind: Invoice.Kind,
        _ index: Int,
        _ subscription: SubscriptionSnapshot,
        of tenant: TenantID
    ) -> StoredInvoice {
        StoredInvoice(
            id: InvoiceID(rawValue: ids.next()),
            tenantID: tenant,
            subscriptionID: subscription.id,
            kind: kind,
            periodIndex: index,
            period: subscription.interval(ofPeriod: index),
            createdAt: now,
            issuedAt: finalAt
        )
    }

    /// Those whose subscription was charged for time after its end.
    private func charged(_ ended: [StoredInvoice], in transaction: borrowing Transaction) throws -> [StoredInvoice] {
        guard !ended.isEmpty else { return [] }
        let wanted = ended.map { draft in
            InvoicedAmountStore.Wanted(
                tenant: draft.tenantID,
                subscription: draft.subscriptionID,
                index: draft.periodIndex,
                kind: .adjustment,
                invoicePeriod: SubscriptionClosing.openingIndex
            )
        }
        let amounts = try transaction.query(InvoicedAmountStore.amounts(wanted), InvoicedAmountStore.amount)
        let subscriptions = Set(amounts.filter { !$0.amount.amount.isZero }.map(\.subscription))
        return ended.filter { subscriptions.contains($0.subscriptionID) }
    }
}

/// Which subscriptions wait for an adjustment and have no draft of one.
enum InvoiceAwaiting {
    /// - Parameter only: the one subscription; all of a batch when left out.
    static func statement(
        now: Instant,
        _ part: Int,
        of parts: Int,
        limit: Int,
        only: SubscriptionID? = nil
    ) -> SQL {
        """
        SELECT waiting.tenant_id, waiting.subscription_id, waiting.period_index
        FROM (\(PeriodClosingStore.awaitingAdjustment(now: now, part, of: parts)))
            AS waiting (tenant_id, subscription_id, period_index)
        WHERE (\(only)::uuid IS NULL OR waiting.subscription_id = \(only)::uuid) AND NOT EXISTS (
            SELECT FROM invoice
            WHERE invoice.tenant_id = waiting.tenant_id AND invoice.subscription_id = waiting.subscription_id
                AND invoice.status = 'draft'
        )
        ORDER BY waiting.tenant_id, waiting.subscription_id
        LIMIT \(limit)
        """
    }
}

/// What is done of a subscription that is due, and what is next.
private struct Step {
    /// Nil where there is nothing to invoice.
    let kind: Invoice.Kind?
    let index: Int
    let next: SubscriptionClosing
    let dueAt: Instant

    init(_ closing: SubscriptionClosing, of subscription: SubscriptionSnapshot) {
        let end = subscription.endsAt ?? .maximum
        let isOpening = closing.index == SubscriptionClosing.openingIndex
        index = max(closing.index, 0)
        let period = subscription.periods.interval(index)
        func next(_ index: Int, isDone: Bool) -> SubscriptionClosing {
            SubscriptionClosing(
                tenantID: closing.tenantID,
                subscriptionID: closing.subscriptionID,
                index: index,
                isDone: isDone
            )
        }
        if end <= period.start {
            // It ended before its first period, or between two: what was charged in advance may have to be given back.
            kind = isOpening ? nil : .adjustment
            self.next = next(closing.index, isDone: true)
            dueAt = period.end
        } else if isOpening {
            let parts = subscription.segments(inPeriod: 0)
            kind = parts.contains { $0.planVersion.fees.contains { $0.charged == .inAdvance } } ? .opening : nil
            self.next = next(0, isDone: false)
            dueAt = period.end
        } else {
            kind = .regular
            self.next = next(index + 1, isDone: end <= period.end)
            dueAt = subscription.periods.interval(index + 1).end
        }
    }
}
