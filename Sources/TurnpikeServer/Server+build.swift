package import Logging
package import Postgres
import ServiceLifecycle
package import Web

/// The whole service, put together from its configuration: dependencies, rooms, router, service group.
package struct Server: Sendable {
    package let pool: PostgresPool
    package let operations: [Operation]
    private let group: ServiceGroup
    private let certificate: TLSCertificateWatch?
    private let logger: Logger

    /// It opens nothing yet, and listens for no signal.
    /// - Parameter onListening: called with the port once requests are answered.
    package static func build(
        _ configuration: Configuration,
        logger: Logger,
        clock: Clock = .system,
        onListening: @escaping @Sendable (Int) async -> Void = { _ in }
    ) -> Server {
        let registry = PrometheusRegistry.process
        let pool = PostgresPool(configuration.postgres, logger: logger)
        ProcessMetrics.register(in: registry)
        PoolMetrics.register(pool, in: registry)

        let ids = IDSource.random(clock)
        let operations = Operations(bodyLimitBytes: configuration.bodyBytes)
        let dependencies = Dependencies(
            configuration: configuration,
            pool: pool,
            writes: IdempotentWrites(pool: pool),
            clock: clock,
            ids: ids,
            logger: logger
        )
        let rooms = Rooms.build(dependencies, operations: operations)
        ServiceRoutes(readiness: Readiness(pool: pool), registry: registry).register(in: operations)

        var http = HTTPServer.Configuration(host: configuration.host, port: configuration.port)
        http.preparations = rooms.preparations
        http.readTimeoutSeconds = configuration.readTimeoutSeconds
        http.connectionLimit = configuration.connectionLimit
        http.certificate = configuration.certificate.map { TLSCertificateWatch($0, logger: logger) }
        let server = HTTPServer(
            operations: operations,
            pipeline: RequestPipeline(
                authenticate: rooms.authenticate,
                addresses: ClientAddresses(trustedProxies: configuration.trustedProxies),
                isTLS: http.certificate != nil,
                places: TenantPlaces(of: configuration.postgres.interactive.places),
                clock: clock,
                ids: ids,
                logger: logger
            ),
            configuration: http,
            onListening: onListening
        )
        // Stopped from the end: HTTP accepts nothing more and answers what it has accepted, then the workers stop, and
        // when nobody needs a connection any longer the pool closes.
        let services: [any Service] = [pool] + rooms.services + (http.certificate.map { [$0] } ?? []) + [server]
        var group = ServiceGroupConfiguration(
            services: services.map { .init(service: $0) },
            logger: logger
        )
        group.maximumGracefulShutdownDuration = .seconds(configuration.shutdownSeconds)
        return Server(
            pool: pool,
            operations: operations.operations,
            group: ServiceGroup(configuration: group),
            certificate: http.certificate,
            logger: logger
        )
    }

    /// Runs until `stop()`.
    package func run() async throws {
        try await group.run()
    }

    /// Begins the graceful shutdown; `run()` returns when it is done.
    package func stop() async {
        await group.triggerGracefulShutdown()
    }

    /// Has what may change while it runs read again: the TLS certificate.
    package func readAgain() {
        guard let certificate else {
            logger.notice("there is nothing to read again: the service has no TLS certificate")
            return
        }
        certificate.refresh()
    }
}
