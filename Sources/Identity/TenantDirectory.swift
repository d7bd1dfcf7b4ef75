package import BillingCore

/// What Identity needs to know of tenants. The catalogue owns them and stands later in the order of rooms, so the
/// composition root passes these functions in.
package struct TenantDirectory: Sendable {
    /// The tenant with this key; registered subjects don't count.
    package let tenant: @Sendable (_ key: String) async throws -> TenantID?
    /// The keys of those of the tenants that exist.
    package let keys: @Sendable (_ tenants: Set<TenantID>) async throws -> [TenantID: String]

    package init(
        tenant: @escaping @Sendable (_ key: String) async throws -> TenantID?,
        keys: @escaping @Sendable (_ tenants: Set<TenantID>) async throws -> [TenantID: String]
    ) {
        self.tenant = tenant
        self.keys = keys
    }
}
