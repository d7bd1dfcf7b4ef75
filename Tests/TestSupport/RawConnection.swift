import Foundation

/// A TCP connection that says exactly what it is told, for what no HTTP client would send. The calls block.
package final class RawConnection {
    private let descriptor: Int32
    /// Whether the other side has closed, as the last `receive` saw it.
    package private(set) var isClosed = false

    package struct Failure: Error {}

    /// - Parameter receiveBufferBytes: how much the system keeps of what is not received; nil leaves it to the system.
    package init(port: Int, timeoutSeconds: Int = 60, receiveBufferBytes: Int32? = nil) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        if var bytes = receiveBufferBytes {
            setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &bytes, socklen_t(MemoryLayout<Int32>.size))
        }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let code = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                connect(descriptor, generic, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        var timeout = timeval(tv_sec: timeoutSeconds, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        guard code == 0 else { throw Failure() }
    }

    deinit {
        close(descriptor)
    }

    package func send(_ text: String) throws { try send(Array(text.utf8)) }

    package func send(_ bytes: [UInt8]) throws {
        guard Foundation.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else {
            throw Failure()
        }
    }

    /// Sends as much as the system takes at once, and says how much that was.
    package func sendWithoutWaiting(_ text: String) throws -> Int {
        let bytes = Array(text.utf8)
        let count = Foundation.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
        guard count >= 0 || errno == EAGAIN else { throw Failure() }
        return max(0, count)
    }

    /// Says that nothing more will be sent; answers can still come.
    package func endSending() {
        shutdown(descriptor, Int32(SHUT_WR))
    }

    /// What arrives until the text contains `end`, the other side closes, or the time is up.
    package func receive(until end: String? = nil) -> String {
        let (text, isClosed) = Self.receive(descriptor, until: end)
        self.isClosed = isClosed
        return text
    }

    /// The same without blocking the threads that the server under test itself runs on.
    package func answer(until end: String? = nil) async -> String {
        let descriptor = descriptor
        let (text, isClosed) = await withCheckedContinuation { continuation in
            Thread.detachNewThread { continuation.resume(returning: Self.receive(descriptor, until: end)) }
        }
        self.isClosed = isClosed
        return text
    }

    private static func receive(_ descriptor: Int32, until end: String?) -> (text: String, isClosed: Bool) {
        var received: [UInt8] = []
        var isClosed = false
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = recv(descriptor, &chunk, chunk.count, 0)
            isClosed = count == 0 || (count < 0 && errno == ECONNRESET)
            guard count > 0 else { break }
            received += chunk.prefix(count)
            if let end, String(decoding: received, as: UTF8.self).contains(end) { break }
        }
        return (String(decoding: received, as: UTF8.self), isClosed)
    }
}
