package import Postgres
package import Web

/// The room of credentials and of the audit log, put together.
package struct Identity: Sendable {
    package let authentication: Authentication
    private let apiKeys: APIKeyRoutes
    private let portalSessions: PortalSessionRoutes
    private let auditLog: AuditLogRoutes

    /// - Parameter portalPage: the URL of the page that takes a portal session's token.
    package init(
        pool: PostgresPool,
        writes: IdempotentWrites,
        tenants: TenantDirectory,
        throttle: AuthenticationThrottle,
        portalPage: String,
        clock: Clock
    ) {
        let use = CredentialUse()
        let keys = SecretAuthentication(.apiKey, tenants: tenants, throttle: throttle, use: use, clock: clock) {
            try await APIKeyStore.find(id: $0, pool: pool)
        }
        let sessions = SecretAuthentication(.portalSession, tenants: tenants, throttle: throttle, clock: clock) {
            try await PortalSessionStore.find(id: $0, pool: pool)
        }
        authentication = Authentication(apiKeys: keys, portalSessions: sessions, use: use, throttle: throttle)
        apiKeys = APIKeyRoutes(pool: pool, writes: writes, tenants: tenants, authentication: keys)
        portalSessions = PortalSessionRoutes(
            pool: pool,
            writes: writes,
            tenants: tenants,
            authentication: sessions,
            page: portalPage
        )
        auditLog = AuditLogRoutes(pool: pool, tenants: tenants)
    }

    package func register(in operations: Operations) {
        apiKeys.register(in: operations)
        portalSessions.register(in: operations)
        auditLog.register(in: operations)
    }
}
