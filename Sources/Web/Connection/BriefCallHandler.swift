import DequeModule
import Hummingbird
import NIOCore
import NIOHTTP1

/// Answers small calls of brief operations on the spot, before a connection's task, to which whatever else arrives goes
/// on and which reads and writes streams of parts (ADR 0027). Answers leave in the order of their requests: while one
/// is in the making, or the client takes none, what arrives waits.
final class BriefCallHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    private enum State {
        case idle
        case receiving(HTTPRequestHead, Endpoint, Parameters, ByteBuffer?)
        case answering
    }

    /// What comes after a call that is being answered.
    private enum Arrival {
        case part(NIOAny)
        case event(Any)
        case error(any Error)
    }

    private let routes: PlainRoutes
    private let answers: RequestArrivalHandler
    private let executor: EventLoopTaskExecutor
    private var context: ChannelHandlerContext?
    private var peer: SocketAddress?
    private var state = State.idle
    /// How many requests went on and are not answered yet.
    private var passedOn = 0
    private var hasPassedOn = false
    /// How many answers are on their way to the system.
    private var unsent = 0
    private var waiting: Deque<Arrival> = []
    private var isReadWanted = false
    private var isGoingOn = false

    init(routes: PlainRoutes, answers: RequestArrivalHandler, eventLoop: any EventLoop) {
        self.routes = routes
        self.answers = answers
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
        receive(.part(data), context)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        guard hasPassedOn else { return }
        hasPassedOn = false
        context.fireChannelReadComplete()
    }

    /// A client that ends its side after a call waits for the answer still.
    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        receive(.event(event), context)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        receive(.error(error), context)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { goOn(context) }
        context.fireChannelWritabilityChanged()
    }

    private func receive(_ arrival: Arrival, _ context: ChannelHandlerContext) {
        if waiting.isEmpty, !mustWait(arrival, context) {
            take(arrival, context)
        } else {
            waiting.append(arrival)
        }
    }

    private func mustWait(_ arrival: Arrival, _ context: ChannelHandlerContext) -> Bool {
        if case .answering = state { return true }
        switch arrival {
        // They may end the connection, and with it what was not sent yet.
        case .event, .error: return unsent > 0
        case .part(let data):
            guard !context.channel.isWritable, case .idle = state, case .head = unwrapInboundIn(data) else {
                return false
            }
            return true
        }
    }

    private func take(_ arrival: Arrival, _ context: ChannelHandlerContext) {
        switch arrival {
        case .part(let data): take(data, context)
        case .event(let event): context.fireUserInboundEventTriggered(event)
        case .error(let error): context.fireErrorCaught(error)
        }
    }

    private func take(_ data: NIOAny, _ context: ChannelHandlerContext) {
        switch (unwrapInboundIn(data), state) {
        case (.head(let head), .idle):
            guard passedOn == 0, let (endpoint, parameters) = routes.endpoint(ofBrief: head) else {
                passedOn += 1
                return passOn(data, context)
            }
            state = .receiving(head, endpoint, parameters, nil)
        case (.body(var piece), .receiving(let head, let endpoint, let parameters, var body)):
            body.setOrWriteBuffer(&piece)
            state = .receiving(head, endpoint, parameters, body)
        case (.end, .receiving(let head, let endpoint, let parameters, let body)):
            state = .answering
            let request = ArrivedRequest(
                head,
                body ?? ByteBuffer(),
                of: endpoint.route.operation,
                parameters: parameters,
                peer: peer
            )
            answer(request, endpoint, context)
        default:
            passOn(data, context)
        }
    }

    private func passOn(_ data: NIOAny, _ context: ChannelHandlerContext) {
        hasPassedOn = true
        context.fireChannelRead(data)
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
        state = .idle
        unsent += 1
        let sent = context.eventLoop.makePromise(of: Void.self)
        sent.futureResult.assumeIsolated().whenComplete { result in
            self.unsent -= 1
            if case .failure = result { self.waiting = [] }
            self.goOn(context)
        }
        answers.send(answer, promise: sent)
        goOn(context)
    }

    /// Takes up what had to wait, as far as it goes now.
    private func goOn(_ context: ChannelHandlerContext) {
        guard !waiting.isEmpty || isReadWanted, !isGoingOn else { return }
        isGoingOn = true
        while let next = waiting.first, !mustWait(next, context) {
            waiting.removeFirst()
            take(next, context)
        }
        isGoingOn = false
        channelReadComplete(context: context)
        if isReadWanted, waiting.isEmpty {
            isReadWanted = false
            context.read()
        }
    }
}
