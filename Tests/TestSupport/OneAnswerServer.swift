import Foundation
import Synchronization

/// Listens on a loopback port and gives every connection the same answer, whatever it asks; for what no real server
/// would say. A short answer leaves the connection open.
package final class OneAnswerServer: Sendable {
    package let port: Int
    private let descriptor: Int32
    private let answer: Mutex<String>
    private let received = Mutex("")
    private let count = Mutex(0)

    package init(answer: String) throws {
        let listening = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let code = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                let bound = bind(listening, generic, length)
                return bound == 0 ? getsockname(listening, generic, &length) : bound
            }
        }
        guard code == 0, listen(listening, 16) == 0 else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
        port = Int(UInt16(bigEndian: address.sin_port))
        self.answer = Mutex(answer)
        descriptor = listening
        Thread.detachNewThread { self.serve(listening) }
    }

    /// What the last connection has sent.
    package var request: String { received.withLock { $0 } }
    /// How many connections there were.
    package var connections: Int { count.withLock { $0 } }

    package func set(answer: String) {
        self.answer.withLock { $0 = answer }
    }

    /// Answers with this body from now on, as JSON.
    package func set(json: String) {
        set(
            answer: "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: \(json.utf8.count)\r\n\r\n"
                + json
        )
    }

    package func stop() {
        shutdown(descriptor, Int32(SHUT_RDWR))
        close(descriptor)
    }

    private func serve(_ listening: Int32) {
        while true {
            let connection = accept(listening, nil, nil)
            guard connection >= 0 else { return }
            var chunk = [UInt8](repeating: 0, count: 65_536)
            let length = recv(connection, &chunk, chunk.count, 0)
            received.withLock { $0 = String(decoding: chunk.prefix(max(0, length)), as: UTF8.self) }
            count.withLock { $0 += 1 }
            let bytes = Array(answer.withLock { $0 }.utf8)
            _ = send(connection, bytes, bytes.count, Int32(MSG_NOSIGNAL))
            // Until the client has had enough.
            while recv(connection, &chunk, chunk.count, 0) > 0 {}
            close(connection)
        }
    }
}
