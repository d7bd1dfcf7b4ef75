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
        let (wishes, reload) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        try await cancelWhenGracefulShutdown {
            async let reloading: Void = reloadSigningKeys(wishes)
            for try await notice in PostgresListener(configuration, channels: [CredentialChanges.channel]) {
                follow(notice, reload)
            }
            reload.finish()
            await reloading
        }
    }

    /// - Parameter reload: where it is wished that the signing keys are read again; a revocation doesn't wait for that.
    func follow(_ notice: PostgresNotice, _ reload: AsyncStream<Void>.Continuation) {
        switch notice {
        case .notification(_, let payload):
            guard let change = CredentialChanges.change(in: payload) else { return }
            identity.authentication.forget(change)
            if change == .signingKeys { reload.yield() }
        case .reconnected:
            identity.authentication.makeStale()
            reload.yield()
            logger.debug("listening for changed credentials")
        case .overflowed:
            identity.authentication.forgetAll()
            reload.yield()
            logger.warning("more changed credentials were announced than could be followed; all are read again")
        }
    }

    /// Wishes that come meanwhile are fulfilled together. What fails here is made good by the rotation's next round, or
    /// by a token that names a key not known yet.
    private func reloadSigningKeys(_ wishes: AsyncStream<Void>) async {
        for await _ in wishes where !Task.isCancelled {
            do {
                try await identity.oauth.reloadSigningKeys()
            } catch {
                logger.warning("the signing keys could not be read", metadata: ["error": "\(error)"])
            }
        }
    }
}
