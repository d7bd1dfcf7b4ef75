import HTTPTypes
import Hummingbird
import NIOCore
import NIOHTTP1
import NIOHTTPTypesHTTP1

/// A request as it comes from a connection: nothing is known of its caller yet.
struct ArrivedRequest {
    enum Body {
        case whole(ByteBuffer)
        case arriving(RequestBody)
    }

    let method: HTTPRequest.Method
    /// As sent, still percent-encoded, without the query.
    let path: String
    /// As sent, still percent-encoded.
    let queryString: String
    let headers: HTTPFields
    let body: Body
    /// What the path has in the places of the operation's parameters.
    let parameters: Parameters
    let peer: SocketAddress?

    init(_ request: Request, parameters: Parameters, peer: SocketAddress?) {
        method = request.method
        path = request.uri.path
        queryString = request.uri.query ?? ""
        headers = request.headers
        body = .arriving(request.body)
        self.parameters = parameters
        self.peer = peer
    }

    /// A small one.
    init(
        _ head: HTTPRequestHead,
        _ body: ByteBuffer,
        of operation: Operation,
        parameters: Parameters,
        peer: SocketAddress?
    ) {
        method = operation.method
        path = parameters.isEmpty ? operation.path : String(head.uri.pathPart)
        queryString = String(Substring(head.uri.utf8.dropFirst(path.utf8.count + 1).prefix { $0 != UInt8(ascii: "#") }))
        headers = HTTPFields(head.headers, splitCookie: false)
        self.body = .whole(body)
        self.parameters = parameters
        self.peer = peer
    }
}

extension String {
    /// Of a request's target: what stands before the query.
    var pathPart: Substring { self[..<(utf8.firstIndex(of: UInt8(ascii: "?")) ?? endIndex)] }
}
