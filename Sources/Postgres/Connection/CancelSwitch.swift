import CLibPQ
import Dispatch
import Synchronization

/// Says that the task behind a piece of work was cancelled.
final class CancelTicket: Sendable {
    private let flag = Atomic(false)

    var isCancelled: Bool { flag.load(ordering: .acquiring) }

    func cancel() {
        flag.store(true, ordering: .releasing)
    }
}

/// Cancels what a connection is doing for one ticket, and never what it does for the next.
///
/// A round trip does not end while `PQcancel` runs for it. `PQcancel` returns after the server has sent the signal, and
/// a backend forgets a signal that arrives between two commands, so a statement sent later is never hit. (Without that,
/// four of ten cancels hit a later one.) A server that says nothing keeps `PQcancel` waiting for as long as it likes:
/// then nothing more may be sent on the connection.
final class CancelSwitch: Sendable {
    private struct State {
        var target: CancelTarget?
        var inFlight: CancelTicket?
    }

    private let state = Mutex(State())
    private static let queue = DispatchQueue(label: "turnpike.postgres.cancel", attributes: .concurrent)
    private static let repeatMilliseconds = 20
    private static let maximumAttempts = 10
    private static let patience = DispatchTimeInterval.seconds(2)

    /// Every new libpq connection has a new address to cancel.
    func retarget(_ handle: OpaquePointer?) {
        let target = handle.flatMap { CancelTarget($0) }
        state.withLock { $0.target = target }
    }

    /// Marks the start of a round trip for the ticket; throws when it was cancelled before.
    func enter(_ ticket: CancelTicket) throws(PostgresError) {
        let isCancelled = state.withLock { state in
            if ticket.isCancelled { return true }
            state.inFlight = ticket
            return false
        }
        if isCancelled {
            throw PostgresError(.cancelled, "the task was cancelled")
        }
    }

    /// Marks the end of the round trip; waits for a cancel request under way.
    /// - Returns: false where that goes on, so that it could hit what is sent next.
    func leave() -> Bool {
        let target = state.withLock { state in
            state.inFlight = nil
            return state.target
        }
        return target?.isQuiet(within: Self.patience) ?? true
    }

    /// Cancels the ticket's statement if one is running, off the caller's path.
    func cancel(_ ticket: CancelTicket) {
        ticket.cancel()
        Self.queue.async { self.signal(ticket, attempt: 1) }
    }

    /// The server ignores a signal that overtakes the statement's bytes, so it is repeated while the statement runs.
    private func signal(_ ticket: CancelTicket, attempt: Int) {
        let target: CancelTarget? = state.withLock { state in
            guard state.inFlight === ticket else { return nil }
            state.target?.begin()
            return state.target
        }
        guard let target else { return }
        target.cancel()
        guard attempt < Self.maximumAttempts else { return }
        let pause = DispatchTimeInterval.milliseconds(Self.repeatMilliseconds << attempt)
        Self.queue.asyncAfter(deadline: .now() + pause) { self.signal(ticket, attempt: attempt + 1) }
    }
}

/// The address and key that cancel what one connection does.
///
/// `@unchecked Sendable`: a `PGcancel` is immutable, and libpq documents `PQcancel` as safe from any thread.
private final class CancelTarget: @unchecked Sendable {
    private let handle: OpaquePointer
    private let underWay = DispatchGroup()

    init?(_ connection: OpaquePointer) {
        guard let handle = PQgetCancel(connection) else { return nil }
        self.handle = handle
    }

    deinit {
        PQfreeCancel(handle)
    }

    /// Somebody is about to `cancel`.
    func begin() { underWay.enter() }

    /// Whether no request is under way, or ends in time.
    func isQuiet(within patience: DispatchTimeInterval) -> Bool {
        underWay.wait(timeout: .now() + patience) == .success
    }

    /// Once after each `begin`. A failure means that the connection is gone, which its own thread notices.
    func cancel() {
        defer { underWay.leave() }
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { reason in
            _ = PQcancel(handle, reason.baseAddress, Int32(reason.count))
        }
    }
}
