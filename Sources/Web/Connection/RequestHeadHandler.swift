import NIOCore
import NIOHTTP1

/// Refuses requests with a dangerous head, and ends the connection after a request that asks for it or that is older
/// than HTTP/1.1. It stands where the version of a request can still be seen.
final class RequestHeadHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    /// Set by the last request that this connection serves; leaves the connection only by its end.
    private var last: HTTPVersion?
    private var isOver = false
    private var unanswered = 0

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isOver else { return }
        switch unwrapInboundIn(data) {
        case .head(var head):
            if let fault = RequestHeadFault.fault(in: head) {
                isOver = true
                context.fireErrorCaught(fault)
                return
            }
            unanswered += 1
            // After an offer to upgrade, which is not taken here, the parser reads nothing more.
            if head.version.isOld || !head.isKeepAlive || head.headers.contains(name: "upgrade") {
                last = head.version
                head.headers.replaceOrAdd(name: "connection", value: "close")
            }
            context.fireChannelRead(wrapInboundOut(.head(head)))
        case .body:
            context.fireChannelRead(data)
        case .end:
            isOver = last != nil
            context.fireChannelRead(data)
        }
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch unwrapOutboundIn(data) {
        case .head(var head) where head.status.code >= 200 && unanswered <= 1:
            if let last {
                head.version = last
                head.headers.replaceOrAdd(name: "connection", value: "close")
            }
            context.write(wrapOutboundOut(.head(head)), promise: promise)
        case .end:
            unanswered -= 1
            context.write(data, promise: promise)
        default:
            context.write(data, promise: promise)
        }
    }
}
