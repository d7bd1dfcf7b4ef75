import Synchronization

/// Work that many ask for at once and that is done once: whoever comes while it is under way gets its outcome too.
package final class SharedWork<Value: Sendable>: Sendable {
    private typealias Waiter = CheckedContinuation<Result<Value, any Error>?, Never>

    /// Nil while nothing is under way.
    private let waiters = Mutex<[Waiter]?>(nil)

    package init() {}

    package func run(_ work: @Sendable () async throws -> Value) async throws -> Value {
        let isFirst = waiters.withLock { waiters in
            if waiters != nil { return false }
            waiters = []
            return true
        }
        guard isFirst else { return try await joined(work) }
        let outcome: Result<Value, any Error>
        do {
            outcome = .success(try await work())
        } catch {
            outcome = .failure(error)
        }
        let waiting = waiters.withLock { waiters in
            defer { waiters = nil }
            return waiters ?? []
        }
        for waiter in waiting { waiter.resume(returning: outcome) }
        return try outcome.get()
    }

    /// Waits for the work under way; if that has ended in between, does it anew.
    private func joined(_ work: @Sendable () async throws -> Value) async throws -> Value {
        let outcome: Result<Value, any Error>? = await withCheckedContinuation {
            (waiter: Waiter) in
            let isWaiting = waiters.withLock { waiters in
                guard waiters != nil else { return false }
                waiters?.append(waiter)
                return true
            }
            if !isWaiting { waiter.resume(returning: nil) }
        }
        guard let outcome else { return try await run(work) }
        return try outcome.get()
    }
}
