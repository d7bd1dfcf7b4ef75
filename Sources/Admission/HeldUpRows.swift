import BillingCore
import Limits
import Synchronization

/// Rows for which calls have waited in vain, because somebody else has them locked for longer than a flush waits: a
/// transaction that hangs, or one that changes very many rows. Calls that touch one are decided apart, so that they
/// hold up nobody else's.
final class HeldUpRows: Sendable {
    /// How long a flush waits for rows that others have locked. There is time to decide again for those who wait.
    let patience: Duration
    /// The same, for calls of which it is known that they touch such a row of their tenant's.
    let briefPatience: Duration
    /// Calls that touch a row go with others again when it was not tried for so long.
    private static let memory = Duration.seconds(10)

    private let tried = Mutex<[LimitRow: ContinuousClock.Instant]>([:])

    /// - Parameter deadline: when a call is answered, decided or not.
    init(deadline: Duration) {
        // No longer than a statement may take: that ends it by another error.
        patience = max(.milliseconds(1), min(deadline / 2, .seconds(5)))
        briefPatience = max(.milliseconds(1), patience / 4)
    }

    /// Notes that calls have waited for rows in vain.
    func note(_ rows: Set<LimitRow>) {
        let now = ContinuousClock.now
        tried.withLock { tried in
            tried = tried.filter { now - $0.value < Self.memory }
            for row in rows { tried[row] = now }
        }
    }

    func clear(_ rows: some Sequence<LimitRow>) {
        tried.withLock { tried in
            guard !tried.isEmpty else { return }
            for row in rows { tried[row] = nil }
        }
    }

    /// Calls that touch one of these are decided apart.
    var current: Set<LimitRow> {
        tried.withLock { tried in
            guard !tried.isEmpty else { return [] }
            let now = ContinuousClock.now
            return Set(tried.lazy.filter { now - $0.value < Self.memory }.map(\.key))
        }
    }

    /// Whether one of the rows was tried so lately that nobody waits for it yet again.
    func isPaused(_ rows: Set<LimitRow>) -> Bool {
        tried.withLock { tried in
            guard !tried.isEmpty else { return false }
            let now = ContinuousClock.now
            return rows.contains { row in tried[row].map { now - $0 < patience } ?? false }
        }
    }
}
