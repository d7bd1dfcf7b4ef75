import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTPTypes
import ServiceLifecycle

/// The HTTP side of the process: a `Service` that answers the registered operations until it is told to stop,
/// then finishes what it has accepted.
package struct HTTPServer: Service {
    package struct Configuration: Sendable {
        package var host: String
        /// 0 lets the system choose a free port.
        package var port: Int
        /// How long a connection may stay silent between requests.
        package var idleTimeoutSeconds = 75
        /// How long one request may take to arrive completely.
        package var readTimeoutSeconds = 30
        /// How long a client may take nothing of an answer that waits for it.
        package var writeTimeoutSeconds = 60
        package var headerBytes = 32 * 1024
        package var headerCount = 100
        /// How many connections are served at once; more wait in the system's queue.
        package var connectionLimit = 4_000
        /// Nil speaks plain HTTP.
        package var certificate: TLSCertificateWatch?
        /// Done in this order before connections are accepted. If one throws, the service ends with its error.
        package var preparations: [@Sendable () async throws -> Void] = []

        package init(host: String, port: Int) {
            self.host = host
            self.port = port
        }
    }

    package let unanswered: UnansweredRequests
    private let application: Application<Responder>

    /// - Parameter onListening: called with the port once connections are accepted.
    package init(
        operations: Operations,
        pipeline: RequestPipeline,
        configuration: Configuration,
        onListening: @escaping @Sendable (Int) async -> Void = { _ in }
    ) {
        let unanswered = UnansweredRequests()
        let unrouted = OperationMetrics.ofNoOperation()
        let responder = Responder(operations: operations, pipeline: pipeline, unrouted: unrouted)
        let bodyLimitBytes = operations.operations.map(\.bodyLimitBytes).max() ?? Operation.defaultBodyLimitBytes
        var application = Application(
            responder: responder,
            server: HTTPServerBuilder { answer in
                HTTPConnection(
                    http: HTTP1Channel(responder: answer),
                    routes: responder.plain,
                    securityHeaders: pipeline.securityHeaders,
                    bodyLimitBytes: bodyLimitBytes,
                    unanswered: unanswered,
                    unrouted: unrouted,
                    configuration: configuration
                )
            },
            configuration: .init(
                address: .hostname(configuration.host, port: configuration.port),
                availableConnectionsDelegate: ConnectionLimit(configuration.connectionLimit)
            ),
            onServerRunning: { channel in
                await onListening(channel.localAddress?.port ?? configuration.port)
            },
            logger: pipeline.logger
        )
        for preparation in configuration.preparations {
            application.beforeServerStarts {
                try await cancelWhenGracefulShutdown { try await preparation() }
            }
        }
        self.application = application
        self.unanswered = unanswered
    }

    package func run() async throws {
        try await application.run()
    }
}
