import BillingCore
import Postgres
import Web

/// What became of a subscription.
struct SubscriptionChange: Sendable {
    /// Nil when it was made.
    let before: Subscription?
    let after: Subscription
    /// When it takes effect.
    let effectiveAt: Instant

    /// Whether nothing has become of it.
    var isNothing: Bool { before?.revision == after.revision }
}

/// The work of subscribing, changing plans and cancelling, each inside one transaction under the tenant's ledger lock.
/// What is to take effect at an instant does so right after the last usage that is already rated there, where that is
/// later: usage is never rated anew under another plan.
struct SubscriptionService: Sendable {
    /// How many segments a subscription has at most, so that reading one stays cheap.
    static let maximumSegments = 200
    /// How many subscriptions a tenant has at most over time: all are in its snapshot.
    static let maximumSubscriptions = 1_000

    let catalog: Catalog
    let usage: StoredUsageAccess

    /// Makes a subscription, puts its quotas in force if it starts by now, and rates earlier usage. A tenant's own
    /// credential has one trial: only an operator gives another.
    func create(
        _ input: SubscriptionInput,
        id: SubscriptionID,
        boundTo bound: TenantID?,
        now: Instant,
        in transaction: borrowing Transaction
    ) throws -> SubscriptionChange {
        let tenant = try lockedTenant(input.tenant, boundTo: bound, in: transaction)
        let version = try publishedVersion(of: input.plan, input.version, in: transaction)
        guard tenant.status == .active else { throw CatalogFault.tenantSuspended(tenant.key) }
        try version.requireCurrency(of: tenant)
        let earlier = try SubscriptionStore.earlier(of: tenant.id, in: transaction)
        guard earlier.count < Self.maximumSubscriptions else {
            throw CatalogFault.tooManySubscriptions(tenant.key, limit: Self.maximumSubscriptions)
        }
        let trialDays = bound != nil && earlier.hadTrial ? 0 : version.definition.terms.trialDays
        let start = input.startsAt ?? now
        let overrides = try overrides(input.overrides, in: transaction)
        let subscription = Subscription(
            id: id,
            tenantID: tenant.id,
            tenantKey: tenant.key,
            segments: [Subscription.Segment(0, of: version, overrides: overrides, from: start, now: now)],
            zone: tenant.zone,
            anchor: tenant.zone.instant(start, addingDays: input.trialDays ?? trialDays),
            startsAt: start,
            endsAt: nil,
            createdAt: now,
            updatedAt: now,
            revision: 1
        )
        try SubscriptionStore.insert(subscription, in: transaction)
        try LimitsInForce.applyAndCount(to: tenant.id, at: now, catalog: catalog, usage: usage, in: transaction)
        try rate(subscription, from: start, now: now, in: transaction)
        return SubscriptionChange(before: nil, after: subscription, effectiveAt: start)
    }

    /// Moves a subscription to another plan version, which splits the anchored period. It stands in place of every
    /// change that was scheduled for then or later.
    func change(
        _ id: SubscriptionID,
        to input: PlanChangeInput,
        boundTo bound: TenantID?,
        now: Instant,
        in transaction: borrowing Transaction,
        checking precondition: (Subscription) throws -> Void
    ) throws -> SubscriptionChange {
        let before = try locked(id, boundTo: bound, now: now, in: transaction, checking: precondition)
        let version = try publishedVersion(of: input.plan, input.version, in: transaction)
        guard let tenant = try TenantStore.find(key: before.tenantKey, in: transaction) else {
            throw CatalogFault.unreadable(table: "tenant", key: before.tenantKey)
        }
        try version.requireCurrency(of: tenant)
        let effective = try afterUsage(of: before, input.time.instant(for: before, now: now), in: transaction)
        if let end = before.endsAt, effective >= end { throw CatalogFault.changeAfterEnd(id, end: end) }
        let kept = before.segments.filter { $0.startsAt < effective }
        guard kept.count < Self.maximumSegments else {
            throw CatalogFault.tooManyChanges(id, limit: Self.maximumSegments)
        }
        let overrides = try overrides(input.overrides, in: transaction)
        let segment = Subscription.Segment(kept.count, of: version, overrides: overrides, from: effective, now: now)
        var after = before
        after.segments = kept + [segment]
        try SubscriptionSegmentStore.delete(from: kept.count, of: id, tenant: before.tenantID, in: transaction)
        try SubscriptionSegmentStore.insert(segment, of: after, in: transaction)
        try store(&after, now: now, in: transaction)
        return SubscriptionChange(before: before, after: after, effectiveAt: effective)
    }

    /// Takes back the changes that are still to come.
    func withdrawChanges(
        of id: SubscriptionID,
        boundTo bound: TenantID?,
        now: Instant,
        in transaction: borrowing Transaction,
        checking precondition: (Subscription) throws -> Void
    ) throws -> SubscriptionChange {
        let before = try locked(id, boundTo: bound, now: now, in: transaction, checking: precondition)
        let scheduled = before.segments.dropFirst().filter { $0.startsAt > now }
        guard let first = scheduled.first else { throw CatalogFault.noChangeScheduled(id) }
        let rest = Interval(start: first.startsAt, end: .maximum)
        guard try usage.latest(transaction, before.tenantID, rest) == nil else {
            throw CatalogFault.changeHasUsage(id)
        }
        var after = before
        after.segments.removeLast(scheduled.count)
        try SubscriptionSegmentStore.delete(from: first.ordinal, of: id, tenant: before.tenantID, in: transaction)
        try store(&after, now: now, in: transaction)
        return SubscriptionChange(before: before, after: after, effectiveAt: now)
    }

    /// Ends a subscription. One that has not started then covers nothing, and one that is to end then already stays as
    /// it is.
    func cancel(
        _ id: SubscriptionID,
        at time: ChangeTime,
        boundTo bound: TenantID?,
        now: Instant,
        in transaction: borrowing Transaction,
        checking precondition: (Subscription) throws -> Void
    ) throws -> SubscriptionChange {
        let before = try locked(id, boundTo: bound, now: now, in: transaction, checking: precondition)
        let end = try afterUsage(of: before, time.instant(for: before, now: now), in: transaction)
        guard end != before.endsAt else { return SubscriptionChange(before: before, after: before, effectiveAt: end) }
        var after = before
        after.endsAt = end
        try store(&after, now: now, in: transaction)
        if let earlier = before.endsAt, end > earlier {
            // Usage past the earlier end was unsubscribed until now.
            try rate(after, from: earlier, now: now, in: transaction)
        }
        return SubscriptionChange(before: before, after: after, effectiveAt: end)
    }

    /// Takes back a cancellation that has not taken effect.
    func resume(
        _ id: SubscriptionID,
        boundTo bound: TenantID?,
        now: Instant,
        in transaction: borrowing Transaction,
        checking precondition: (Subscription) throws -> Void
    ) throws -> SubscriptionChange {
        let before = try locked(id, boundTo: bound, now: now, in: transaction, checking: precondition)
        guard let end = before.endsAt else { throw CatalogFault.subscriptionNotCancelled(id) }
        var after = before
        after.endsAt = nil
        try store(&after, now: now, in: transaction)
        let rest = Interval(start: end, end: .maximum)
        if try usage.latest(transaction, before.tenantID, rest) != nil {
            try rate(after, from: end, now: now, in: transaction)
        }
        return SubscriptionChange(before: before, after: after, effectiveAt: now)
    }
}

extension SubscriptionService {
    /// Whose a subscription is. One that the caller must not know of is reported like one that does not exist.
    func tenant(
        of id: SubscriptionID,
        boundTo bound: TenantID?,
        in transaction: borrowing Transaction
    ) throws -> TenantID {
        let found = try SubscriptionStore.find(id, in: transaction)
        guard let found, bound == nil || found.tenantID == bound else {
            throw CatalogFault.notFound(.subscription, id.description)
        }
        return found.tenantID
    }

    /// The subscription under its tenant's ledger lock, unless it has ended: by this clock, or by that of whoever
    /// drafted its last invoice, after which none follows.
    private func locked(
        _ id: SubscriptionID,
        boundTo bound: TenantID?,
        now: Instant,
        in transaction: borrowing Transaction,
        checking precondition: (Subscription) throws -> Void
    ) throws -> Subscription {
        try TenantLedger.lockAndBump(try tenant(of: id, boundTo: bound, in: transaction), in: transaction)
        guard let subscription = try SubscriptionStore.find(id, in: transaction) else {
            throw CatalogFault.notFound(.subscription, id.description)
        }
        try precondition(subscription)
        let closing = try transaction.first(
            SubscriptionClosingStore.closings(of: [subscription.tenantID], [id]),
            SubscriptionClosingStore.closing
        )
        guard subscription.status(at: now) != .ended, closing?.isDone == false else {
            throw CatalogFault.subscriptionEnded(id)
        }
        return subscription
    }

    /// An instant, or the one right after the last usage from then on that the subscription covers.
    private func afterUsage(
        of subscription: Subscription,
        _ asked: Instant,
        in transaction: borrowing Transaction
    ) throws -> Instant {
        let covered = Interval(start: asked, end: subscription.endsAt ?? .maximum)
        guard !covered.isEmpty else { return asked }
        return try usage.latest(transaction, subscription.tenantID, covered)?.adding(microseconds: 1) ?? asked
    }

    /// Writes a changed subscription and puts the limits in force that now are.
    private func store(
        _ after: inout Subscription,
        now: Instant,
        in transaction: borrowing Transaction
    ) throws {
        after.updatedAt = now
        after.revision += 1
        try SubscriptionStore.update(after, in: transaction)
        try LimitsInForce.applyAndCount(to: after.tenantID, at: now, catalog: catalog, usage: usage, in: transaction)
    }

    /// Counts what the subscription covers from an instant on and was stored before it did.
    private func rate(
        _ subscription: Subscription,
        from: Instant,
        now: Instant,
        in transaction: borrowing Transaction
    ) throws {
        let id = subscription.id
        let start = try SubscriptionStart(
            of: subscription.tenantID,
            covering: (id, from),
            catalog: catalog,
            now: now,
            in: transaction
        )
        guard let start else { throw CatalogFault.unreadable(table: "subscription", key: id.description) }
        try usage.rate(transaction, start)
    }
}
