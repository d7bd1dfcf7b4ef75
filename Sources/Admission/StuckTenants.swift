import BillingCore
import Synchronization

/// Tenants of which a call touches a row that somebody else has had locked for longer than a call may wait: a
/// transaction that hangs, or one that changes very many rows. Their calls are decided by themselves, so that they hold
/// up nobody else's, and not before a while has passed.
final class StuckTenants: Sendable {
    /// How long calls of such a tenant wait for locks.
    static let patience = Duration.milliseconds(20)
    private static let pause = Duration.milliseconds(100)
    /// How long they are decided by themselves.
    private static let memory = Duration.seconds(5)

    private let since = Mutex<[TenantID: ContinuousClock.Instant]>([:])

    func note(_ tenant: TenantID) {
        since.withLock { since in
            let now = ContinuousClock.now
            since = since.filter { now - $0.value < Self.memory }
            since[tenant] = now
        }
    }

    func contains(_ tenant: TenantID) -> Bool { isNoted(tenant, within: Self.memory) }

    /// Whether it is too early to try again.
    func isPaused(_ tenant: TenantID) -> Bool { isNoted(tenant, within: Self.pause) }

    private func isNoted(_ tenant: TenantID, within duration: Duration) -> Bool {
        since.withLock { since in
            guard !since.isEmpty, let noted = since[tenant] else { return false }
            return ContinuousClock.now - noted < duration
        }
    }
}
