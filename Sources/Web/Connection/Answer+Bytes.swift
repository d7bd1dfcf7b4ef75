import HTTPTypes
import NIOCore
import NIOHTTP1

extension Answer {
    /// An answer of one piece as it is sent (RFC 9112).
    /// - Parameter endsConnection: whether the client is told that nothing more is read.
    func bytes(endsConnection: Bool) -> ByteBuffer {
        let mayHaveBody = status != .noContent && status != .notModified
        var own: [(name: String, value: String)] = [("Date", HTTPDate.now)]
        if mayHaveBody { own.append(("Content-Length", String(body.readableBytes))) }
        if endsConnection { own.append(("Connection", "close")) }
        let line = status == .ok ? "HTTP/1.1 200 OK" : Self.line(of: status)
        let fields = headers.map { (name: $0.name.rawName, value: $0.value) } + own
        let length = fields.reduce(line.utf8.count + 4) { $0 + $1.name.utf8.count + $1.value.utf8.count + 4 }
        var bytes = ByteBuffer()
        bytes.reserveCapacity(length + body.readableBytes)
        bytes.writeWithUnsafeMutableBytes(minimumWritableBytes: length) { memory in
            var head = HeadBytes(memory)
            head.put(line)
            head.put("\r\n")
            for (name, value) in fields {
                head.put(name)
                head.put(": ")
                head.put(value)
                head.put("\r\n")
            }
            head.put("\r\n")
            return head.count
        }
        if mayHaveBody { bytes.writeImmutableBuffer(body) }
        return bytes
    }

    /// With the phrase that the encoder of parts writes.
    private static func line(of status: HTTPResponse.Status) -> String {
        let known = HTTPResponseStatus(statusCode: status.code, reasonPhrase: status.reasonPhrase)
        return "HTTP/1.1 \(known.code) \(known.reasonPhrase)"
    }
}

/// Memory that texts are put into, one behind the other; it has room for all of them.
private struct HeadBytes {
    private let memory: UnsafeMutableRawBufferPointer
    private(set) var count = 0

    init(_ memory: UnsafeMutableRawBufferPointer) {
        self.memory = memory
    }

    mutating func put(_ text: String) {
        var text = text
        text.withUTF8 { utf8 in
            UnsafeMutableRawBufferPointer(rebasing: memory[count...]).copyMemory(from: UnsafeRawBufferPointer(utf8))
            count += utf8.count
        }
    }
}
