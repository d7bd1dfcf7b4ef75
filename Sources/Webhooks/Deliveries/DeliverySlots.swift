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

/// How far this process has come: whose event was told last at each endpoint of the operator (the next is of the tenant
/// after it, in the order of their ids, and after the last one of the first), and which endpoint was looked at last.
final class ClaimTurns: Sendable {
    private struct State {
        var toldLast: [WebhookEndpointID: TenantID] = [:]
        var lookedUntil: WebhookEndpointID?
    }

    private let present = Mutex(State())

    var toldLast: [WebhookEndpointID: TenantID] { present.withLock { $0.toldLast } }

    /// Nil where the first endpoint comes next.
    var lookedUntil: WebhookEndpointID? { present.withLock { $0.lookedUntil } }

    /// How many claims have to reach the last endpoint until all were looked at.
    var passes: Int { lookedUntil == nil ? 1 : 2 }

    func note(_ claims: DeliveryQueue.Claims) {
        present.withLock { present in
            present.lookedUntil = claims.lookedUntil
            for claim in claims.deliveries where claim.endpoint.tenant == .operatorWide {
                present.toldLast[claim.endpoint] = claim.eventTenant
            }
        }
    }
}
