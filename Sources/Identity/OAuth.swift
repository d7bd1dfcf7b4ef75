import HTTPTypes
import Logging
import Postgres
import ServiceLifecycle
import Web

/// Tokens: the clients that get them, the keys that sign them, and the endpoints of OAuth 2.0 outside the API.
///
/// Without settings, which need `TURNPIKE_MASTER_KEY`, clients are kept, and the endpoints say what is missing.
struct OAuth: Sendable {
    static let tokenPath = "/oauth/token"
    static let introspectionPath = "/oauth/introspect"
    static let revocationPath = "/oauth/revoke"

    /// What there is when tokens are issued.
    private struct Issuing: Sendable {
        let authentication: AccessTokenAuthentication
        let ring: SigningKeyRing
        let rotation: SigningKeyRotation
        let expiry: TokenExpiryWorker
        let settings: OAuthSettings
        let metrics: OAuthMetrics
    }

    private let issuing: Issuing?
    private let pool: PostgresPool
    private let tenants: TenantDirectory
    let failures: FailedAuthentications

    init(
        _ settings: OAuthSettings?,
        pool: PostgresPool,
        tenants: TenantDirectory,
        failures: FailedAuthentications,
        clock: Clock,
        ids: IDSource,
        logger: Logger
    ) {
        self.pool = pool
        self.tenants = tenants
        self.failures = failures
        issuing = settings.map { settings in
            let ring = SigningKeyRing(pool: pool, masterKey: settings.masterKey, clock: clock)
            let metrics = OAuthMetrics()
            return Issuing(
                authentication: AccessTokenAuthentication(
                    pool: pool,
                    tenants: tenants,
                    ring: ring,
                    settings: settings,
                    throttle: failures.throttle,
                    clock: clock,
                    metrics: metrics
                ),
                ring: ring,
                rotation: SigningKeyRotation(
                    pool: pool,
                    ring: ring,
                    settings: settings,
                    clock: clock,
                    ids: ids,
                    logger: logger
                ),
                expiry: TokenExpiryWorker(pool: pool, clock: clock, logger: logger),
                settings: settings,
                metrics: metrics
            )
        }
    }

    /// Nil without settings.
    var authentication: AccessTokenAuthentication? { issuing?.authentication }

    var services: [any Service] {
        issuing.map { [$0.rotation, $0.expiry] } ?? []
    }

    /// Sees that there is a key to sign with.
    func prepare() async throws {
        try await issuing?.rotation.rotate()
    }

    func reloadSigningKeys() async throws {
        try await issuing?.ring.reload()
    }

    /// - Parameter bearer: the principal of an `Authorization: Bearer`, of whatever kind.
    func register(in operations: Operations, bearer: @escaping TokenStateRoutes.BearerJudge) {
        let endpoints = issuing.map { self.endpoints(of: $0, bearer) }
        func add(
            _ method: HTTPRequest.Method,
            _ path: String,
            _ id: String,
            _ answer: @escaping @Sendable (Endpoints, APIRequest, RequestContext) async throws -> Answer
        ) {
            // Open, because the endpoints authenticate clients in ways of their own, and answer in their own form.
            operations.add(
                method,
                fullPath: path,
                id: id,
                access: .open,
                bodyLimitBytes: OAuthForm.bodyLimitBytes,
                mediaTypes: OAuthForm.mediaTypes
            ) { request, context in
                guard let endpoints else { throw Problem.oauthNotConfigured }
                return try await endpoints.answering { try await answer(endpoints, request, context) }
            }
        }
        add(.get, DiscoveryRoutes.metadataPath, "getAuthorizationServerMetadata") { try $0.discovery.metadata($1, $2) }
        add(.get, DiscoveryRoutes.keysPath, "getJwks") { try $0.discovery.keys($1, $2) }
        add(.post, Self.tokenPath, "issueToken") { try await $0.token.issue($1, $2) }
        add(.post, Self.introspectionPath, "introspectToken") { try await $0.state.introspect($1, $2) }
        add(.post, Self.revocationPath, "revokeToken") { try await $0.state.revoke($1, $2) }
    }

    private struct Endpoints: Sendable {
        let discovery: DiscoveryRoutes
        let token: TokenRoutes
        let state: TokenStateRoutes
        let metrics: OAuthMetrics

        /// A refusal in the form of OAuth is an answer; any other error is a problem like everywhere.
        func answering(_ work: () async throws -> Answer) async throws -> Answer {
            do {
                return try await work()
            } catch let error as OAuthError {
                metrics.failed(error)
                return error.answer
            }
        }
    }

    private func endpoints(
        of issuing: Issuing,
        _ bearer: @escaping TokenStateRoutes.BearerJudge
    ) -> Endpoints {
        let clients = ClientAuthentication(
            pool: pool,
            assertions: ClientAssertionJudge(pool: pool, issuer: issuing.settings.issuer),
            failures: failures
        )
        return Endpoints(
            discovery: DiscoveryRoutes(ring: issuing.ring, settings: issuing.settings),
            token: TokenRoutes(
                pool: pool,
                clients: clients,
                authentication: issuing.authentication,
                tenants: tenants,
                ring: issuing.ring,
                settings: issuing.settings,
                metrics: issuing.metrics
            ),
            state: TokenStateRoutes(
                pool: pool,
                clients: clients,
                authentication: issuing.authentication,
                bearer: bearer,
                settings: issuing.settings,
                metrics: issuing.metrics
            ),
            metrics: issuing.metrics
        )
    }
}

extension Problem {
    fileprivate static let oauthNotConfigured = Problem(
        .serviceUnavailable,
        code: "oauth_not_configured",
        detail: "This service issues no tokens: TURNPIKE_MASTER_KEY is not set. API keys work."
    )
}
