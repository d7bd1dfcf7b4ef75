package import Logging
package import Postgres
import ServiceLifecycle

/// Listens for changed keys, so that a revocation is felt at once and not only when the cache has aged. Without its
/// connection nothing is lost but those two seconds.
package struct CredentialWatch: Service {
    private let configuration: PostgresConfiguration
    private let authentication: Authentication
    private let logger: Logger

    package init(_ configuration: PostgresConfiguration, authentication: Authentication, logger: Logger) {
        self.configuration = configuration
        self.authentication = authentication
        self.logger = logger
    }

    package func run() async throws {
        try await cancelWhenGracefulShutdown {
            for try await notice in PostgresListener(configuration, channels: [CredentialChanges.channel]) {
                switch notice {
                case .notification(_, let payload):
                    switch CredentialChanges.change(in: payload) {
                    case .apiKey(let id): authentication.apiKeys.forget(keyID: id)
                    case .tenant(let id): authentication.apiKeys.forget(tenant: id)
                    case nil: break
                    }
                case .reconnected:
                    authentication.apiKeys.forgetAll()
                    logger.debug("listening for changed credentials")
                }
            }
        }
    }
}
