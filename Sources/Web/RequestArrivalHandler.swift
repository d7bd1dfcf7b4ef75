import HTTPTypes
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import NIOHTTPTypesHTTP1

/// Watches over the arrival of requests on one connection, before any of our code sees them: what is not HTTP gets a
/// problem instead of silence, a request that dribbles in is given up after a time, from its first byte, and
/// `Expect: 100-continue` is answered, so that clients with large batches don't wait. While the server stops, an answer
/// says that it is the connection's last.
final class RequestArrivalHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    private let timeout: TimeAmount
    private let continueUpToBytes: Int
    private let securityHeaders: SecurityHeaders
    private var unanswered = 0
    /// The head is complete and the end is not there yet.
    private var isArriving = false
    private var isHeadArriving = false
    private var haveBytesArrived = false
    private var havePartsArrived = false
    private var isAnswering = false
    private var isStopping = false
    private var deadline: Scheduled<Void>?

    init(timeout: TimeAmount, continueUpToBytes: Int, securityHeaders: SecurityHeaders) {
        self.timeout = timeout
        self.continueUpToBytes = continueUpToBytes
        self.securityHeaders = securityHeaders
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is ArrivingBytesHandler.BytesArrived {
            haveBytesArrived = true
        } else {
            if event is ChannelShouldQuiesceEvent { isStopping = true }
            context.fireUserInboundEventTriggered(event)
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        havePartsArrived = true
        isHeadArriving = false
        switch unwrapInboundIn(data) {
        case .head(let head):
            if unanswered == 0, expectsContinue(head) {
                context.writeAndFlush(wrapOutboundOut(.head(HTTPResponse(status: .continue))), promise: nil)
            }
            unanswered += 1
            isArriving = true
        case .body:
            break
        case .end:
            isArriving = false
            deadline?.cancel()
            deadline = nil
        }
        context.fireChannelRead(data)
    }

    /// A request that arrives within one read needs no timer.
    func channelReadComplete(context: ChannelHandlerContext) {
        if !isArriving, haveBytesArrived, !havePartsArrived { isHeadArriving = true }
        haveBytesArrived = false
        havePartsArrived = false
        if isArriving || isHeadArriving, deadline == nil {
            let bound = NIOLoopBound((handler: self, context: context), eventLoop: context.eventLoop)
            deadline = context.eventLoop.scheduleTask(in: timeout) {
                bound.value.handler.giveUp(bound.value.context)
            }
        }
        context.fireChannelReadComplete()
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch unwrapOutboundIn(data) {
        case .head(var head):
            isAnswering = head.status.kind != .informational
            if isAnswering, isStopping {
                head.headerFields[.connection] = "close"
                context.write(wrapOutboundOut(.head(head)), promise: promise)
                return
            }
        case .body:
            break
        case .end:
            isAnswering = false
            unanswered = max(0, unanswered - 1)
        }
        context.write(data, promise: promise)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard unanswered == 0, let problem = Self.problem(of: error) else {
            context.fireErrorCaught(error)
            return
        }
        refuse(context, problem)
    }

    private static func problem(of error: any Error) -> Problem? {
        switch error {
        case HTTPParserError.headerOverflow:
            Problem(
                .requestHeaderFieldsTooLarge,
                code: "header_fields_too_large",
                detail: "The header of the request is too large."
            )
        case is HTTPParserError, is HTTP1TypeConversionError:
            Problem(.badRequest, code: "malformed_request", detail: "This is not an HTTP/1.1 request.")
        case let fault as RequestHeadFault:
            Problem(.badRequest, code: "malformed_request", detail: fault.detail)
        default:
            nil
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        deadline?.cancel()
        deadline = nil
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        deadline?.cancel()
        deadline = nil
    }

    private func expectsContinue(_ head: HTTPRequest) -> Bool {
        guard head.headerFields[.expect]?.lowercased() == "100-continue" else { return false }
        return head.headerFields.announcedBytes ?? 0 <= continueUpToBytes
    }

    private func giveUp(_ context: ChannelHandlerContext) {
        deadline = nil
        guard isArriving || isHeadArriving else { return }
        guard unanswered == (isArriving ? 1 : 0), !isAnswering else {
            context.close(promise: nil)
            return
        }
        refuse(
            context,
            Problem(.requestTimeout, code: "request_timeout", detail: "The request did not arrive completely in time.")
        )
    }

    /// Writes the problem past every other handler and closes.
    private func refuse(_ context: ChannelHandlerContext, _ problem: Problem) {
        let requestID = UInt64.random(in: .min ... .max)
        let answer = problem.answer(instance: "", requestID: "connection-" + String(requestID, radix: 36))
        var fields = answer.headers
        fields[.xRequestID] = "connection-" + String(requestID, radix: 36)
        fields[.connection] = "close"
        securityHeaders.add(to: &fields)
        fields[.contentLength] = String(answer.body.readableBytes)
        context.write(wrapOutboundOut(.head(HTTPResponse(status: answer.status, headerFields: fields))), promise: nil)
        context.write(wrapOutboundOut(.body(answer.body)), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        context.close(promise: nil)
    }
}
