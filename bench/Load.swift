import CEpoll
import Dispatch
import Foundation

/// What a run measured.
struct LoadResult {
    /// Those that succeeded, of which the latencies are.
    var requests = 0
    var failures: [String: Int] = [:]
    var latenciesMicroseconds: [Int] = []
    var seconds = 0.0
    /// What a request cost the load generator in processor time; nil where that was not asked.
    var generatorMicroseconds: Double?

    var perSecond: Double { Double(requests) / seconds }

    func latency(percentile: Double) -> Int {
        let sorted = latenciesMicroseconds.sorted()
        guard !sorted.isEmpty else { return 0 }
        return sorted[min(sorted.count - 1, Int(Double(sorted.count) * percentile / 100))]
    }
}

/// Drives connections from one thread, as a gateway's event loop does: a thread each would cost the machine a switch
/// for every answer. Times are in nanoseconds.
struct Load {
    private struct Caller {
        let connection: LoadConnection
        let template: RequestTemplate
        /// The request that was sent last, and is made the next.
        var request: [UInt8]
        var sequence = 0
        /// Since when the request that waits counts.
        var since: UInt64 = 0
    }

    private static let longestWait: UInt64 = 30_000_000_000
    /// More than are answered: the latencies are not to be copied while they are measured.
    private static let mostPerSecond = 50_000

    private let run: Int
    private let duration: UInt64
    /// Between two requests that are offered; nil in a closed loop.
    private let interval: Double?
    private let epoll: Epoll
    private var callers: [Caller] = []
    /// Those that wait for no answer, the one that has sent nothing for longest first.
    private var idle: [Int]
    private var sent = 0
    private var result = LoadResult()

    /// - Parameters:
    ///   - templates: connections take turns with them.
    ///   - run: see `RequestTemplate.fill`.
    ///   - perSecond: how many requests are offered in a second, whatever the answers; nil sends the next as soon as
    ///     the last is answered. What comes late because others were slow counts from when it was due.
    init(
        _ templates: [RequestTemplate],
        run: Int,
        connections: Int,
        seconds: Double,
        port: Int,
        perSecond: Int? = nil
    ) throws {
        self.run = run
        duration = UInt64(seconds * 1e9)
        interval = perSecond.map { 1e9 / Double($0) }
        epoll = try Epoll()
        idle = Array(0..<connections)
        for number in idle {
            let connection = try LoadConnection(port: port)
            try epoll.add(connection, number: number)
            let template = templates[number % templates.count]
            callers.append(Caller(connection: connection, template: template, request: template.bytes))
        }
        result.latenciesMicroseconds.reserveCapacity(Int(seconds * Double(perSecond ?? Self.mostPerSecond)))
    }

    /// Sends all that is due before the end, and waits for the answers.
    /// - Throws: when a connection is lost or an answer does not come: then there is nothing to publish.
    mutating func measure() throws -> LoadResult {
        let used = Self.processorTime
        let start = Self.now
        while true {
            let next = try sendWhatIsDue(from: start, until: start + duration)
            if next == nil, idle.count == callers.count { break }
            let now = Self.now
            let patience = next.map { $0 > now ? $0 - now : 0 } ?? Self.longestWait
            let answering = try epoll.wait(nanoseconds: patience)
            guard next != nil || !answering.isEmpty else {
                throw LoadConnection.Failure(description: "no answer came for 30 seconds")
            }
            for number in answering { try receive(by: Int(number)) }
        }
        result.seconds = Double(Self.now - start) / 1e9
        result.generatorMicroseconds = Double(Self.processorTime - used) / 1e3 / Double(max(1, sent))
        return result
    }

    /// Sends as much as there are idle callers for.
    /// - Returns: when the next is due for which there is one; nil where there is none, or nothing is due before the
    ///   end any more.
    private mutating func sendWhatIsDue(from start: UInt64, until end: UInt64) throws -> UInt64? {
        while let number = idle.first {
            let now = Self.now
            let due = interval.map { start + UInt64(Double(sent) * $0) } ?? now
            guard due < end else { return nil }
            guard due <= now else { return due }
            idle.removeFirst()
            sent += 1
            try send(by: number, since: due)
        }
        return nil
    }

    private mutating func send(by number: Int, since: UInt64) throws {
        let sequence = callers[number].sequence
        let template = callers[number].template
        template.fill(&callers[number].request, run: run, connection: number, sequence: sequence)
        callers[number].sequence = sequence + 1
        callers[number].since = since
        try callers[number].connection.send(callers[number].request)
    }

    private mutating func receive(by number: Int) throws {
        guard let answer = try callers[number].connection.receive() else { return }
        let took = Self.now - callers[number].since
        if callers[number].template.isExpected(status: answer.status, body: answer.body) {
            result.requests += 1
            result.latenciesMicroseconds.append(Int(took / 1_000))
        } else {
            result.failures[Self.failure(answer.status, answer.body), default: 0] += 1
        }
        idle.append(number)
    }

    /// The status, and what the answer gives as its reason.
    private static func failure(_ status: Int, _ body: ArraySlice<UInt8>) -> String {
        for member in [#""code":""#, #""reason":""#, #""warnings":[""#, #""status":""#] {
            let text = Array(member.utf8)
            guard let start = body.offset(of: text, from: body.startIndex) else { continue }
            let reason = body[(start + text.count)...].prefix { $0 != UInt8(ascii: "\"") }
            return "\(status) \(String(decoding: reason, as: UTF8.self))"
        }
        return "\(status)"
    }

    private static var now: UInt64 { DispatchTime.now().uptimeNanoseconds }

    /// Of the whole process, which does nothing else meanwhile.
    private static var processorTime: UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}
