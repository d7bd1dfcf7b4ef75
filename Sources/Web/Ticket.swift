import Synchronization

/// Somebody who waits for a value, until it is there or it is too late: whatever comes first is the answer.
package final class Ticket<Value: Sendable>: Sendable {
    private enum State {
        case waiting(CheckedContinuation<Value, any Error>?)
        case done
    }

    private let state = Mutex(State.waiting(nil))

    package init() {}

    /// Whether nobody waits any more.
    package var isAbandoned: Bool { state.withLock { if case .done = $0 { true } else { false } } }

    /// - Parameter ask: asks for the value, and says why it can't.
    package func wait(_ ask: () -> (any Error)?) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            state.withLock { $0 = .waiting(continuation) }
            if let refusal = ask() { finish(.failure(refusal)) }
        }
    }

    package func finish(_ result: Result<Value, any Error>) {
        let continuation = state.withLock { state -> CheckedContinuation<Value, any Error>? in
            guard case .waiting(let continuation) = state else { return nil }
            state = .done
            return continuation
        }
        continuation?.resume(with: result)
    }
}
