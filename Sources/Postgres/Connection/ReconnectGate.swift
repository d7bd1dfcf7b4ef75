import Dispatch
import Synchronization

/// Spreads the attempts to reach a server that is away. While it is, one caller at a time tries, after a jittered pause
/// that doubles; the others are told at once instead of waiting for a timeout each.
final class ReconnectGate: Sendable {
    private struct State {
        var failures = 0
        var nextAttempt: UInt64 = 0
    }

    private let state = Mutex(State())
    private static let firstPauseMilliseconds = 50
    private static let longestPauseMilliseconds = 2_000

    /// Throws when the server was found away a moment ago.
    func admit() throws(PostgresError) {
        let now = DispatchTime.now().uptimeNanoseconds
        let isAdmitted = state.withLock { state in
            guard state.failures > 0 else { return true }
            guard now >= state.nextAttempt else { return false }
            state.nextAttempt = now + Self.pause(after: state.failures)
            return true
        }
        if !isAdmitted {
            throw PostgresError(.connection, "the database was unreachable a moment ago")
        }
    }

    func succeeded() {
        state.withLock { $0 = State() }
    }

    func failed() {
        state.withLock { state in
            state.failures += 1
            state.nextAttempt = DispatchTime.now().uptimeNanoseconds + Self.pause(after: state.failures)
        }
    }

    private static func pause(after failures: Int) -> UInt64 {
        let milliseconds = Backoff.milliseconds(
            attempt: failures,
            first: firstPauseMilliseconds,
            longest: longestPauseMilliseconds
        )
        return UInt64(milliseconds) * 1_000_000
    }
}

/// Pauses that double, each drawn from the upper half of its range so that many callers don't come back together.
enum Backoff {
    static func milliseconds(attempt: Int, first: Int, longest: Int) -> Int {
        let bound = min(longest, first << min(max(0, attempt - 1), 16))
        return Int.random(in: bound / 2...bound)
    }
}
