import HTTPTypes
import NIOCore

extension Answer {
    /// An answer of one piece as it is sent (RFC 9112).
    /// - Parameter endsConnection: whether the client is told that nothing more is read.
    func bytes(endsConnection: Bool) -> ByteBuffer {
        let mayHaveBody = status != .noContent && status != .notModified
        var bytes = ByteBuffer()
        bytes.reserveCapacity(1_024 + body.readableBytes)
        if status == .ok {
            bytes.writeStaticString("HTTP/1.1 200 OK\r\n")
        } else {
            bytes.writeString("HTTP/1.1 \(status.code) \(status.reasonPhrase)\r\n")
        }
        for field in headers { bytes.writeField(field.name.rawName, field.value) }
        if mayHaveBody { bytes.writeField("Content-Length", String(body.readableBytes)) }
        bytes.writeField("Date", HTTPDate.now)
        if endsConnection { bytes.writeField("Connection", "close") }
        bytes.writeStaticString("\r\n")
        if mayHaveBody { bytes.writeImmutableBuffer(body) }
        return bytes
    }
}

extension ByteBuffer {
    fileprivate mutating func writeField(_ name: String, _ value: String) {
        writeString(name)
        writeStaticString(": ")
        writeString(value)
        writeStaticString("\r\n")
    }
}
