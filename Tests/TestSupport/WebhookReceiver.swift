import Dispatch
import Foundation
import Synchronization

/// Receives webhooks on a loopback port, keeps what comes, and answers as the test says.
package final class WebhookReceiver: Sendable {
    package struct Delivery: Sendable {
        /// By lower-case name.
        package let headers: [String: String]
        package var body: String
        /// What follows the host in the URL that was called.
        package let path: String

        package var id: String { headers["webhook-id"] ?? "" }
    }

    package struct Reply: Sendable {
        package var status = 200
        package var headers = ""
        package var body = "thanks"
        package var delaySeconds = 0.0
        /// Closes the connection and answers nothing.
        package static let cut = Reply(0)

        package init(_ status: Int = 200, headers: String = "", body: String = "thanks", delaySeconds: Double = 0) {
            self.status = status
            self.headers = headers
            self.body = body
            self.delaySeconds = delaySeconds
        }
    }

    private struct State {
        var received: [Delivery] = []
        var atOnce = 0
        var mostAtOnce = 0
    }

    /// Nobody signals it: waiting for it takes the time that an answer is to take.
    private static let pause = DispatchSemaphore(value: 0)

    package let port: Int
    private let descriptor: Int32
    private let reply: @Sendable (Delivery) -> Reply
    private let state = Mutex(State())

    /// - Parameter reply: what is answered; it runs on a thread of its own.
    package init(_ reply: @escaping @Sendable (Delivery) -> Reply = { _ in Reply() }) throws {
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
        guard code == 0, listen(listening, 128) == 0 else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
        port = Int(UInt16(bigEndian: address.sin_port))
        descriptor = listening
        self.reply = reply
        Thread.detachNewThread { self.serve(listening) }
    }

    package var url: String { "http://127.0.0.1:\(port)/hook" }
    package var received: [Delivery] { state.withLock { $0.received } }
    /// How many requests it has had under way together at most.
    package var mostAtOnce: Int { state.withLock { $0.mostAtOnce } }

    package func stop() {
        shutdown(descriptor, Int32(SHUT_RDWR))
        close(descriptor)
    }

    private func serve(_ listening: Int32) {
        while true {
            let connection = accept(listening, nil, nil)
            guard connection >= 0 else { return }
            Thread.detachNewThread {
                self.answer(connection)
                close(connection)
            }
        }
    }

    private func answer(_ connection: Int32) {
        guard let delivery = Self.read(connection) else { return }
        state.withLock { state in
            state.received.append(delivery)
            state.atOnce += 1
            state.mostAtOnce = max(state.mostAtOnce, state.atOnce)
        }
        let reply = reply(delivery)
        _ = Self.pause.wait(timeout: .now() + reply.delaySeconds)
        state.withLock { $0.atOnce -= 1 }
        guard reply.status != Reply.cut.status else { return }
        let text =
            "HTTP/1.1 \(reply.status) Said\r\nContent-Length: \(reply.body.utf8.count)\r\n\(reply.headers)\r\n"
            + reply.body
        let bytes = Array(text.utf8)
        _ = send(connection, bytes, bytes.count, Int32(MSG_NOSIGNAL))
        shutdown(connection, Int32(SHUT_WR))
        var chunk = [UInt8](repeating: 0, count: 1_024)
        while recv(connection, &chunk, chunk.count, 0) > 0 {}
    }

    /// Nil when the connection ends before the request does.
    private static func read(_ connection: Int32) -> Delivery? {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let length = recv(connection, &chunk, chunk.count, 0)
            guard length > 0 else { return nil }
            bytes.append(contentsOf: chunk.prefix(length))
            let text = String(decoding: bytes, as: UTF8.self)
            guard let end = text.range(of: "\r\n\r\n") else { continue }
            var headers: [String: String] = [:]
            let path = text.split(separator: " ", maxSplits: 2).dropFirst().first.map { String($0) } ?? ""
            for line in text[..<end.lowerBound].split(separator: "\r\n").dropFirst() {
                let parts = line.split(separator: ":", maxSplits: 1)
                guard parts.count == 2 else { continue }
                headers[parts[0].lowercased()] = parts[1].trimmingCharacters(in: .whitespaces)
            }
            let body = text[end.upperBound...]
            if body.utf8.count >= Int(headers["content-length"] ?? "0") ?? 0 {
                return Delivery(headers: headers, body: String(body), path: path)
            }
        }
    }
}
