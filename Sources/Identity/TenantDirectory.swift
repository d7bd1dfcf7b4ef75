package import BillingCore

/// What Identity needs to know of tenants. The catalogue owns them and stands later in the order of rooms, so the
/// composition root passes these functions in.
package struct TenantDirectory: Sendable {
    /// The tenant with this key; registered subjects don't count.
    package let tenant: @Sendable (_ key: String) async throws -> TenantID?
    /// The tenant with this key or registered subject.
    package let subject: @Sendable (_ subject: String) async throws -> TenantID?
    /// The keys of those of the tenants that exist.
    package let keys: @Sendable (_ tenants: Set<TenantID>) async throws -> [TenantID: String]
    /// What a credential bound to this tenant stands on; nil when the tenant does not exist.
    package let standing: @Sendable (_ tenant: TenantID) async throws -> TenantStanding?

    package init(
        tenant: @escaping @Sendable (_ key: String) async throws -> TenantID?,
        subject: @escaping @Sendable (_ subject: String) async throws -> TenantID?,
        keys: @escaping @Sendable (_ tenants: Set<TenantID>) async throws -> [TenantID: String],
        standing: @escaping @Sendable (_ tenant: TenantID) async throws -> TenantStanding?
    ) {
        self.tenant = tenant
        self.subject = subject
        self.keys = keys
        self.standing = standing
    }
}

/// A tenant as its credentials need to know it.
package struct TenantStanding: Sendable {
    package let key: String
    /// Its credentials may read and nothing else.
    package let isSuspended: Bool

    package init(key: String, isSuspended: Bool) {
        self.key = key
        self.isSuspended = isSuspended
    }
}
