package import BillingCore
package import Postgres

/// A subscription that has just begun to cover some time, or whose limits have just come into force, as its own
/// transaction sees it.
package struct SubscriptionStart: Sendable {
    /// The tenant with the subscription and the limits in force.
    package let tenant: TenantSnapshot
    package let subscription: SubscriptionSnapshot
    /// The shared catalogue at the version this transaction sees.
    package let catalog: CatalogSnapshot
    /// From when on it covers what it did not cover before this transaction, so that usage stored there is to be
    /// rated; nil where that has not changed.
    package let ratesFrom: Instant?
    /// The instant whose windows are the first that limits which come into force count in.
    package let limitsFrom: Instant
    package let now: Instant
    /// Whether it covers the present; the tenant's limits in force are then its own.
    package let isInForce: Bool

    /// - Parameters:
    ///   - covering: the subscription that covers more than before, and from when on; without it, the one that covers
    ///     the present.
    ///   - limitsFrom: see the property; by default the start of the segment in force.
    /// - Returns: `nil` when there is no such subscription.
    init?(
        of tenantID: TenantID,
        covering more: (subscription: SubscriptionID, from: Instant)? = nil,
        limitsFrom: Instant? = nil,
        catalog: Catalog,
        now: Instant,
        in transaction: borrowing Transaction
    ) throws {
        let tenants = try TenantSnapshotStore.read([tenantID], plans: [:], now: now, in: transaction)
        let started = tenants.first?.subscriptions.first { subscription in
            more.map { subscription.id == $0.subscription } ?? subscription.covers(now)
        }
        guard let tenant = tenants.first, let started else { return nil }
        self.tenant = tenant
        ratesFrom = more.map { max($0.from, started.startsAt) }
        self.limitsFrom = limitsFrom ?? max(started.startsAt, started.segment(at: now).startsAt)
        isInForce = started.covers(now)
        self.now = now
        subscription = started
        self.catalog = try CatalogSnapshotStore.read(reusing: catalog.current, in: transaction)
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
