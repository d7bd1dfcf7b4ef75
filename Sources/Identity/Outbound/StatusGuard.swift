import NIOCore
import NIOHTTP1

/// Ends a connection whose answer does not come to what it says: one with a status below 100, of which there is none
/// (RFC 9110, section 15) and which the client takes for one that is only informational, one with informational answers
/// on and on, and one whose head has no end. The client would read them all until its time is up.
final class StatusGuard: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias InboundOut = HTTPClientResponsePart

    enum Fault: Error, CustomStringConvertible {
        case impossibleStatus(UInt)
        case tooManyInformational
        case tooLongHead

        var description: String {
            switch self {
            case .impossibleStatus(let code): "a status of \(code)"
            case .tooManyInformational: "it had informational answers only"
            case .tooLongHead: "its head was too long"
            }
        }
    }

    private static let mostInformational = 8

    private let head: HeadBound
    private var informational = 0
    private var isRefused = false

    private init(_ head: HeadBound) {
        self.head = head
    }

    /// Around what decodes answers. On the channel's thread.
    static func add(to channel: any Channel) throws {
        let pipeline = channel.pipeline.syncOperations
        let decoder = try pipeline.handler(type: ByteToMessageHandler<HTTPResponseDecoder>.self)
        let head = HeadBound()
        try pipeline.addHandler(head, position: .before(decoder))
        try pipeline.addHandler(StatusGuard(head), position: .after(decoder))
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if case .head(let answer) = unwrapInboundIn(data) { judge(answer.status.code, context) }
        if !isRefused { context.fireChannelRead(data) }
    }

    private func judge(_ code: UInt, _ context: ChannelHandlerContext) {
        switch code {
        case ..<100: refuse(.impossibleStatus(code), context)
        case ..<200:
            informational += 1
            if informational > Self.mostInformational { refuse(.tooManyInformational, context) }
        default: head.isComplete = true
        }
    }

    private func refuse(_ fault: Fault, _ context: ChannelHandlerContext) {
        guard !isRefused else { return }
        isRefused = true
        context.fireErrorCaught(fault)
        context.close(promise: nil)
    }

    /// Bounds what comes before the head of the answer is complete.
    private final class HeadBound: ChannelInboundHandler, RemovableChannelHandler {
        typealias InboundIn = ByteBuffer
        typealias InboundOut = ByteBuffer

        private static let mostBytes = 64 * 1_024

        var isComplete = false
        private var bytes = 0

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            guard !isComplete else { return context.fireChannelRead(data) }
            let isOver = bytes > Self.mostBytes
            bytes += unwrapInboundIn(data).readableBytes
            if !isOver { context.fireChannelRead(data) }
            guard !isOver, !isComplete, bytes > Self.mostBytes else { return }
            context.fireErrorCaught(Fault.tooLongHead)
            context.close(promise: nil)
        }
    }
}
