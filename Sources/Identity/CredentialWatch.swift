package import Logging
import ServiceLifecycle

package struct CredentialWatch: Service {
    package init(url: String, authentication: Authentication, logger: Logger) {}
    package func run() async throws { try? await gracefulShutdown() }
}
