package import Web

extension Catalog {
    /// The tenant of this key, if the caller may know of it; otherwise the answer that an absent one gets. The key is
    /// compared before anything is read, and what was found once more by its id.
    package func tenant(_ key: String, for context: RequestContext) async throws -> TenantSnapshot {
        try context.requireAccess(toTenant: key)
        guard let tenant = try await tenant(key: key), context.principal.mayAccess(tenant: tenant.id) else {
            throw Problem.notFound("tenant", key)
        }
        return tenant
    }

    /// The tenant that a list is narrowed to: a bound caller's own, or the one that was asked for; nil for all.
    package func tenantFilter(_ asked: String?, for context: RequestContext) async throws -> TenantSnapshot? {
        guard let key = try context.tenantFilter(asked) else { return nil }
        return try await tenant(key, for: context)
    }
}
