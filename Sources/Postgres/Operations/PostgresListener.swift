import CLibPQ
import Glibc
import Synchronization

/// Hears what `NOTIFY` says, on a connection of its own.
///
/// An `AsyncSequence` of ``PostgresNotice``; each iteration has its own connection, which is closed when the iterating
/// task is cancelled or the iterator is released. A lost connection is made again, with a pause that doubles. What was
/// said meanwhile is lost, so every connection begins with `.reconnected`: read anew what the notifications are about.
package struct PostgresListener: AsyncSequence, Sendable {
    package typealias Element = PostgresNotice

    private let configuration: PostgresConfiguration
    private let channels: [String]

    package init(_ configuration: PostgresConfiguration, channels: [String]) {
        self.configuration = configuration
        self.channels = channels
    }

    package func makeAsyncIterator() -> Iterator {
        Iterator(Ear(configuration, channels: channels))
    }

    package struct Iterator: AsyncIteratorProtocol {
        private let ear: Ear

        fileprivate init(_ ear: Ear) {
            self.ear = ear
        }

        /// The next notice; `nil` after the task was cancelled. Throws when there is no thread to listen on.
        package mutating func next(
            isolation actor: isolated (any Actor)? = #isolation
        ) async throws -> PostgresNotice? {
            let ear = self.ear
            try ear.start()
            return await withTaskCancellationHandler {
                await ear.mailbox.next()
            } onCancel: {
                ear.stop()
            }
        }

        package mutating func next() async throws -> PostgresNotice? {
            try await next(isolation: nil)
        }
    }
}

/// What a listener hears.
package enum PostgresNotice: Hashable, Sendable {
    case notification(channel: String, payload: String)
    /// Listening begins, for the first time or again.
    case reconnected
    /// The reader was too slow: notifications that were heard are dropped.
    case overflowed
}

/// One iteration of a listener: a thread that waits for the socket and for being told to stop.
private final class Ear: Sendable {
    let mailbox = Mailbox()
    private let configuration: PostgresConfiguration
    private let channels: [String]
    private let line = Mutex<ListeningLine?>(nil)

    init(_ configuration: PostgresConfiguration, channels: [String]) {
        var own = configuration
        own.applicationName += " listen"
        own.statementTimeoutMilliseconds = 0
        own.idleInTransactionTimeoutMilliseconds = 0
        self.configuration = own
        self.channels = channels
    }

    deinit {
        stop()
    }

    func start() throws(PostgresError) {
        try line.withLock { line throws(PostgresError) in
            guard line == nil, !mailbox.isFinished else { return }
            let started = ListeningLine(configuration, channels: channels, mailbox: mailbox, wakeUp: try WakeUp())
            try DedicatedThread.start("pg-listen") { started.run() }
            line = started
        }
    }

    func stop() {
        mailbox.finish()
        line.withLock { $0?.stop() }
    }
}

/// The thread's side of a listener.
private final class ListeningLine: Sendable {
    private let configuration: PostgresConfiguration
    private let channels: [String]
    private let mailbox: Mailbox
    private let wakeUp: WakeUp

    init(_ configuration: PostgresConfiguration, channels: [String], mailbox: Mailbox, wakeUp: WakeUp) {
        self.configuration = configuration
        self.channels = channels
        self.mailbox = mailbox
        self.wakeUp = wakeUp
    }

    func stop() {
        wakeUp.signal()
    }

    func run() {
        var failures = 0
        while !mailbox.isFinished {
            do throws(PostgresError) {
                let session = try Session(configuration)
                for channel in channels {
                    try session.run("LISTEN \(quotedIdentifier(channel))")
                }
                failures = 0
                mailbox.put(.reconnected)
                listen(session)
            } catch {
                failures += 1
            }
            let pause = Backoff.milliseconds(attempt: failures, first: 50, longest: 5_000)
            if !mailbox.isFinished {
                _ = wakeUp.wait(socket: -1, milliseconds: Int32(pause))
            }
        }
    }

    /// Returns when the connection is lost or the listener is stopped.
    private func listen(_ session: Session) {
        while true {
            while let notification = PQnotifies(session.handle) {
                let heard = notification.pointee
                mailbox.put(
                    .notification(
                        channel: heard.relname.map { String(cString: $0) } ?? "",
                        payload: heard.extra.map { String(cString: $0) } ?? ""
                    )
                )
                PQfreemem(notification)
            }
            let isReadable = wakeUp.wait(socket: PQsocket(session.handle), milliseconds: -1)
            if mailbox.isFinished { return }
            if isReadable, PQconsumeInput(session.handle) != 1 { return }
            guard session.isUsable else { return }
        }
    }
}

/// Lets another thread end a wait for a socket.
private final class WakeUp: Sendable {
    private let reading: Int32
    private let writing: Int32

    /// Throws when the process has no descriptors left.
    init() throws(PostgresError) {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else {
            throw PostgresError(.connection, "no descriptors for a listener: \(String(cString: strerror(errno)))")
        }
        for end in ends {
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
        }
        (reading, writing) = (ends[0], ends[1])
    }

    deinit {
        close(reading)
        close(writing)
    }

    /// Once is enough: the byte is never taken out, so every later wait returns at once.
    func signal() {
        var byte: UInt8 = 1
        _ = write(writing, &byte, 1)
    }

    /// Waits for the socket (none when -1), the signal or the time; returns whether the socket can be read.
    func wait(socket: Int32, milliseconds: Int32) -> Bool {
        var descriptors = [
            pollfd(fd: reading, events: Int16(POLLIN), revents: 0),
            pollfd(fd: socket, events: Int16(POLLIN), revents: 0),
        ]
        return poll(&descriptors, 2, milliseconds) > 0 && descriptors[1].revents != 0
    }
}

/// Notices that nobody has read yet, at most so many; what overflows is replaced by the marker that says so. Of
/// reconnections the last one waits: what is read anew after it has what is read anew after those before.
final class Mailbox: Sendable {
    private struct State {
        var notices: [PostgresNotice] = []
        var reader: CheckedContinuation<PostgresNotice?, Never>?
        var isFinished = false
    }

    static let limit = 1_024

    private let state = Mutex(State())

    var isFinished: Bool { state.withLock { $0.isFinished } }

    func put(_ notice: PostgresNotice) {
        let reader = state.withLock { state -> CheckedContinuation<PostgresNotice?, Never>? in
            guard !state.isFinished else { return nil }
            if let reader = state.reader {
                state.reader = nil
                return reader
            }
            if notice == .reconnected { state.notices.removeAll { $0 == .reconnected } }
            if state.notices.count >= Self.limit { state.notices = [.overflowed] }
            state.notices.append(notice)
            return nil
        }
        reader?.resume(returning: notice)
    }

    func next() async -> PostgresNotice? {
        await withCheckedContinuation { continuation in
            let answer = state.withLock { state -> PostgresNotice?? in
                if state.isFinished { return .some(nil) }
                guard state.notices.isEmpty else { return state.notices.removeFirst() }
                state.reader = continuation
                return .none
            }
            if let answer {
                continuation.resume(returning: answer)
            }
        }
    }

    func finish() {
        let reader = state.withLock { state in
            state.isFinished = true
            defer { state.reader = nil }
            return state.reader
        }
        reader?.resume(returning: nil)
    }
}
