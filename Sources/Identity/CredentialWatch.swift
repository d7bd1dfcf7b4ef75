package import Logging
package import Postgres
import ServiceLifecycle

/// Listens for changed credentials, so that a revocation is felt at once and not only when the caches have aged.
/// Without its connection nothing is lost but those two seconds.
package struct CredentialWatch: Service {
    private let configuration: PostgresConfiguration
    private let identity: Identity
    private let logger: Logger

    package init(_ configuration: PostgresConfiguration, identity: Identity, logger: Logger) {
        self.configuration = configuration
        self.identity = identity
        self.logger = logger
    }

    package func run() async throws {
        try await cancelWhenGracefulShutdown {
            for try await notice in PostgresListener(configuration, channels: [CredentialChanges.channel]) {
                switch notice {
                case .notification(_, let payload):
                    guard let change = CredentialChanges.change(in: payload) else { continue }
                    identity.authentication.forget(change)
                    if change == .signingKeys { await reloadSigningKeys() }
                case .reconnected:
                    identity.authentication.forgetAll()
                    await reloadSigningKeys()
                    logger.debug("listening for changed credentials")
                }
            }
        }
    }

    /// What fails here is made good by the rotation's next round, or by a token that names a key not known yet.
    private func reloadSigningKeys() async {
        do {
            try await identity.oauth.reloadSigningKeys()
        } catch {
            logger.warning("the signing keys could not be read", metadata: ["error": "\(error)"])
        }
    }
}
