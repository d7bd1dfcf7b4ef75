import NIOCore
import NIOHTTP1

/// Ends a connection whose answer has a status below 100, of which there is none (RFC 9110, section 15): the client
/// takes it for one that is only informational, and the end of it for a fault of the program.
final class StatusGuard: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias InboundOut = HTTPClientResponsePart

    struct ImpossibleStatus: Error, CustomStringConvertible {
        let code: UInt

        var description: String { "a status of \(code)" }
    }

    private var isRefused = false

    /// Behind what decodes answers. On the channel's thread.
    static func add(to channel: any Channel) throws {
        let pipeline = channel.pipeline.syncOperations
        let decoder = try pipeline.handler(type: ByteToMessageHandler<HTTPResponseDecoder>.self)
        try pipeline.addHandler(StatusGuard(), position: .after(decoder))
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if case .head(let head) = unwrapInboundIn(data), head.status.code < 100 {
            isRefused = true
            context.fireErrorCaught(ImpossibleStatus(code: head.status.code))
            context.close(promise: nil)
        }
        if !isRefused { context.fireChannelRead(data) }
    }
}
