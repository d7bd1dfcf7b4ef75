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

    private let application: Application<Responder>

    /// - Parameter onListening: called with the port once connections are accepted.
    package init(
        operations: Operations,
        pipeline: RequestPipeline,
        configuration: Configuration,
        onListening: @escaping @Sendable (Int) async -> Void = { _ in }
    ) {
        let readTimeout = TimeAmount.seconds(Int64(configuration.readTimeoutSeconds))
        let writeTimeout = TimeAmount.seconds(Int64(configuration.writeTimeoutSeconds))
        let bodyLimitBytes = operations.operations.map(\.bodyLimitBytes).max() ?? Operation.defaultBodyLimitBytes
        let securityHeaders = pipeline.securityHeaders
        let http1 = HTTP1Channel.Configuration(
            additionalChannelHandlers: [
                StalledReaderHandler(timeout: writeTimeout),
                RequestArrivalHandler(
                    timeout: readTimeout,
                    continueUpToBytes: bodyLimitBytes,
                    securityHeaders: securityHeaders
                ),
            ],
            idleTimeout: .seconds(Int64(configuration.idleTimeoutSeconds)),
            httpDecoderConfiguration: .init(
                maxHeaderFieldSize: configuration.headerBytes,
                maxHeaderListSize: configuration.headerBytes,
                maxHeaderFieldCount: configuration.headerCount
            )
        )
        var application = Application(
            responder: Responder(operations: operations, pipeline: pipeline),
            server: HTTPServerBuilder { responder in
                HTTPConnection(
                    http: HTTP1Channel(responder: responder, configuration: http1),
                    certificate: configuration.certificate,
                    handshakeTimeout: readTimeout
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
            application.beforeServerStarts(perform: preparation)
        }
        self.application = application
    }

    package func run() async throws {
        try await application.run()
    }
}

struct HTTPContext: Hummingbird.RequestContext {
    var coreContext: CoreRequestContextStorage
    /// The event loop of the connection.
    let eventLoop: any EventLoop
    let remoteAddress: SocketAddress?

    init(source: Source) {
        coreContext = .init(source: source)
        eventLoop = source.channel.eventLoop
        remoteAddress = source.channel.remoteAddress
    }
}

/// Answers a path without parameters, written as its operation has it, by one look-up, and leaves all others to the
/// router.
private struct Responder: HTTPResponder {
    private let plain: [String: [HTTPRequest.Method: Endpoint]]
    private let router: RouterResponder<HTTPContext>

    init(operations: Operations, pipeline: RequestPipeline) {
        let router = Router(context: HTTPContext.self, options: .autoGenerateHeadEndpoints)
        var plain: [String: [HTTPRequest.Method: Endpoint]] = [:]
        for route in operations.routes {
            let operation = route.operation
            let endpoint = Endpoint(
                pipeline: pipeline,
                route: route,
                metrics: OperationMetrics(operation: operation)
            )
            router.on(RouterPath(operation.path), method: operation.method, responder: endpoint)
            if !operation.path.contains("{") { plain[operation.path, default: [:]][operation.method] = endpoint }
        }
        // A middleware added after the routes concerns only what no route has answered.
        router.add(middleware: Unrouted(pipeline: pipeline, operations: operations.operations))
        self.plain = plain
        self.router = router.buildResponder()
    }

    func respond(to request: Request, context: HTTPContext) async throws -> Response {
        if let endpoint = plain[request.uri.path]?[request.method] {
            return try await endpoint.respond(to: request, context: context)
        }
        return try await router.respond(to: request, context: context)
    }
}

private struct Endpoint: HTTPResponder {
    let pipeline: RequestPipeline
    let route: Operations.Route
    let metrics: OperationMetrics

    /// The thread of a connection serves others as well: what may take longer is answered elsewhere (ADR 0026).
    func respond(to request: Request, context: HTTPContext) async throws -> Response {
        if route.operation.isBrief, isSmall(request) { return await answer(to: request, context) }
        return await withTaskExecutorPreference(globalConcurrentExecutor) { await answer(to: request, context) }
    }

    private func isSmall(_ request: Request) -> Bool {
        guard route.operation.takesBody else { return true }
        return request.headers.announcedBytes.map { $0 <= Self.smallBodyBytes } ?? false
    }

    private static let smallBodyBytes = 4 * 1_024

    private func answer(to request: Request, _ context: HTTPContext) async -> Response {
        await pipeline.respond(
            to: request,
            parameters: context.parameters,
            route: route,
            metrics: metrics,
            connection: context
        )
    }
}

/// Answers what no route matches: 405 with `Allow` where another method would have, else 404.
private struct Unrouted: RouterMiddleware {
    typealias Context = HTTPContext

    let pipeline: RequestPipeline
    let operations: [Operation]
    let route: Operations.Route
    let metrics: OperationMetrics

    init(pipeline: RequestPipeline, operations: [Operation]) {
        let operation = Operation(
            id: "unrouted",
            method: .get,
            path: "unrouted",
            access: .open,
            bodyLimitBytes: 0,
            mediaTypes: [],
            isQuiet: false,
            isBrief: false,
            endsWithClient: false,
            isAnsweredInOutage: false
        )
        self.pipeline = pipeline
        self.operations = operations
        metrics = OperationMetrics(operation: operation)
        route = Operations.Route(operation: operation) { request, _ in
            let allowed = PathTemplate.methods(matching: request.path, among: operations)
            guard allowed.isEmpty else { throw Problem.methodNotAllowed(request.method, allowed: allowed) }
            throw Problem.routeNotFound(request.path)
        }
    }

    func handle(
        _ request: Request,
        context: HTTPContext,
        next: (Request, HTTPContext) async throws -> Response
    ) async throws -> Response {
        await pipeline.respond(
            to: request,
            parameters: context.parameters,
            route: route,
            metrics: metrics,
            connection: context
        )
    }
}
