import BillingCore
package import Logging
import Metrics
import NIOSSL
import ServiceLifecycle
import Synchronization

/// The certificate the service answers with: read again when its files change, and when it is told to. What can't be
/// used leaves the one in use where it is. Connections that are open keep the one they began with.
package final class TLSCertificateWatch: Service {
    private struct State {
        var certificate: TLSCertificate
        /// What was looked at last, whether it could be used or not: it is reported once.
        var seen: String
    }

    private let files: TLSCertificate.Files
    private let state: Mutex<State>
    private let interval: Duration
    private let logger: Logger
    private let expiry = Gauge(label: "turnpike_tls_certificate_expiry_seconds")
    private let successes = Counter(label: reloads, dimensions: [("result", "ok")])
    private let failures = Counter(label: reloads, dimensions: [("result", "failed")])
    private static let reloads = "turnpike_tls_reloads_total"

    package init(
        _ certificate: TLSCertificate,
        every interval: Duration = .seconds(2),
        logger: Logger
    ) {
        files = certificate.files
        state = Mutex(State(certificate: certificate, seen: Self.name(certificate.digest)))
        self.interval = interval
        self.logger = logger
        report(certificate)
    }

    package func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                try? await Task.sleep(for: self.interval)
                self.refresh()
            }
        }
    }

    var context: NIOSSLContext { state.withLock { $0.certificate.context } }

    /// Looks at the files now.
    package func refresh() {
        let seen: String
        let found: Result<TLSCertificate, TLSCertificate.Fault>
        do throws(TLSCertificate.Fault) {
            let content = try TLSCertificate.Content(files)
            seen = Self.name(content.digest)
            guard isNew(seen) else { return }
            found = Self.certificate(files, content)
        } catch {
            seen = "\(error)"
            guard isNew(seen) else { return }
            found = .failure(error)
        }
        switch found {
        case .success(let certificate):
            state.withLock { $0.certificate = certificate }
            successes.increment()
            logger.notice("the TLS certificate was read again")
            report(certificate)
        case .failure(let fault):
            failures.increment()
            logger.error(
                "the TLS certificate on disk can't be used; the one before stays in use",
                metadata: ["error": "\(fault)"]
            )
        }
    }

    private func isNew(_ seen: String) -> Bool {
        state.withLock { state in
            defer { state.seen = seen }
            return state.seen != seen
        }
    }

    private func report(_ certificate: TLSCertificate) {
        expiry.record(certificate.expiresAt.microseconds / 1_000_000)
        if certificate.isKeyExposed {
            logger.warning("every user can read the TLS key", metadata: ["path": "\(files.keyPath)"])
        }
    }

    private static func name(_ digest: [UInt8]) -> String { digest.map(String.init).joined(separator: ".") }

    private static func certificate(
        _ files: TLSCertificate.Files,
        _ content: TLSCertificate.Content
    ) -> Result<TLSCertificate, TLSCertificate.Fault> {
        do throws(TLSCertificate.Fault) {
            return .success(try TLSCertificate(files, content))
        } catch {
            return .failure(error)
        }
    }
}
