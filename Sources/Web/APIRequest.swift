package import BillingCore
package import HTTPTypes
import Hummingbird
package import NIOCore

/// A request as a handler sees it: routed, authenticated, its body read up to the operation's limit.
package struct APIRequest: Sendable {
    package let method: HTTPRequest.Method
    /// As sent, still percent-encoded, without the query.
    package let path: String
    /// As sent, still percent-encoded.
    package let queryString: String
    package let headers: HTTPFields
    package let body: ByteBuffer
    let parameters: Parameters
    let operationID: String

    init(_ request: ArrivedRequest, body: ByteBuffer, for operation: Operation) {
        method = request.method
        path = request.path
        queryString = request.queryString
        headers = request.headers
        self.body = body
        parameters = request.parameters
        operationID = operation.id
    }

    /// The value of `{name}` in the operation's path. What cannot be a key or an id (broken percent-encoding, a
    /// control character) is answered like what does not exist.
    package func parameter(_ name: String) throws(Problem) -> String {
        guard let encoded = parameters.get(name), let text = PercentEncoding.decoded(encoded, plusIsSpace: false),
            !text.unicodeScalars.contains(where: { $0.value < 0x20 || $0.value == 0x7F })
        else {
            throw .routeNotFound(path)
        }
        return text
    }

    /// The id of a resource in the operation's path. A text that is no id names nothing there is.
    package func id<ID: UUIDIdentifier>(_ type: ID.Type, of resource: String) throws(Problem) -> ID {
        let text = try parameter("id")
        guard let id = ID(text) else { throw .notFound(resource, text) }
        return id
    }

    /// The media type of the body, lower case and without parameters; nil when none is given.
    package var mediaType: String? {
        headers[.contentType].map { field in
            String(field.prefix { $0 != ";" }[...].trimmingSpaces()).lowercased()
        }
    }

    package func header(_ name: String) -> String? {
        HTTPField.Name(name).flatMap { headers[$0] }
    }

    package var ifMatch: IfMatch {
        IfMatch(fieldValue: headers[.ifMatch])
    }

    /// Reads the query. Every parameter must be read before `finish()`, which rejects the ones nobody asked for.
    package func query() -> QueryReader {
        QueryReader(queryString, operationID: operationID)
    }

    /// The body as JSON; throws the 400 of malformed JSON.
    package func json() throws -> JSONValue {
        try body.withUnsafeReadableBytes { try JSONValue(parsing: $0) }
    }

    /// Gives the body's bytes to `read`.
    package func withBody<R>(_ read: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
        try body.withUnsafeReadableBytes(read)
    }

    /// The body's members. With `emptyIsObject` a request without a body counts as `{}`, for operations whose
    /// every field may be left out.
    package func fields(emptyIsObject: Bool = false) throws -> JSONObjectReader {
        if emptyIsObject, body.readableBytes == 0 {
            return JSONObjectReader(.object([]))
        }
        return JSONObjectReader(try json())
    }
}

package enum PercentEncoding {
    /// A value of a query: everything but the unreserved characters of RFC 3986 is escaped.
    package static func encoded(_ text: String) -> String {
        var encoded = ""
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "a")...UInt8(ascii: "z"):
                encoded.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                if "-._~".utf8.contains(byte) {
                    encoded.unicodeScalars.append(Unicode.Scalar(byte))
                } else {
                    let hex = String(byte, radix: 16, uppercase: true)
                    encoded += hex.count == 1 ? "%0\(hex)" : "%\(hex)"
                }
            }
        }
        return encoded
    }

    /// Nil when an escape is broken or the bytes are not UTF-8.
    package static func decoded(_ text: some StringProtocol, plusIsSpace: Bool) -> String? {
        guard text.utf8.contains(where: { $0 == UInt8(ascii: "%") || $0 == UInt8(ascii: "+") }) else {
            return String(text)
        }
        var bytes: [UInt8] = []
        var iterator = text.utf8.makeIterator()
        while let byte = iterator.next() {
            switch byte {
            case UInt8(ascii: "%"):
                guard let high = iterator.next().flatMap(nibble), let low = iterator.next().flatMap(nibble) else {
                    return nil
                }
                bytes.append(high << 4 | low)
            case UInt8(ascii: "+") where plusIsSpace:
                bytes.append(UInt8(ascii: " "))
            default:
                bytes.append(byte)
            }
        }
        return String(validating: bytes, as: UTF8.self)
    }

    private static func nibble(_ digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
