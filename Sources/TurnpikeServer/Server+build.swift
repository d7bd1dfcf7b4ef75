package import Logging
package import Postgres
import ServiceLifecycle
package import Web

/// The whole service, put together from its configuration: dependencies, rooms, router, service group.
package struct Server: Sendable {
    package let pool: PostgresPool
    package let operations: [Operation]
    private let group: ServiceGroup
    private let http: HTTPServer
    private let shutdownSeconds: Int
    /// Has no elements, and ends when the service is told to stop.
    private let stopping = AsyncStream<Void>.makeStream()
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
            configuration: http
        ) { port in
            await dependencies.keepDataSettings()
            await onListening(port)
        }
        // Stopped from the end: HTTP accepts nothing more and answers what it has accepted, then the workers stop, and
        // when nobody needs a connection any longer the pool closes.
        let services: [any Service] = [pool] + rooms.services + (http.certificate.map { [$0] } ?? []) + [server]
        let group = ServiceGroupConfiguration(services: services.map { .init(service: $0) }, logger: logger)
        return Server(
            pool: pool,
            operations: operations.operations,
            group: ServiceGroup(configuration: group),
            http: server,
            shutdownSeconds: configuration.shutdownSeconds,
            certificate: http.certificate,
            logger: logger
        )
    }

    /// Runs until `stop()`, and then until what was accepted is done, or the time for that is over.
    package func run() async throws {
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            tasks.addTask { await waitForEndOfShutdown() }
            _ = try await tasks.next()
            tasks.cancelAll()
            try await tasks.waitForAll()
        }
    }

    /// Begins the graceful shutdown; `run()` returns when it is done.
    package func stop() async {
        stopping.continuation.finish()
        await group.triggerGracefulShutdown()
    }

    /// Returns when the time for stopping is over. What is not answered then is counted before it is ended.
    private func waitForEndOfShutdown() async {
        for await _ in stopping.stream {}
        try? await Task.sleep(for: .seconds(shutdownSeconds))
        let count = http.unanswered.count
        guard !Task.isCancelled, count > 0 else { return }
        logger.warning(
            "the time for stopping is over: requests that were accepted end without an answer",
            metadata: ["requests": .stringConvertible(count), "seconds": .stringConvertible(shutdownSeconds)]
        )
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
