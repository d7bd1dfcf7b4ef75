package import Logging
package import Postgres
package import ServiceLifecycle
package import Web

/// The room of credentials and of the audit log, put together.
package struct Identity: Sendable {
    package let authentication: Authentication
    let oauth: OAuth
    private let apiKeys: APIKeyRoutes
    private let portalSessions: PortalSessionRoutes
    private let clients: OAuthClientRoutes
    private let providers: IdentityProviderRoutes
    private let auditLog: AuditLogRoutes

    /// - Parameters:
    ///   - portalPage: the URL of the page that takes a portal session's token.
    ///   - settings: nil issues no tokens.
    ///   - deadline: of what is answered while the database is away.
    package init(
        pool: PostgresPool,
        writes: IdempotentWrites,
        tenants: TenantDirectory,
        throttle: AuthenticationThrottle,
        portalPage: String,
        oauth settings: OAuthSettings?,
        outbound: OutboundGuard,
        deadline: AnswerDeadline,
        clock: Clock,
        ids: IDSource,
        logger: Logger
    ) {
        let use = CredentialUse()
        let keys = SecretAuthentication(.apiKey, tenants: tenants, throttle: throttle, use: use, clock: clock) {
            try await APIKeyStore.find(id: $0, pool: pool)
        }
        let sessions = SecretAuthentication(.portalSession, tenants: tenants, throttle: throttle, clock: clock) {
            try await PortalSessionStore.find(id: $0, pool: pool)
        }
        oauth = OAuth(
            settings,
            pool: pool,
            tenants: tenants,
            failures: FailedAuthentications(throttle: throttle, clock: clock),
            clock: clock,
            ids: ids,
            logger: logger
        )
        let idps = IdentityProviderAuthentication(
            pool: pool,
            tenants: tenants,
            keys: KeySetCache(client: OutboundClient(addresses: outbound), clock: clock, logger: logger),
            throttle: throttle,
            ownIssuer: settings?.issuer,
            clock: clock
        )
        authentication = Authentication(
            apiKeys: keys,
            portalSessions: sessions,
            tokens: oauth.authentication,
            use: use,
            providers: idps,
            failures: oauth.failures,
            deadline: deadline
        )
        providers = IdentityProviderRoutes(pool: pool, writes: writes, outbound: outbound, authentication: idps)
        apiKeys = APIKeyRoutes(pool: pool, writes: writes, tenants: tenants, authentication: keys)
        portalSessions = PortalSessionRoutes(
            pool: pool,
            writes: writes,
            tenants: tenants,
            authentication: sessions,
            page: portalPage
        )
        clients = OAuthClientRoutes(pool: pool, writes: writes, tenants: tenants) { [oauth] id in
            oauth.authentication?.forget(clientID: id)
        }
        auditLog = AuditLogRoutes(pool: pool, tenants: tenants)
    }

    package func register(in operations: Operations) {
        apiKeys.register(in: operations)
        portalSessions.register(in: operations)
        clients.register(in: operations)
        oauth.register(in: operations) { [authentication] text, address in
            try await authentication.judged(.bearer(text), from: address)
        }
        providers.register(in: operations)
        auditLog.register(in: operations)
    }

    /// What must be done before the first request.
    package func prepare() async throws {
        try await oauth.prepare()
    }

    /// What runs in the background.
    package var services: [any Service] { [authentication.reading] + oauth.services }
}
