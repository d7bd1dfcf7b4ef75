import CEpoll
import Foundation

/// One blocking HTTP/1.1 connection on loopback. The load generator must cost as little as possible, because it shares
/// the machine with what it measures: requests are prepared bytes, and an answer is read no further than needed.
final class LoadConnection {
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    private static let endOfHead = Array("\r\n\r\n".utf8)
    private static let lengthName = Array("\r\ncontent-length: ".utf8)

    let descriptor: Int32
    private var buffer = [UInt8](repeating: 0, count: 65_536)
    /// How much of it the answer that is being read has.
    private var filled = 0
    /// Where `Content-Length` stood in the answer before: heads are alike.
    private var lengthOffset = 0

    init(port: Int) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var yes: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &yes, socklen_t(MemoryLayout<Int32>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let connected = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard connected == 0 else { throw Failure(description: "cannot connect to port \(port): errno \(errno)") }
    }

    deinit {
        close(descriptor)
    }

    /// Sends a whole request and reads its whole answer.
    func exchange(_ request: [UInt8]) throws -> (status: Int, body: ArraySlice<UInt8>) {
        try send(request)
        while true {
            if let answer = try receive() { return answer }
        }
    }

    /// Sends a whole request.
    func send(_ request: [UInt8]) throws {
        filled = 0
        try request.withUnsafeBytes { bytes in
            var sent = 0
            while sent < bytes.count {
                let rest = bytes.baseAddress?.advanced(by: sent)
                let count = Foundation.send(descriptor, rest, bytes.count - sent, Int32(MSG_NOSIGNAL))
                guard count > 0 else { throw Failure(description: "send failed: errno \(errno)") }
                sent += count
            }
        }
    }

    /// Reads what there is of the answer, and waits where there is nothing.
    /// - Returns: nil where more of it is to come.
    func receive() throws -> (status: Int, body: ArraySlice<UInt8>)? {
        if filled == buffer.count { buffer += [UInt8](repeating: 0, count: buffer.count) }
        let count = buffer.withUnsafeMutableBytes { bytes in
            recv(descriptor, bytes.baseAddress?.advanced(by: filled), bytes.count - filled, 0)
        }
        guard count > 0 else { throw Failure(description: "the service closed a connection") }
        filled += count
        return complete()
    }

    /// The status and body of an answer that is there as a whole. Its length must be given.
    private func complete() -> (status: Int, body: ArraySlice<UInt8>)? {
        let answer = buffer[..<filled]
        guard filled > 12, let end = answer.offset(of: Self.endOfHead, from: 0) else { return nil }
        let length = lengthDigits(before: end).map { number(at: $0) } ?? 0
        let body = answer[(end + Self.endOfHead.count)...]
        return body.count >= length ? (number(at: 9), body) : nil
    }

    /// Where the body's length stands in the head.
    private func lengthDigits(before end: Int) -> Int? {
        if !isLength(at: lengthOffset, before: end) {
            guard let offset = (0..<end).first(where: { isLength(at: $0, before: end) }) else { return nil }
            lengthOffset = offset
        }
        return lengthOffset + Self.lengthName.count
    }

    /// Whether `Content-Length` stands there, whatever the case of its letters.
    private func isLength(at offset: Int, before end: Int) -> Bool {
        guard offset + Self.lengthName.count <= end else { return false }
        return zip(buffer[offset..<end], Self.lengthName).allSatisfy { byte, wanted in
            let isUpperCase = byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z")
            return (isUpperCase ? byte | 0x20 : byte) == wanted
        }
    }

    private func number(at start: Int) -> Int {
        var value = 0
        for byte in buffer[start..<filled] {
            guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { break }
            value = value * 10 + Int(byte - UInt8(ascii: "0"))
        }
        return value
    }
}

extension ArraySlice<UInt8> {
    /// Where a text stands, from a place on; nil where it doesn't.
    func offset(of text: [UInt8], from start: Int) -> Int? {
        withUnsafeBytes { bytes in
            let passed = start - startIndex
            guard let base = bytes.baseAddress,
                let found = memmem(base + passed, bytes.count - passed, text, text.count)
            else { return nil }
            return startIndex + base.distance(to: UnsafeRawPointer(found))
        }
    }

    /// How often a text stands in it.
    func occurrences(of text: [UInt8]) -> Int {
        var occurrences = 0
        var start = startIndex
        while let found = offset(of: text, from: start) {
            occurrences += 1
            start = found + text.count
        }
        return occurrences
    }
}
