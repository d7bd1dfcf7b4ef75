import BillingCore
import Postgres
import Web

/// The work of subscribing and cancelling, each inside one transaction under the tenant's ledger lock.
struct SubscriptionService: Sendable {
    let catalog: Catalog
    let usage: StoredUsageAccess

    /// Makes a subscription, puts its quotas in force if it starts by now, and rates earlier usage.
    func create(
        _ input: SubscriptionInput,
        id: SubscriptionID,
        boundTo bound: TenantID?,
        now: Instant,
        in transaction: borrowing Transaction
    ) throws -> Subscription {
        let tenant = try lockedTenant(input.tenant, boundTo: bound, in: transaction)
        let version = try publishedVersion(input, in: transaction)
        guard tenant.status == .active else { throw CatalogFault.tenantSuspended(tenant.key) }
        guard version.plan.currency == tenant.currency else {
            throw CatalogFault.currencyMismatch(
                plan: version.plan.key,
                planCurrency: version.plan.currency.code,
                tenantCurrency: tenant.currency.code
            )
        }
        let start = input.startsAt ?? now
        let subscription = Subscription(
            id: id,
            tenantID: tenant.id,
            tenantKey: tenant.key,
            segments: [
                Subscription.Segment(
                    ordinal: 0,
                    planVersionID: version.id,
                    planKey: version.plan.key,
                    version: version.version,
                    startsAt: start,
                    overrides: nil,
                    createdAt: now
                )
            ],
            zone: tenant.zone,
            anchor: start,
            startsAt: start,
            endsAt: nil,
            createdAt: now,
            updatedAt: now,
            revision: 1
        )
        try SubscriptionStore.insert(subscription, in: transaction)
        try LimitsInForce.applyAndCount(to: tenant.id, at: now, catalog: catalog, usage: usage, in: transaction)
        try rate(subscription, now: now, in: transaction)
        return subscription
    }

    /// Ends a subscription: at the time asked, or right after the last usage that is already rated under it, where that
    /// is later. One that has not started then covers nothing.
    func cancel(
        _ id: SubscriptionID,
        at time: CancellationTime,
        boundTo bound: TenantID?,
        now: Instant,
        in transaction: borrowing Transaction,
        checking precondition: (Subscription) throws -> Void
    ) throws -> (before: Subscription, after: Subscription) {
        let absent = CatalogFault.notFound(.subscription, id.description)
        let found = try SubscriptionStore.find(id, in: transaction)
        guard let found, bound == nil || found.tenantID == bound else { throw absent }
        try TenantLedger.lockAndBump(found.tenantID, in: transaction)
        guard let before = try SubscriptionStore.find(id, in: transaction) else { throw absent }
        try precondition(before)
        guard before.status(at: now) != .ended else { throw CatalogFault.subscriptionEnded(id) }
        var after = before
        let asked = max(before.startsAt, end(of: before, at: time, now: now))
        let covered = Interval(start: asked, end: before.endsAt ?? .maximum)
        let lastUsage = try usage.latest(transaction, found.tenantID, covered)
        after.endsAt = lastUsage?.adding(microseconds: 1) ?? asked
        after.updatedAt = now
        after.revision += 1
        try SubscriptionStore.update(after, in: transaction)
        try LimitsInForce.applyAndCount(to: after.tenantID, at: now, catalog: catalog, usage: usage, in: transaction)
        if let end = before.endsAt, asked > end {
            // Usage past the earlier end was unsubscribed until now.
            try rate(after, now: now, in: transaction)
        }
        return (before, after)
    }

    /// Counts what the subscription covers and was stored before it did.
    private func rate(_ subscription: Subscription, now: Instant, in transaction: borrowing Transaction) throws {
        let id = subscription.id
        let start = try SubscriptionStart(
            of: subscription.tenantID,
            new: id,
            catalog: catalog,
            now: now,
            in: transaction
        )
        guard let start else { throw CatalogFault.unreadable(table: "subscription", key: id.description) }
        try usage.rate(transaction, start)
    }

    private func end(of subscription: Subscription, at time: CancellationTime, now: Instant) -> Instant {
        switch time {
        case .now: now
        case .periodEnd: subscription.currentPeriod(at: now)?.end ?? now
        case .instant(let instant): instant
        }
    }

    /// A tenant the caller must not know of is reported like one that does not exist.
    private func lockedTenant(
        _ key: String,
        boundTo bound: TenantID?,
        in transaction: borrowing Transaction
    ) throws -> Tenant {
        let unknown = ValidationFailure([
            FieldFault(pointer: "/tenant", code: "unknown_tenant", detail: "there is no tenant \"\(key)\"")
        ])
        guard let found = try TenantStore.find(key: key, in: transaction), bound == nil || found.id == bound else {
            throw unknown
        }
        try TenantLedger.lockAndBump(found.id, in: transaction)
        guard let tenant = try TenantStore.find(key: key, in: transaction) else { throw unknown }
        return tenant
    }

    private func publishedVersion(
        _ input: SubscriptionInput,
        in transaction: borrowing Transaction
    ) throws -> PlanVersionRecord {
        guard try PlanStore.find(key: input.plan, in: transaction) != nil else {
            throw ValidationFailure([
                FieldFault(pointer: "/plan", code: "unknown_plan", detail: "there is no plan \"\(input.plan)\"")
            ])
        }
        guard let number = input.version else {
            guard let latest = try PlanVersionStore.latestPublished(plan: input.plan, in: transaction) else {
                throw CatalogFault.planVersionNotPublished(plan: input.plan, version: nil)
            }
            return latest
        }
        guard let version = try PlanVersionStore.find(plan: input.plan, version: number, in: transaction) else {
            let detail = "the plan \"\(input.plan)\" has no version \(number)"
            throw ValidationFailure([FieldFault(pointer: "/version", code: "unknown_version", detail: detail)])
        }
        guard version.status == .published else {
            throw CatalogFault.planVersionNotPublished(plan: input.plan, version: number)
        }
        return version
    }
}
