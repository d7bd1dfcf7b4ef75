import BillingCore
import Synchronization

/// How many more attempts may begin, and which are under way.
final class Slots: Sendable {
    private struct State {
        var free: Int
        var running: [WebhookEndpointID: Int] = [:]
    }

    private let count: Int
    private let state: Mutex<State>

    init(_ count: Int) {
        self.count = count
        state = Mutex(State(free: count))
    }

    /// How many are not under way, those that a claim is being made for included, and how many are at each endpoint.
    var present: (idle: Int, running: [WebhookEndpointID: Int]) {
        state.withLock { (count - $0.running.values.reduce(0, +), $0.running) }
    }

    func takeAll() -> Int {
        state.withLock { state in
            defer { state.free = 0 }
            return state.free
        }
    }

    func give(_ count: Int) {
        state.withLock { $0.free += count }
    }

    func begin(_ claims: [ClaimedDelivery]) {
        state.withLock { state in
            for claim in claims { state.running[claim.endpoint, default: 0] += 1 }
        }
    }

    func end(_ claim: ClaimedDelivery) {
        state.withLock { state in
            let rest = state.running[claim.endpoint, default: 1] - 1
            state.running[claim.endpoint] = rest == 0 ? nil : rest
            state.free += 1
        }
    }
}

/// Whose event was told last at each endpoint of the operator: the next is of the tenant after it, in the order of
/// their ids, and after the last one of the first.
final class EventTurns: Sendable {
    private let present = Mutex<[WebhookEndpointID: TenantID]>([:])

    var toldLast: [WebhookEndpointID: TenantID] { present.withLock { $0 } }

    /// - Parameter claims: in the order of their turns.
    func tell(_ claims: [ClaimedDelivery]) {
        present.withLock { present in
            for claim in claims where claim.endpoint.tenant == .operatorWide {
                present[claim.endpoint] = claim.eventTenant
            }
        }
    }
}
