import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import NIOHTTPTypesHTTP1
import NIOSSL

/// One accepted connection: TLS where it is on, HTTP/1.1 with the checks and bounds of our own around the parser.
struct HTTPConnection: ServerChildChannel {
    typealias Value = HTTP1Channel.Value

    /// Answers what `BriefCallHandler` passes on.
    let http: HTTP1Channel
    let routes: PlainRoutes
    let securityHeaders: SecurityHeaders
    let bodyLimitBytes: Int
    let unanswered: UnansweredRequests
    /// Counts what is refused before it gets to an operation.
    let unrouted: OperationMetrics
    let configuration: HTTPServer.Configuration

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        channel.eventLoop.makeCompletedFuture {
            let pipeline = channel.pipeline.syncOperations
            let certificate = configuration.certificate
            if let certificate {
                try pipeline.addHandler(NIOSSLServerHandler(context: certificate.context))
            }
            try pipeline.addHandler(
                ArrivingBytesHandler(handshakeTimeout: certificate == nil ? nil : readTimeout)
            )
            try addHTTP(to: pipeline, channel)
            return try NIOAsyncChannel(
                wrappingChannelSynchronously: channel,
                configuration: .init(isOutboundHalfClosureEnabled: true)
            )
        }
    }

    private func addHTTP(to pipeline: ChannelPipeline.SynchronousOperations, _ channel: any Channel) throws {
        var limits = NIOHTTPDecoderLimitConfiguration()
        limits.maxHeaderFieldSize = configuration.headerBytes
        limits.maxHeaderListSize = configuration.headerBytes
        limits.maxHeaderFieldCount = configuration.headerCount
        try pipeline.configureHTTPServerPipeline(
            withPipeliningAssistance: false,
            withErrorHandling: false,
            // The types of fields validate what is sent.
            withOutboundHeaderValidation: false,
            withEncoderConfiguration: .init(),
            withDecoderLimitConfiguration: limits
        )
        let requests = RequestArrivalHandler(
            RequestArrivalHandler.Bounds(
                arrival: readTimeout,
                idle: .seconds(Int64(configuration.idleTimeoutSeconds)),
                continueUpToBytes: bodyLimitBytes
            ),
            securityHeaders: securityHeaders,
            encoder: try pipeline.context(handlerType: HTTPResponseEncoder.self),
            unanswered: unanswered,
            unrouted: unrouted
        )
        try pipeline.addHandlers([
            requests,
            BriefCallHandler(routes: routes, answers: requests, eventLoop: channel.eventLoop),
            HTTP1ToHTTPServerCodec(secure: false),
            StalledReaderHandler(timeout: .seconds(Int64(configuration.writeTimeoutSeconds))),
        ])
    }

    private var readTimeout: TimeAmount { .seconds(Int64(configuration.readTimeoutSeconds)) }

    func handle(value: Value, logger: Logger) async {
        await http.handle(value: value, logger: logger)
    }
}
