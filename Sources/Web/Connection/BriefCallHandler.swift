import HTTPTypes
import NIOCore
import NIOHTTPTypes

/// Answers small calls of brief operations on the spot, in the last place of a connection's pipeline. Whatever else
/// arrives goes on to the connection's task, which reads and writes streams of parts (ADR 0027). Answers leave in the
/// order of their requests: while one is in the making, what arrives waits.
final class BriefCallHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    private enum State {
        case idle
        case receiving(HTTPRequest, Endpoint, ByteBuffer?)
        case answering
    }

    /// What comes after a call that is being answered.
    private enum Arrival {
        case part(NIOAny)
        case event(Any)
        case error(any Error)
    }

    private let routes: PlainRoutes
    private let executor: EventLoopTaskExecutor
    private var context: ChannelHandlerContext?
    private var peer: SocketAddress?
    private var state = State.idle
    /// How many requests went on and are not answered yet.
    private var passedOn = 0
    private var hasPassedOn = false
    private var waiting: [Arrival] = []
    private var isReadWanted = false

    init(routes: PlainRoutes, eventLoop: any EventLoop) {
        self.routes = routes
        executor = EventLoopTaskExecutor(eventLoop)
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        peer = context.remoteAddress
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        waiting = []
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if case .answering = state { return waiting.append(.part(data)) }
        switch (unwrapInboundIn(data), state) {
        case (.head(let head), .idle):
            guard passedOn == 0, let endpoint = routes.endpoint(ofBrief: head) else {
                passedOn += 1
                return passOn(context, data)
            }
            state = .receiving(head, endpoint, nil)
        case (.body(var piece), .receiving(let head, let endpoint, var body)):
            body.setOrWriteBuffer(&piece)
            state = .receiving(head, endpoint, body)
        case (.end, .receiving(let head, let endpoint, let body)):
            state = .answering
            answer(ArrivedRequest(head, .whole(body ?? ByteBuffer()), peer: peer), endpoint, context)
        default:
            passOn(context, data)
        }
    }

    private func passOn(_ context: ChannelHandlerContext, _ data: NIOAny) {
        hasPassedOn = true
        context.fireChannelRead(data)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        guard hasPassedOn else { return }
        hasPassedOn = false
        context.fireChannelReadComplete()
    }

    /// A client that ends its side after a call waits for the answer still.
    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .answering = state { return waiting.append(.event(event)) }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if case .answering = state { return waiting.append(.error(error)) }
        context.fireErrorCaught(error)
    }

    /// Whoever sends on without awaiting answers is not read from for so long.
    func read(context: ChannelHandlerContext) {
        if waiting.isEmpty { context.read() } else { isReadWanted = true }
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        if case .end = unwrapOutboundIn(data) { passedOn -= 1 }
        context.write(data, promise: promise)
    }

    private func answer(_ request: ArrivedRequest, _ endpoint: Endpoint, _ context: ChannelHandlerContext) {
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        Task.immediate(executorPreference: executor) {
            let (answer, _) = await endpoint.respond(to: request)
            bound.value.finish(answer)
        }
    }

    private func finish(_ answer: Answer) {
        guard let context else { return }
        var fields = answer.headers
        fields.append(HTTPField(name: .contentLength, value: String(answer.body.readableBytes)))
        fields.append(HTTPField(name: .date, value: HTTPDate.now))
        let head = HTTPResponse(status: answer.status, headerFields: fields)
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        if answer.body.readableBytes > 0 { context.write(wrapOutboundOut(.body(answer.body)), promise: nil) }
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        state = .idle
        if !waiting.isEmpty { goOn(context) }
    }

    private func goOn(_ context: ChannelHandlerContext) {
        let arrived = waiting
        waiting = []
        for arrival in arrived {
            switch arrival {
            case .part(let data): channelRead(context: context, data: data)
            case .event(let event): userInboundEventTriggered(context: context, event: event)
            case .error(let error): errorCaught(context: context, error: error)
            }
        }
        channelReadComplete(context: context)
        if isReadWanted, waiting.isEmpty {
            isReadWanted = false
            context.read()
        }
    }
}
