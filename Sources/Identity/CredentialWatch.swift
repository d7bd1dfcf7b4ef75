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
                    if let change = CredentialChanges.change(in: payload) { authentication.forget(change) }
                case .reconnected:
                    authentication.forgetAll()
                    logger.debug("listening for changed credentials")
                }
            }
        }
    }
}
