package import Logging
package import Postgres
package import ServiceLifecycle
package import Web

/// The room of credentials and of the audit log, put together.
package struct Identity: Sendable {
    package let authentication: Authentication
    let oauth: OAuth
    private let apiKeys: APIKeyRoutes
    private let clients: OAuthClientRoutes
    private let auditLog: AuditLogRoutes

    /// - Parameter settings: nil issues no tokens.
    package init(
        pool: PostgresPool,
        writes: IdempotentWrites,
        tenants: TenantDirectory,
        throttle: AuthenticationThrottle,
        oauth settings: OAuthSettings?,
        clock: Clock,
        ids: IDSource,
        logger: Logger
    ) {
        let keys = APIKeyAuthentication(pool: pool, tenants: tenants, throttle: throttle, clock: clock)
        let oauth = OAuth(
            settings,
            pool: pool,
            tenants: tenants,
            throttle: throttle,
            clock: clock,
            ids: ids,
            logger: logger
        )
        self.oauth = oauth
        authentication = Authentication(apiKeys: keys, tokens: oauth.authentication, throttle: throttle)
        apiKeys = APIKeyRoutes(pool: pool, writes: writes, tenants: tenants, authentication: keys)
        clients = OAuthClientRoutes(pool: pool, writes: writes, tenants: tenants) { id in
            oauth.authentication?.forget(clientID: id)
        }
        auditLog = AuditLogRoutes(pool: pool, tenants: tenants)
    }

    package func register(in operations: Operations) {
        apiKeys.register(in: operations)
        clients.register(in: operations)
        oauth.register(in: operations) { [authentication] text, address in
            try await authentication.principal(of: .bearer(text), from: address)
        }
        auditLog.register(in: operations)
    }

    /// What must be done before the first request.
    package func prepare() async throws {
        try await oauth.prepare()
    }

    /// What runs in the background.
    package var services: [any Service] { oauth.services }
}
