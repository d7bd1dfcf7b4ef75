import BillingCore
import Synchronization

/// How fast tenants may change what is kept of them, on each replica: what comes faster waits for its time. A change of
/// what their own usage is counted by has what is reported meanwhile prepared anew, a few times at most: who changed on
/// and on would keep its own usage from being stored. What is asked to be sent is kept until it was.
package final class ChangePace: Sendable {
    /// So many at once, and then one in each interval.
    private static let burst = 20
    private static let interval = Duration.milliseconds(250)
    private static let longestWait = Duration.seconds(5)
    private static let crowd = 1_000

    private static let refusal = Problem.exhausted(
        "changes",
        quota: burst,
        windowSeconds: Int((interval * burst).components.seconds),
        retryAfterSeconds: 1,
        code: "changes_too_fast",
        detail: "This tenant makes changes faster than they can be followed. Nothing was changed: try later."
    )

    package init() {}

    /// When the next change of a tenant would be due if all of its changes came in an even pace.
    private let due = Mutex<[TenantID: ContinuousClock.Instant]>([:])

    /// Waits for the turn of whoever is bound to a tenant. Operators change what they like.
    /// - Throws: 429 where that would take long.
    package func turn(of principal: Principal) async throws {
        if let tenant = principal.tenantID { try await turn(of: tenant) }
    }

    func turn(of tenant: TenantID) async throws {
        let now = ContinuousClock.now
        let turn = due.withLock { due -> ContinuousClock.Instant? in
            if due.count > Self.crowd { due = due.filter { $0.value > now } }
            let next = max(due[tenant] ?? now, now)
            let turn = next - Self.interval * (Self.burst - 1)
            guard turn - now <= Self.longestWait else { return nil }
            due[tenant] = next + Self.interval
            return turn
        }
        guard let turn else { throw Self.refusal }
        if turn > now { try await Task.sleep(until: turn, clock: .continuous) }
    }
}
