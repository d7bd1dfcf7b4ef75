package import BillingCore
package import Postgres

/// A subscription that has just begun to exist, or whose limits have just come into force, as its own transaction sees
/// it.
package struct SubscriptionStart: Sendable {
    /// The tenant with the subscription and the limits in force.
    package let tenant: TenantSnapshot
    package let subscription: SubscriptionSnapshot
    /// The shared catalogue at the version this transaction sees.
    package let catalog: CatalogSnapshot
    /// Whether the subscription was made in this transaction.
    package let isNew: Bool
    /// Whether it covers the present; the tenant's limits in force are then its own.
    package let isInForce: Bool

    /// - Parameters:
    ///   - new: the subscription that was made; without it, the one that covers the present.
    /// - Returns: `nil` when there is no such subscription.
    init?(
        of tenantID: TenantID,
        new: SubscriptionID? = nil,
        catalog: Catalog,
        now: Instant,
        in transaction: borrowing Transaction
    ) throws {
        let tenants = try TenantSnapshotStore.read([tenantID], plans: [:], now: now, in: transaction)
        let started = tenants.first?.subscriptions.first { new == nil ? $0.covers(now) : $0.id == new }
        guard let tenant = tenants.first, let started else { return nil }
        let cached = catalog.current
        let isCurrent = try CatalogVersion.read(in: transaction) == cached.version
        self.tenant = tenant
        isNew = new != nil
        isInForce = started.covers(now)
        subscription = started
        self.catalog = isCurrent ? cached : try CatalogSnapshotStore.read(in: transaction)
    }
}

/// What this room asks of usage that is already stored; the room that owns it answers. Both run in a transaction that
/// holds the tenant's ledger lock.
package struct StoredUsageAccess: Sendable {
    /// Rates the events that arrived before a subscription covered their time, or a limit was in force.
    package let rate: @Sendable (borrowing Transaction, SubscriptionStart) throws -> Void
    /// The time of the last event in an interval.
    package let latest: @Sendable (borrowing Transaction, TenantID, Interval) throws -> Instant?

    package init(
        rate: @escaping @Sendable (borrowing Transaction, SubscriptionStart) throws -> Void,
        latest: @escaping @Sendable (borrowing Transaction, TenantID, Interval) throws -> Instant?
    ) {
        self.rate = rate
        self.latest = latest
    }
}
