package import Postgres
package import Web

/// The room of credentials and of the audit log, put together.
package struct Identity: Sendable {
    package let authentication: Authentication
    private let apiKeys: APIKeyRoutes
    private let auditLog: AuditLogRoutes

    package init(
        pool: PostgresPool,
        writes: IdempotentWrites,
        tenants: TenantDirectory,
        throttle: AuthenticationThrottle,
        clock: Clock
    ) {
        let keys = APIKeyAuthentication(pool: pool, tenants: tenants, throttle: throttle, clock: clock)
        authentication = Authentication(apiKeys: keys, throttle: throttle)
        apiKeys = APIKeyRoutes(pool: pool, writes: writes, tenants: tenants, authentication: keys)
        auditLog = AuditLogRoutes(pool: pool, tenants: tenants)
    }

    package func register(in operations: Operations) {
        apiKeys.register(in: operations)
        auditLog.register(in: operations)
    }
}
