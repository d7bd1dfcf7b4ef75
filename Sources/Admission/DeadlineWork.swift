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
        let ticket = Ticket<R>()
        let patience = patience
        let work: @Sendable () async -> Void = {
            do {
                ticket.finish(.success(try await work()))
            } catch {
                ticket.finish(.failure(error))
            }
        }
        let deadline: @Sendable () async -> Void = {
            try? await Task.sleep(for: patience)
            ticket.finish(.failure(AdmissionRefusal.tooLate))
        }
        return try await ticket.wait {
            for job in [work, deadline] {
                guard case .enqueued = add.yield(job) else { return AdmissionRefusal.stopping }
            }
            return nil
        }
    }
}
