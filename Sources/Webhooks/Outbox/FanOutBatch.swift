import BillingCore
import Synchronization

/// How many events are queued at a time: fewer after a failure, in case it was too much, and more again after that. And
/// whose turn it is: that of the tenant after the last one, in the order of their ids, and after all of the first.
final class FanOutBatch: Sendable {
    private struct State {
        var size: Int
        /// Before every tenant.
        var lastTenant = TenantID(-1)
    }

    private let full: Int
    private let present: Mutex<State>

    init(_ full: Int) {
        self.full = full
        present = Mutex(State(size: full))
    }

    var size: Int { present.withLock { $0.size } }

    var lastTenant: TenantID { present.withLock { $0.lastTenant } }

    func shrink() {
        present.withLock { $0.size = max(1, $0.size / 2) }
    }

    func grow(endingWith tenant: TenantID) {
        present.withLock { state in
            state.size = min(full, state.size * 2)
            state.lastTenant = tenant
        }
    }
}
