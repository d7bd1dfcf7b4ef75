import HTTPTypes
import NIOCore
import NIOHTTP1

/// Watches over the requests and answers of one connection, before any of our code sees them. A dangerous head is
/// refused, what is not HTTP gets a problem instead of silence, a request that dribbles in is given up after a time,
/// from its first byte, and `Expect: 100-continue` is answered, so that clients with large batches don't wait. The
/// connection ends with the answer to a request that asks for it or that is older than HTTP/1.1, with the last answer
/// that is under way when the server stops, and when nothing was sent for a time.
final class RequestArrivalHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    struct Bounds {
        /// How long a request may take to arrive.
        let arrival: TimeAmount
        /// How long a connection may stay silent between requests.
        let idle: TimeAmount
        /// How long a body may be that a client asks about before it sends it.
        let continueUpToBytes: Int
    }

    private let bounds: Bounds
    private let securityHeaders: SecurityHeaders
    /// Where bytes go past the encoder.
    private let wire: ChannelHandlerContext
    private var unanswered = 0 {
        didSet { unansweredEverywhere.change(by: unanswered - oldValue) }
    }
    private let unansweredEverywhere: UnansweredRequests
    private let unrouted: OperationMetrics
    /// The head is complete and the end is not there yet.
    private var isArriving = false
    private var isHeadArriving = false
    private var haveBytesArrived = false
    private var havePartsArrived = false
    private var isAnswering = false
    private var hasAnswered = false
    /// Set by the last request that this connection serves; leaves the connection only by its end.
    private var last: HTTPVersion?
    /// Whether nothing that comes is read any more.
    private var isOver = false
    /// Whether the connection ends with the last answer that is under way.
    private var isEnding = false
    /// Whether the connection ends with what was written: nothing follows it.
    private var hasEnded = false
    private var arrivalDeadline: Scheduled<Void>?
    private var idleDeadline: Scheduled<Void>?
    private var lastActive = NIODeadline.now()

    /// - Parameters:
    ///   - encoder: the context of what makes bytes of an answer's parts.
    ///   - unanswered: of all connections.
    ///   - unrouted: counts what is refused here.
    init(
        _ bounds: Bounds,
        securityHeaders: SecurityHeaders,
        encoder: ChannelHandlerContext,
        unanswered: UnansweredRequests,
        unrouted: OperationMetrics
    ) {
        self.bounds = bounds
        self.securityHeaders = securityHeaders
        unansweredEverywhere = unanswered
        self.unrouted = unrouted
        wire = encoder
    }

    func handlerAdded(context: ChannelHandlerContext) {
        awaitIdleness(context, in: bounds.idle)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is ArrivingBytesHandler.BytesArrived:
            haveBytesArrived = true
        case is ChannelShouldQuiesceEvent:
            isEnding = true
            guard unanswered == 0 else { break }
            // Where nothing was answered yet nothing waits to be sent, and there may be no way to send: it is only just
            // accepted, or has not agreed on TLS.
            if hasAnswered { end() } else { context.close(promise: nil) }
        default:
            context.fireUserInboundEventTriggered(event)
        }
    }

    // MARK: Requests

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isOver else { return }
        havePartsArrived = true
        isHeadArriving = false
        switch unwrapInboundIn(data) {
        case .head(let head):
            if let fault = RequestHeadFault.fault(in: head) {
                return errorCaught(context: context, error: fault)
            }
            if unanswered == 0, expectsContinue(head) {
                let answer = HTTPResponseHead(version: .http1_1, status: .continue)
                context.writeAndFlush(wrapOutboundOut(.head(answer)), promise: nil)
            }
            unanswered += 1
            isArriving = true
            passOn(head, data, context)
        case .body:
            context.fireChannelRead(data)
        case .end:
            isArriving = false
            arrivalDeadline?.cancel()
            arrivalDeadline = nil
            isOver = last != nil
            context.fireChannelRead(data)
        }
    }

    private func passOn(_ head: HTTPRequestHead, _ data: NIOAny, _ context: ChannelHandlerContext) {
        // After an offer to upgrade, which is not taken here, the parser reads nothing more.
        guard head.version.isOld || !head.isKeepAlive || head.headers.contains(name: "upgrade") else {
            return context.fireChannelRead(data)
        }
        last = head.version
        var head = head
        head.headers.replaceOrAdd(name: "connection", value: "close")
        context.fireChannelRead(wrapInboundOut(.head(head)))
    }

    /// A request that arrives within one read needs no timer.
    func channelReadComplete(context: ChannelHandlerContext) {
        if havePartsArrived { lastActive = .now() }
        if !isArriving, haveBytesArrived, !havePartsArrived { isHeadArriving = true }
        haveBytesArrived = false
        havePartsArrived = false
        if isArriving || isHeadArriving, arrivalDeadline == nil {
            let bound = NIOLoopBound((handler: self, context: context), eventLoop: context.eventLoop)
            arrivalDeadline = context.eventLoop.scheduleTask(in: bounds.arrival) {
                bound.value.handler.giveUp(bound.value.context)
            }
        }
        context.fireChannelReadComplete()
    }

    private func expectsContinue(_ head: HTTPRequestHead) -> Bool {
        // A client of HTTP/1.0 knows no interim answers (RFC 9110, section 10.1.1).
        guard !head.version.isOld, head.headers.first(name: "expect")?.lowercased() == "100-continue" else {
            return false
        }
        return head.headers.announcedBytes ?? 0 <= bounds.continueUpToBytes
    }

    private func giveUp(_ context: ChannelHandlerContext) {
        arrivalDeadline = nil
        guard !isOver, isArriving || isHeadArriving else { return }
        if unanswered == (isArriving ? 1 : 0), !isAnswering {
            let detail = "The request did not arrive completely in time."
            refuse(Problem(.requestTimeout, code: "request_timeout", detail: detail))
        } else if isArriving {
            context.close(promise: nil)
        } else {
            isOver = true
            isEnding = true
        }
    }

    // MARK: Answers

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        // Hummingbird answers again when a body breaks off behind its answer.
        guard !hasEnded else {
            promise?.succeed()
            return
        }
        switch unwrapOutboundIn(data) {
        case .head(var head):
            isAnswering = head.status.code >= 200
            guard isAnswering, unanswered <= 1, last != nil || isEnding else { break }
            if let last { head.version = last }
            head.headers.replaceOrAdd(name: "connection", value: "close")
            return context.write(wrapOutboundOut(.head(head)), promise: promise)
        case .body:
            break
        case .end:
            guard noteAnswer() else { break }
            let sent = promise ?? context.eventLoop.makePromise()
            context.writeAndFlush(data, promise: sent)
            return end(when: sent.futureResult)
        }
        context.write(data, promise: promise)
    }

    /// Writes an answer of one piece, past whatever works with parts. It is not the one to the last request of a
    /// connection.
    func send(_ answer: Answer, promise: EventLoopPromise<Void>) {
        let bytes = answer.bytes(endsConnection: isEnding && unanswered <= 1)
        // Where that is sent at once, the next call is taken before this returns.
        let isLast = noteAnswer()
        wire.writeAndFlush(NIOAny(IOData.byteBuffer(bytes)), promise: promise)
        if isLast { end(when: promise.futureResult) }
    }

    /// Takes note that an answer is written, and says whether the connection ends with it.
    private func noteAnswer() -> Bool {
        isAnswering = false
        hasAnswered = true
        unanswered = max(0, unanswered - 1)
        lastActive = .now()
        return isEnding && unanswered == 0
    }

    // MARK: The end

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard let problem = Self.problem(of: error) else { return context.fireErrorCaught(error) }
        guard !isOver else { return }
        // What was answered while it arrived has its answer.
        guard unanswered > 0 else { return isArriving ? end() : refuse(problem) }
        isOver = true
        // What breaks off is the last of what is unanswered.
        if isArriving { isEnding = true }
        context.fireErrorCaught(error)
    }

    private static func problem(of error: any Error) -> Problem? {
        switch error {
        case HTTPParserError.headerOverflow:
            Problem(
                .requestHeaderFieldsTooLarge,
                code: "header_fields_too_large",
                detail: "The header of the request is too large."
            )
        case is HTTPParserError:
            Problem(.badRequest, code: "malformed_request", detail: "This is not an HTTP/1.1 request.")
        case let fault as RequestHeadFault:
            Problem(.badRequest, code: "malformed_request", detail: fault.detail)
        default:
            nil
        }
    }

    private func refuse(_ problem: Problem) {
        let requestID = "connection-" + String(UInt64.random(in: .min ... .max), radix: 36)
        var answer = problem.answer(instance: "", requestID: requestID)
        answer.headers[.xRequestID] = requestID
        securityHeaders.add(to: &answer.headers)
        unrouted.count(problem.status)
        end(with: answer.bytes(endsConnection: true))
    }

    /// Ends the connection with these bytes, behind whatever is still to be sent.
    private func end(with bytes: ByteBuffer = ByteBuffer()) {
        let sent = wire.eventLoop.makePromise(of: Void.self)
        wire.writeAndFlush(NIOAny(IOData.byteBuffer(bytes)), promise: sent)
        end(when: sent.futureResult)
    }

    /// Ends the connection when something is sent, or for long not taken. What comes meanwhile is not read.
    private func end(when sent: EventLoopFuture<Void>) {
        isOver = true
        hasEnded = true
        let wire = NIOLoopBound(wire, eventLoop: wire.eventLoop)
        idleDeadline?.cancel()
        idleDeadline = wire.value.eventLoop.scheduleTask(in: bounds.arrival) { wire.value.close(promise: nil) }
        sent.whenComplete { _ in wire.value.close(promise: nil) }
    }

    private func awaitIdleness(_ context: ChannelHandlerContext, in time: TimeAmount) {
        let bound = NIOLoopBound((handler: self, context: context), eventLoop: context.eventLoop)
        idleDeadline = context.eventLoop.scheduleTask(in: time) {
            bound.value.handler.endIfIdle(bound.value.context)
        }
    }

    private func endIfIdle(_ context: ChannelHandlerContext) {
        let silence = unanswered == 0 ? NIODeadline.now() - lastActive : .zero
        if silence < bounds.idle {
            awaitIdleness(context, in: bounds.idle - silence)
        } else {
            end()
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        stopWaiting()
        unanswered = 0
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        stopWaiting()
        unanswered = 0
    }

    private func stopWaiting() {
        arrivalDeadline?.cancel()
        arrivalDeadline = nil
        idleDeadline?.cancel()
        idleDeadline = nil
    }
}

extension HTTPHeaders {
    /// How long the body is, where that is announced.
    var announcedBytes: Int? { first(name: "content-length").flatMap { Int($0) } }
}
