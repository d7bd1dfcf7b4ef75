import BillingCore
import Postgres
import Synchronization
import Web
import Webhooks

extension SubscriptionRoutes {
    typealias Action =
        @Sendable (SubscriptionID, TenantID?, Instant, borrowing Transaction) throws -> SubscriptionChange

    /// Changes a subscription, or only answers what would come of it.
    func act(
        _ action: SubscriptionAction,
        isDryRun: Bool,
        _ request: APIRequest,
        _ context: RequestContext,
        _ work: @escaping Action
    ) async throws -> Answer {
        let id = try request.id(SubscriptionID.self, of: "subscription")
        let bound = context.principal.tenantID
        // Also for what is only tried: earlier usage is counted for it under the tenant's ledger.
        try await desk.catalog.pace.turn(of: context.principal)
        let now = context.clock.now()
        guard isDryRun else {
            let changed = Mutex<TenantID?>(nil)
            let answer = try await desk.write(request, context) { transaction in
                let change = try work(id, bound, now, transaction)
                changed.withLock { $0 = change.after.tenantID }
                let body = try Self.recorded(change, action, by: context, now: now, in: transaction)
                return try .json(body, revision: change.after.revision)
            }
            if let tenant = changed.withLock({ $0 }) { desk.catalog.invalidate(tenant: tenant) }
            return answer
        }
        return try await desk.preview(request, context) { transaction in
            let tenant = try service.tenant(of: id, boundTo: bound, in: transaction)
            _ = try TenantLedger.lock(tenant, in: transaction)
            let upcoming = try SubscriptionStore.find(id, in: transaction).flatMap { before in
                try invoices.upcoming(transaction, tenant, before.billedTime(at: now))
            }
            let change = try work(id, bound, now, transaction)
            return try preview(change, upcomingBefore: upcoming, now: now, in: transaction)
        }
    }

    /// Records who did it and tells of it, in the same transaction; nothing of what has changed nothing.
    static func recorded(
        _ change: SubscriptionChange,
        _ action: SubscriptionAction,
        by context: RequestContext,
        now: Instant,
        in transaction: borrowing Transaction
    ) throws -> SubscriptionBody {
        let body = SubscriptionBody(change.after, now: now)
        guard !change.isNothing else { return body }
        try CatalogDesk.audit(
            action.rawValue,
            .subscription,
            change.after.id.description,
            by: context,
            before: change.before.map { SubscriptionBody($0, now: now) },
            after: body,
            tenant: change.after.tenantID,
            in: transaction
        )
        Outbox.enqueue([OutboxEvent(action, change, id: context.ids.next(), at: now)], in: transaction)
        return body
    }

    /// What a change that was made in this transaction comes to.
    func preview(
        _ change: SubscriptionChange,
        isNew: Bool = false,
        upcomingBefore: JSONValue?,
        now: Instant,
        in transaction: borrowing Transaction
    ) throws -> Answer {
        let after = change.after
        let tenants = try TenantSnapshotStore.read([after.tenantID], plans: [:], now: now, in: transaction)
        guard let snapshot = tenants.first?.subscriptions.first(where: { $0.id == after.id }) else {
            throw CatalogFault.unreadable(table: "subscription", key: after.id.description)
        }
        let upcomingAfter = try invoices.upcoming(transaction, after.tenantID, after.billedTime(at: now))
        return try .json(
            SubscriptionPreview(
                effectiveAt: change.effectiveAt,
                subscription: SubscriptionBody(after, now: now),
                period: SubscriptionPreview.Period(of: snapshot, at: after.billedTime(at: change.effectiveAt)),
                invoicesDue: isNew ? SubscriptionPreview.Due.all(of: snapshot, at: now) : nil,
                upcomingInvoice: SubscriptionPreview.Invoices(before: upcomingBefore, after: upcomingAfter)
            )
        )
    }
}

extension Subscription {
    /// The instant itself, or the nearest one that the subscription covers.
    fileprivate func billedTime(at instant: Instant) -> Instant {
        max(startsAt, endsAt.map { min(instant, $0.adding(microseconds: -1)) } ?? instant)
    }
}
