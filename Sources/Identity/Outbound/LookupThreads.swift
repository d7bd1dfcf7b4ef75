import Glibc
import Synchronization
import Web

/// Threads on which names are looked up, one for each lookup. `getaddrinfo` can't be ended: while a name server is slow
/// it holds its thread, for a minute or more, and long after whoever asked has given up.
///
/// A lookup begins at once or not at all, so that nobody's waits for somebody else's. An owner may begin one only if it
/// then has no more under way than were free before (dynamic thresholds; Choudhury and Hahne, 1998): the share of each
/// shrinks with the number of those whose lookups hang, and while they are fewer than the threads there is one left.
final class LookupThreads: Sendable {
    private let limit: Int
    private let underWay = Mutex(UnderWay<String>())

    /// - Parameter limit: how many lookups may be under way at a time. One owner alone gets half of them.
    init(limit: Int) {
        self.limit = limit
    }

    /// Runs a lookup on a thread that ends with it. When the task is cancelled the lookup goes on, and is waited for.
    /// - Returns: nil when it did not begin: the owner has its share under way, or the system has no thread.
    func run<Value: Sendable>(for owner: String, _ lookup: @escaping @Sendable () -> Value) async -> Value? {
        guard begin(owner) else { return nil }
        return await withCheckedContinuation { continuation in
            let isRunning = Self.startThread {
                let value = lookup()
                self.end(owner)
                continuation.resume(returning: value)
            }
            guard !isRunning else { return }
            end(owner)
            continuation.resume(returning: nil)
        }
    }

    private func begin(_ owner: String) -> Bool {
        underWay.withLock { $0.begin(owner, atMost: limit - $0.total) }
    }

    private func end(_ owner: String) {
        underWay.withLock { $0.end(owner) }
    }

    /// Nobody waits for the thread, so that a lookup that hangs does not keep the service from ending. By the system's
    /// call, because a thread of Foundation's does not say when there is none.
    /// - Returns: whether it runs.
    private static func startThread(_ body: @escaping @Sendable () -> Void) -> Bool {
        let work = Unmanaged.passRetained(Work(body))
        var thread: pthread_t = 0
        let code = pthread_create(
            &thread,
            nil,
            { context in
                if let context { Unmanaged<Work>.fromOpaque(context).takeRetainedValue().body() }
                return nil
            },
            work.toOpaque()
        )
        guard code == 0 else {
            work.release()
            return false
        }
        pthread_detach(thread)
        return true
    }

    /// What a thread is to do, as an object that can be handed to it.
    private final class Work: Sendable {
        let body: @Sendable () -> Void

        init(_ body: @escaping @Sendable () -> Void) {
            self.body = body
        }
    }
}
