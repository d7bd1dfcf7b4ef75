import HTTPTypes
import Hummingbird
import NIOCore
import NIOHTTP1
import NIOHTTPTypesHTTP1

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
struct Responder: HTTPResponder {
    let plain: PlainRoutes
    private let router: RouterResponder<HTTPContext>

    /// - Parameter unrouted: the metrics of what no operation answers.
    init(operations: Operations, pipeline: RequestPipeline, unrouted: OperationMetrics) {
        let router = Router(context: HTTPContext.self, options: .autoGenerateHeadEndpoints)
        var plain = PlainRoutes()
        for route in operations.routes {
            let metrics = OperationMetrics(operation: route.operation)
            let endpoint = Endpoint(pipeline: pipeline, route: route, metrics: metrics)
            router.on(RouterPath(route.operation.path), method: route.operation.method, responder: endpoint)
            plain.add(endpoint)
        }
        // A middleware added after the routes concerns only what no route has answered.
        router.add(middleware: Unrouted(pipeline, operations.operations, unrouted))
        self.plain = plain
        self.router = router.buildResponder()
    }

    func respond(to request: Request, context: HTTPContext) async throws -> Response {
        if let endpoint = plain.endpoint(of: request.uri.path, request.method) {
            return await endpoint.respond(to: request, context: context)
        }
        return try await router.respond(to: request, context: context)
    }
}

/// The operations that are found without the router: those whose path has no parameters, and brief ones.
struct PlainRoutes {
    private var endpoints: [String: [HTTPRequest.Method: Endpoint]] = [:]
    /// The brief ones whose path has parameters.
    private var templates: [(template: PathTemplate, endpoint: Endpoint)] = []

    mutating func add(_ endpoint: Endpoint) {
        let operation = endpoint.route.operation
        if !operation.path.contains("{") {
            endpoints[operation.path, default: [:]][operation.method] = endpoint
        } else if operation.isBrief {
            templates.append((PathTemplate(operation.path), endpoint))
        }
    }

    func endpoint(of path: String, _ method: HTTPRequest.Method) -> Endpoint? { endpoints[path]?[method] }

    /// The operation that a call is of, where it is brief and the call small (ADR 0027), and what its path has in the
    /// places of parameters. The last of a connection is none.
    func endpoint(ofBrief head: HTTPRequestHead) -> (Endpoint, Parameters)? {
        guard let method = try? HTTPRequest.Method(head.method),
            head.headers.first(name: "connection") != "close", Self.isSmall(head.headers)
        else { return nil }
        let path = head.uri.pathPart
        if let endpoint = endpoint(of: String(path), method) {
            return endpoint.route.operation.isBrief ? (endpoint, Parameters()) : nil
        }
        for (template, endpoint) in templates where endpoint.route.operation.method == method {
            if let parameters = template.parameters(of: path) { return (endpoint, parameters) }
        }
        return nil
    }

    private static func isSmall(_ headers: HTTPHeaders) -> Bool {
        guard !headers.contains(name: "transfer-encoding") else { return false }
        guard let announced = headers.announcedBytes else { return !headers.contains(name: "content-length") }
        return announced <= smallBodyBytes
    }

    private static let smallBodyBytes = 4 * 1_024
}

final class Endpoint: HTTPResponder {
    let pipeline: RequestPipeline
    let route: Operations.Route
    private let metrics: OperationMetrics

    init(pipeline: RequestPipeline, route: Operations.Route, metrics: OperationMetrics) {
        self.pipeline = pipeline
        self.route = route
        self.metrics = metrics
    }

    func respond(to request: Request, context: HTTPContext) async -> Response {
        let arrived = ArrivedRequest(request, parameters: context.parameters, peer: context.remoteAddress)
        let (answer, record) = await respond(to: arrived)
        return pipeline.response(answer, record: record, context.eventLoop)
    }

    func respond(to request: ArrivedRequest) async -> (Answer, RequestRecord) {
        await pipeline.respond(to: request, route: route, metrics: metrics)
    }
}

/// Answers what no route matches: 405 with `Allow` where another method would have, else 404.
private struct Unrouted: RouterMiddleware {
    typealias Context = HTTPContext

    private let endpoint: Endpoint

    init(_ pipeline: RequestPipeline, _ operations: [Operation], _ metrics: OperationMetrics) {
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
            isAnsweredInOutage: false,
            tellsSuspension: false,
            readsQuery: true
        )
        let route = Operations.Route(operation: operation) { request, _ in
            let allowed = PathTemplate.methods(matching: request.path, among: operations)
            guard allowed.isEmpty else { throw Problem.methodNotAllowed(request.method, allowed: allowed) }
            throw Problem.routeNotFound(request.path)
        }
        endpoint = Endpoint(pipeline: pipeline, route: route, metrics: metrics)
    }

    func handle(
        _ request: Request,
        context: HTTPContext,
        next: (Request, HTTPContext) async throws -> Response
    ) async throws -> Response {
        let response = await endpoint.respond(to: request, context: context)
        // Who asked for the head alone would take a body for the next answer.
        return request.method == .head ? response.createHeadResponse() : response
    }
}
