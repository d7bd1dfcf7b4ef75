import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTPTypes
import NIOHTTPTypesHTTP1
import NIOSSL

/// One accepted connection: TLS where it is on, HTTP/1.1 with the checks and bounds of our own around the parser.
struct HTTPConnection: ServerChildChannel {
    typealias Value = HTTP1Channel.Value

    let http: HTTP1Channel
    let routes: PlainRoutes
    let certificate: TLSCertificateWatch?
    let handshakeTimeout: TimeAmount

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        channel.eventLoop.makeCompletedFuture {
            let pipeline = channel.pipeline.syncOperations
            if let certificate {
                try pipeline.addHandler(NIOSSLServerHandler(context: certificate.context))
            }
            try pipeline.addHandler(
                ArrivingBytesHandler(handshakeTimeout: certificate == nil ? nil : handshakeTimeout)
            )
        }.flatMap {
            http.setup(channel: channel, logger: logger)
        }.flatMapThrowing { value in
            let pipeline = channel.pipeline.syncOperations
            let codec = try pipeline.context(handlerType: HTTP1ToHTTPServerCodec.self)
            try pipeline.addHandler(RequestHeadHandler(), position: .before(codec.handler))
            let states = try pipeline.context(handlerType: HTTPConnectionStateHandler.self)
            let calls = BriefCallHandler(routes: routes, eventLoop: channel.eventLoop)
            try pipeline.addHandler(calls, position: .after(states.handler))
            return value
        }
    }

    func handle(value: Value, logger: Logger) async {
        await http.handle(value: value, logger: logger)
    }
}
