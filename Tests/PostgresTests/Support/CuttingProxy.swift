import Foundation
import Synchronization

/// A TCP proxy in front of PostgreSQL that counts round trips and cuts the line at a chosen message.
///
/// `@unchecked Sendable`: everything that changes is in `state`.
final class CuttingProxy: @unchecked Sendable {
    enum Cut {
        /// The message that contains the marker never arrives.
        case before
        /// The message arrives and is answered, and the answer is lost.
        case afterAnswer
    }

    private struct State {
        var marker: [UInt8]?
        var cut = Cut.before
        /// The marker has gone by: the next answer is the answer to it.
        var isAnswerNext = false
        /// No connection is made any more once the line was cut.
        var isForGood = false
        /// New connections are taken, and nobody says anything on them.
        var isSilent = false
        var syncs = 0
        var sockets: [Int32] = []
    }

    private let state = Mutex(State())
    private let listening: Int32
    private let targetPort: UInt16
    let port: UInt16

    init(targetPort: UInt16) {
        self.targetPort = targetPort
        listening = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = Self.loopback(0)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let listening = self.listening
        withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                _ = bind(listening, generic, length)
                _ = listen(listening, 16)
                _ = getsockname(listening, generic, &length)
            }
        }
        port = UInt16(bigEndian: address.sin_port)
        Thread.detachNewThread { self.accept() }
    }

    /// Sync messages seen so far: one per round trip.
    var syncs: Int { state.withLock { $0.syncs } }

    /// Cuts the line once, at the next message that contains `marker`; `forGood` refuses every later connection.
    func cut(_ cut: Cut, at marker: String, forGood: Bool = false) {
        state.withLock { state in
            state.isForGood = forGood
            state.marker = Array(marker.utf8)
            state.cut = cut
        }
    }

    /// Whether new connections get no answer, like those to a server whose processes are stopped.
    func saysNothing(_ isSilent: Bool) {
        state.withLock { $0.isSilent = isSilent }
    }

    func close() {
        let sockets = state.withLock { $0.sockets }
        for descriptor in sockets + [listening] {
            shutdown(descriptor, Int32(SHUT_RDWR))
        }
    }

    private static func loopback(_ port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return address
    }

    private func accept() {
        while true {
            let client = Glibc.accept(listening, nil, nil)
            guard client >= 0 else { return }
            guard state.withLock({ !$0.isForGood || $0.marker != nil }) else {
                Foundation.close(client)
                continue
            }
            let isSilent = state.withLock { state in
                if state.isSilent { state.sockets.append(client) }
                return state.isSilent
            }
            if isSilent { continue }
            let server = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            var address = Self.loopback(targetPort)
            let code = withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                    connect(server, generic, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            guard code == 0 else {
                Foundation.close(client)
                continue
            }
            state.withLock { $0.sockets += [client, server] }
            Thread.detachNewThread { self.forwardRequests(from: client, to: server) }
            Thread.detachNewThread { self.forwardAnswers(from: server, to: client) }
        }
    }

    private func forwardRequests(from client: Int32, to server: Int32) {
        var isStartup = true
        while let message = Self.message(from: client, isTyped: !isStartup) {
            isStartup = false
            let cut = state.withLock { state -> Cut? in
                if message.first == UInt8(ascii: "S") { state.syncs += 1 }
                guard let marker = state.marker, Self.contains(message, marker) else { return nil }
                state.marker = nil
                state.isAnswerNext = state.cut == .afterAnswer
                return state.cut
            }
            guard cut != .before else { break }
            guard Self.send(message, to: server) else { break }
        }
        shutdown(client, Int32(SHUT_RDWR))
        shutdown(server, Int32(SHUT_WR))
    }

    private func forwardAnswers(from server: Int32, to client: Int32) {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = read(server, &buffer, buffer.count)
            guard count > 0 else { break }
            let isSwallowed = state.withLock { state in
                defer { state.isAnswerNext = false }
                return state.isAnswerNext
            }
            if isSwallowed { break }
            guard Self.send(Array(buffer[..<count]), to: client) else { break }
        }
        shutdown(client, Int32(SHUT_RDWR))
        shutdown(server, Int32(SHUT_RDWR))
    }

    private static func message(from socket: Int32, isTyped: Bool) -> [UInt8]? {
        let header = isTyped ? 5 : 4
        guard var message = exactly(header, from: socket) else { return nil }
        let length = message.suffix(4).reduce(0) { $0 << 8 | Int($1) }
        guard let rest = exactly(length - 4, from: socket) else { return nil }
        message += rest
        return message
    }

    private static func exactly(_ count: Int, from socket: Int32) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        var offset = 0
        while offset < count {
            let received = bytes.withUnsafeMutableBytes { buffer in
                buffer.baseAddress.map { read(socket, $0 + offset, count - offset) } ?? 0
            }
            guard received > 0 else { return nil }
            offset += received
        }
        return bytes
    }

    private static func send(_ bytes: [UInt8], to socket: Int32) -> Bool {
        var offset = 0
        while offset < bytes.count {
            let sent = bytes.withUnsafeBytes { buffer in
                buffer.baseAddress.map {
                    Foundation.send(socket, $0 + offset, bytes.count - offset, Int32(MSG_NOSIGNAL))
                } ?? 0
            }
            guard sent > 0 else { return false }
            offset += sent
        }
        return true
    }

    private static func contains(_ bytes: [UInt8], _ marker: [UInt8]) -> Bool {
        guard bytes.count >= marker.count else { return false }
        return (0...bytes.count - marker.count).contains { bytes[$0..<$0 + marker.count].elementsEqual(marker) }
    }
}
