import BillingCore
import Identity
import Web

/// Whose endpoints a request is about.
struct EndpointOwner: Sendable {
    /// `TenantID.operatorWide` for the operator's own.
    let tenant: TenantID
    /// Nil for the operator's own.
    let key: String?

    init(tenant: TenantID, key: String?) {
        self.tenant = tenant
        self.key = key
    }

    /// A bound caller's own tenant, or the one an operator names. Another one's is answered like an absent one.
    init(named asked: String?, _ context: RequestContext, _ tenants: TenantDirectory) async throws {
        key = try context.tenantFilter(asked)
        if let own = context.principal.tenantID {
            tenant = own
        } else if let key {
            guard let found = try await tenants.tenant(key) else { throw Problem.notFound("tenant", key) }
            tenant = found
        } else {
            tenant = .operatorWide
        }
    }
}
