public import Synchronization

/// Somebody who waits for a value, until it is there or it is too late: whatever comes first is the answer.
@usableFromInline
package final class Ticket<Value: Sendable>: Sendable {
    @usableFromInline
    let isDone: Atomic<Bool>
    /// Set before anything can end the waiting.
    @usableFromInline
    let continuation: Mutex<CheckedContinuation<Value, any Error>?>

    // Said here, and not where they are declared, so that targets that use it specialise it.
    @inlinable @inline(__always)
    package init() {
        isDone = Atomic(false)
        continuation = Mutex(nil)
    }

    @inlinable
    deinit {}

    /// Whether nobody waits any more.
    @inlinable @inline(__always)
    package var isAbandoned: Bool { isDone.load(ordering: .acquiring) }

    /// - Parameter ask: asks for the value, and says why it can't.
    @inlinable @inline(__always)
    package func wait(_ ask: () -> (any Error)?) async throws -> Value {
        try await withCheckedThrowingContinuation { waiting in
            continuation.withLock { $0 = waiting }
            if let refusal = ask() { finish(.failure(refusal)) }
        }
    }

    /// - Returns: whether somebody waited for it still.
    @discardableResult
    @inlinable @inline(__always)
    package func finish(_ result: Result<Value, any Error>) -> Bool {
        guard !isDone.exchange(true, ordering: .acquiringAndReleasing) else { return false }
        continuation.withLock { $0.take() }?.resume(with: result)
        return true
    }
}
