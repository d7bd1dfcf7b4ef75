import NIOCore
import NIOHTTP1
import NIOPosix
import Web

/// Speaks HTTP to the service that runs beside it, so that the demo takes the path that any client takes. One
/// connection a request.
struct DemoClient: Sendable {
    let host: String
    let port: Int
    let key: String

    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    private struct Response {
        var status = 0
        var body = ByteBuffer()
    }

    private static let bodyLimitBytes = 1 << 20

    /// What is at the path; nil where nothing is.
    func get(_ path: String) async throws -> JSONValue? {
        let response = try await send(.GET, path)
        return response.status == 404 ? nil : try json(response, of: "GET \(path)")
    }

    @discardableResult
    func post(_ path: String, _ body: String = "") async throws -> JSONValue {
        try json(await send(.POST, path, body), of: "POST \(path)")
    }

    /// Whether the service knows the key, whatever it may do.
    func isKnown() async throws -> Bool {
        try await send(.GET, "/api/v1/api-keys?limit=1").status != 401
    }

    private func send(_ method: HTTPMethod, _ path: String, _ body: String = "") async throws -> Response {
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(host: host, port: port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHTTPClientHandlers()
                    return try NIOAsyncChannel<HTTPClientResponsePart, HTTPClientRequestPart>(
                        wrappingChannelSynchronously: channel
                    )
                }
            }
        return try await channel.executeThenClose { inbound, outbound in
            // At once: without a body the head is all that the service needs to answer and close.
            try await outbound.write(
                contentsOf: [
                    .head(head(method, path, bodyBytes: body.utf8.count)),
                    .body(.byteBuffer(ByteBuffer(string: body))), .end(nil),
                ]
            )
            var response = Response()
            for try await part in inbound {
                switch part {
                case .head(let head):
                    response.status = Int(head.status.code)
                case .body(var bytes):
                    guard response.body.readableBytes + bytes.readableBytes <= Self.bodyLimitBytes else {
                        throw Failure(description: "the answer to \(method) \(path) is too long")
                    }
                    response.body.writeBuffer(&bytes)
                case .end:
                    return response
                }
            }
            throw Failure(description: "no answer to \(method) \(path)")
        }
    }

    private func head(_ method: HTTPMethod, _ path: String, bodyBytes: Int) -> HTTPRequestHead {
        var headers = HTTPHeaders([("Host", "\(host):\(port)"), ("Authorization", "Bearer \(key)")])
        headers.add(name: "Connection", value: "close")
        if method != .GET { headers.add(name: "Content-Length", value: String(bodyBytes)) }
        if bodyBytes > 0 { headers.add(name: "Content-Type", value: "application/json") }
        return HTTPRequestHead(version: .http1_1, method: method, uri: path, headers: headers)
    }

    private func json(_ response: Response, of request: String) throws -> JSONValue {
        let text = String(buffer: response.body)
        guard (200..<300).contains(response.status) else {
            throw Failure(description: "\(request) was answered with \(response.status): \(text)")
        }
        return text.isEmpty ? .null : try JSONValue(parsing: text)
    }
}
