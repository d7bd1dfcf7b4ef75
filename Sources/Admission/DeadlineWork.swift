import ServiceLifecycle
import Synchronization

/// Work that nobody waits for longer than a deadline, whatever becomes of it. It runs beside its callers, so that a
/// database that does not answer at all can't hold them up.
final class DeadlineWork: Sendable {
    private let jobs: AsyncStream<@Sendable () async -> Void>
    private let add: AsyncStream<@Sendable () async -> Void>.Continuation
    private let patience: Duration

    init(patience: Duration) {
        self.patience = patience
        (jobs, add) = AsyncStream.makeStream()
    }

    /// Runs what callers ask for until `close`.
    func run() async {
        await withDiscardingTaskGroup { group in
            for await job in jobs { group.addTask(operation: job) }
            group.cancelAll()
        }
    }

    func close() { add.finish() }

    /// What the work gives.
    /// - Throws: `AdmissionRefusal.tooLate` when it gives nothing in time.
    func result<R: Sendable>(of work: @escaping @Sendable () async throws -> R) async throws -> R {
        let waiter = Waiter<R>()
        return try await withCheckedThrowingContinuation { continuation in
            waiter.wait(continuation)
            let jobs: [@Sendable () async -> Void] = [
                {
                    do {
                        waiter.finish(.success(try await work()))
                    } catch {
                        waiter.finish(.failure(error))
                    }
                },
                { [patience] in
                    try? await Task.sleep(for: patience)
                    waiter.finish(.failure(AdmissionRefusal.tooLate))
                },
            ]
            for job in jobs {
                if case .enqueued = add.yield(job) { continue }
                waiter.finish(.failure(AdmissionRefusal.stopping))
            }
        }
    }

    private final class Waiter<R: Sendable>: Sendable {
        private let continuation = Mutex<CheckedContinuation<R, any Error>?>(nil)

        func wait(_ continuation: CheckedContinuation<R, any Error>) {
            self.continuation.withLock { $0 = continuation }
        }

        func finish(_ result: Result<R, any Error>) {
            let waiting = continuation.withLock { waiting in
                defer { waiting = nil }
                return waiting
            }
            waiting?.resume(with: result)
        }
    }
}
