import BillingCore
import Postgres
import Synchronization

/// Reads tenants by subject, one reading at a time: who asks meanwhile is served by the next one, with all others that
/// wait by then. So a reading that had begun before somebody asked answers him nothing, and those who ask, be it for
/// subjects that name nobody, take one connection together.
final class SubjectReading: Sendable {
    private enum Turn {
        /// To read, for oneself and for whoever waits.
        case lead
        case done(Result<LoadedTenants, any Error>)
        /// What was read together fails for the sake of some row: each reads for itself.
        case alone
    }

    private struct Waiter {
        let subjects: Set<ExactText>
        let continuation: CheckedContinuation<Turn, Never>
    }

    private static let callersTogether = 100
    private static let subjectsTogether = 1_000

    private let state = Mutex<(isReading: Bool, waiting: [Waiter])>((false, []))

    func run(
        _ subjects: Set<ExactText>,
        _ read: @Sendable (Set<ExactText>) async throws -> LoadedTenants
    ) async throws -> LoadedTenants {
        switch await turn(subjects) {
        case .done(let result): return try result.get()
        case .alone: return try await read(subjects)
        case .lead: return try await lead(subjects, read)
        }
    }

    private func turn(_ subjects: Set<ExactText>) async -> Turn {
        await withCheckedContinuation { continuation in
            let leads = state.withLock { state in
                guard state.isReading else {
                    state.isReading = true
                    return true
                }
                state.waiting.append(Waiter(subjects: subjects, continuation: continuation))
                return false
            }
            if leads { continuation.resume(returning: .lead) }
        }
    }

    private func lead(
        _ subjects: Set<ExactText>,
        _ read: @Sendable (Set<ExactText>) async throws -> LoadedTenants
    ) async throws -> LoadedTenants {
        var wanted = subjects
        let others = state.withLock { state in
            let others = state.waiting.prefix(Self.callersTogether).prefix { waiter in
                guard wanted.count + waiter.subjects.count <= Self.subjectsTogether else { return false }
                wanted.formUnion(waiter.subjects)
                return true
            }
            state.waiting.removeFirst(others.count)
            return Array(others)
        }
        let result: Result<LoadedTenants, any Error>
        do {
            result = .success(try await read(wanted))
        } catch {
            result = .failure(error)
        }
        finish(result, for: others)
        if case .failure(let error) = result, !others.isEmpty, error.isOfRows { return try await read(subjects) }
        return try result.get()
    }

    private func finish(_ result: Result<LoadedTenants, any Error>, for others: [Waiter]) {
        var turn = Turn.done(result)
        var others = others
        let next = state.withLock { state -> Waiter? in
            if case .failure(let error) = result {
                if error.isOfRows { turn = .alone }
                if Task.isCancelled {
                    // They have not gone.
                    state.waiting = others + state.waiting
                    others = []
                }
            }
            guard !state.waiting.isEmpty else {
                state.isReading = false
                return nil
            }
            return state.waiting.removeFirst()
        }
        next?.continuation.resume(returning: .lead)
        for waiter in others { waiter.continuation.resume(returning: turn) }
    }
}

extension Error {
    /// Whether other rows may do: anything but what PostgreSQL says of itself.
    fileprivate var isOfRows: Bool {
        (self as? PostgresError)?.isOfRows ?? !(self is CancellationError)
    }
}
