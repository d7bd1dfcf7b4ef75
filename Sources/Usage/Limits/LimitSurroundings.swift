package import BillingCore
package import Catalog
package import Web

/// How limits are counted, from the configuration.
package struct LimitPolicy: Sendable {
    /// Whose days and months the windows of limits over all tenants are.
    package let operatorZone: Zone
    package let ids: IDSource

    package init(operatorZone: Zone, ids: IDSource) {
        self.operatorZone = operatorZone
        self.ids = ids
    }
}

/// What counting in limits depends on beside the usage.
package struct LimitSurroundings: Sendable {
    /// At the version that the transaction checks.
    package let shared: CatalogSnapshot
    let ids: IDSource
    package let now: Instant
    private let operatorZone: Zone

    package init(_ policy: LimitPolicy, shared: CatalogSnapshot, now: Instant) {
        self.shared = shared
        self.now = now
        ids = policy.ids
        operatorZone = policy.operatorZone
    }

    /// Those of the tenants whose charges some limit counts, of whatever usage.
    func tenantsWithChargeLimits(_ tenants: some Sequence<TenantSnapshot>) -> [TenantID: TenantSnapshot] {
        let isShared = shared.sharedLimits.contains { $0.measure == .charge }
        let charged = tenants.lazy.filter { isShared || $0.ownLimits.contains { $0.measure == .charge } }
        return Dictionary(charged.map { ($0.id, $0) }) { first, _ in first }
    }

    /// The tenant's own, and those over several tenants.
    func limits(of tenant: TenantSnapshot) -> some Sequence<Limit> {
        [tenant.ownLimits, shared.sharedLimits].lazy.joined()
    }

    package var matching: LimitMatching { LimitMatching(shared: shared, operatorZone: operatorZone) }
}
