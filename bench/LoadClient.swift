import Foundation

/// One blocking HTTP/1.1 connection on loopback. The load generator must cost as little as possible, because it shares
/// the machine with what it measures: requests are prepared bytes, and an answer is read no further than needed.
final class LoadConnection {
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    let descriptor: Int32
    private var buffer = [UInt8](repeating: 0, count: 65_536)
    /// How much of it the answer that is being read has.
    private var filled = 0

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
                let count = Foundation.send(descriptor, bytes.baseAddress?.advanced(by: sent), bytes.count - sent, 0)
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
        guard count > 0 else { throw Failure(description: "connection closed in an answer") }
        filled += count
        return Self.complete(buffer[..<filled])
    }

    /// The status and body of an answer that is there as a whole. Its length must be given.
    private static func complete(_ answer: ArraySlice<UInt8>) -> (status: Int, body: ArraySlice<UInt8>)? {
        guard answer.count > 12, let end = offset(of: "\r\n\r\n", in: answer) else { return nil }
        let head = answer[..<end]
        let status = number(in: head, from: 9)
        let length = offset(of: "\r\ncontent-length: ", in: head).map { number(in: head, from: $0 + 18) } ?? 0
        let body = answer[(end + 4)...]
        return body.count >= length ? (status, body) : nil
    }

    private static func number(in bytes: ArraySlice<UInt8>, from start: Int) -> Int {
        var value = 0
        for byte in bytes[start...] {
            guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { break }
            value = value * 10 + Int(byte - UInt8(ascii: "0"))
        }
        return value
    }

    /// Where a text in lower case stands, whatever the case of the bytes.
    private static func offset(of text: StaticString, in bytes: ArraySlice<UInt8>) -> Int? {
        text.withUTF8Buffer { wanted in
            guard bytes.count >= wanted.count else { return nil }
            return (bytes.startIndex...(bytes.endIndex - wanted.count)).first { start in
                wanted.indices.allSatisfy { index in
                    let byte = bytes[start + index]
                    let isUpperCase = byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z")
                    return (isUpperCase ? byte | 0x20 : byte) == wanted[index]
                }
            }
        }
    }
}

/// What a closed-loop run measured.
struct LoadResult {
    var requests = 0
    var failures: [String: Int] = [:]
    var latenciesMicroseconds: [Int] = []
    var seconds = 0.0

    func latency(percentile: Double) -> Int {
        let sorted = latenciesMicroseconds.sorted()
        guard !sorted.isEmpty else { return 0 }
        return sorted[min(sorted.count - 1, Int(Double(sorted.count) * percentile / 100))]
    }
}

/// Drives connections from one thread, as a gateway's event loop does: a thread each would cost the machine a switch
/// for every answer.
enum Load {
    /// How an answer ends when every event was plainly accepted.
    static let noProblems = Array(#""problems":[]}"#.utf8)
    /// How one ends when a call was admitted.
    static let admitted = Array(#""warnings":[]}"#.utf8)
    /// How one ends when the last call of an array was.
    static let lastAdmitted = Array(#""warnings":[]}]}"#.utf8)

    /// - Parameters:
    ///   - perSecond: how many requests are offered in a second, whatever the answers; nil sends the next as soon as
    ///     the last is answered. What comes late because others were slow counts from when it was due.
    ///   - ending: how an answer ends that counts; others are failures.
    /// - Throws: when a connection is lost or an answer does not come: then there is nothing to publish.
    static func run(
        connections: Int,
        seconds: Double,
        port: Int,
        perSecond: Double? = nil,
        ending: [UInt8] = noProblems,
        request: (_ connection: Int, _ sequence: Int) -> [UInt8]
    ) throws -> LoadResult {
        var callers = try (0..<connections).map { _ in Caller(connection: try LoadConnection(port: port)) }
        let start = DispatchTime.now().uptimeNanoseconds
        let deadline = start + UInt64(seconds * 1e9)
        let pace = perSecond.map { UInt64(Double(connections) / $0 * 1e9) }
        for number in callers.indices {
            callers[number].due = start + (pace ?? 0) * UInt64(number) / UInt64(connections)
        }
        var result = LoadResult()
        while true {
            let now = DispatchTime.now().uptimeNanoseconds
            guard now < deadline || callers.contains(where: \.isWaiting) else { break }
            guard now < deadline + longestWait else { throw LoadConnection.Failure(description: "no answer came") }
            var next = now + longestWait
            for number in callers.indices where !callers[number].isWaiting && now < deadline {
                if callers[number].due <= now {
                    let bytes = request(number, callers[number].sequence)
                    callers[number].since = pace == nil ? DispatchTime.now().uptimeNanoseconds : callers[number].due
                    callers[number].isWaiting = true
                    try callers[number].connection.send(bytes)
                } else {
                    next = min(next, callers[number].due)
                }
            }
            let sent = DispatchTime.now().uptimeNanoseconds
            let answering = Descriptors.readable(
                among: callers.lazy.filter(\.isWaiting).map(\.connection.descriptor),
                nanoseconds: next > sent ? next - sent : 0
            )
            for number in callers.indices where answering.contains(callers[number].connection.descriptor) {
                guard let answer = try callers[number].connection.receive() else { continue }
                let took = DispatchTime.now().uptimeNanoseconds - callers[number].since
                result.latenciesMicroseconds.append(Int(took / 1_000))
                if answer.status == 200, answer.body.suffix(ending.count).elementsEqual(ending) {
                    result.requests += 1
                } else {
                    let text = String(decoding: answer.body.prefix(120), as: UTF8.self)
                    result.failures["\(answer.status) \(text)", default: 0] += 1
                }
                callers[number].isWaiting = false
                callers[number].sequence += 1
                callers[number].due += pace ?? 0
            }
        }
        result.seconds = Double(DispatchTime.now().uptimeNanoseconds - start) / 1e9
        return result
    }

    /// In nanoseconds.
    private static let longestWait: UInt64 = 30_000_000_000

    private struct Caller {
        let connection: LoadConnection
        var sequence = 0
        /// When the next request is to be sent at the offered rate, and since when the one that waits counts.
        var due: UInt64 = 0
        var since: UInt64 = 0
        var isWaiting = false
    }
}

/// A set of descriptors for `pselect`, which waits for several of them and not only for whole milliseconds. There are
/// fewer than 1,024.
private struct Descriptors {
    private var set = fd_set()

    /// Those of which something can be read, once there is one, or none after so long.
    static func readable(among waiting: some Sequence<Int32>, nanoseconds: UInt64) -> Descriptors {
        var result = Descriptors()
        var highest: Int32 = -1
        for descriptor in waiting {
            withUnsafeMutableBytes(of: &result.set) { $0[Int(descriptor / 8)] |= 1 << (descriptor % 8) }
            highest = max(highest, descriptor)
        }
        var timeout = timespec(tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
        return pselect(highest + 1, &result.set, nil, nil, &timeout, nil) > 0 ? result : Descriptors()
    }

    func contains(_ descriptor: Int32) -> Bool {
        withUnsafeBytes(of: set) { $0[Int(descriptor / 8)] & 1 << (descriptor % 8) != 0 }
    }
}
