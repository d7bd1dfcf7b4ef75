import BillingCore
import DequeModule

/// Calls that wait for their turn: those of a tenant in the order in which they came, and tenants in turn, so that one
/// that asks for very much keeps the others neither waiting nor out.
struct FairQueue<Call> {
    /// How many wait at most, and how many of one tenant.
    static var capacity: Int { 10_000 }
    static var share: Int { capacity / 4 }
    /// How many of a tenant are taken before the next tenant's.
    private static var turn: Int { 16 }

    private var calls: [TenantID: Deque<Call>] = [:]
    /// Those who wait, each once.
    private var turns: Deque<TenantID> = []
    private var count = 0

    var isEmpty: Bool { count == 0 }

    /// - Returns: false where there is no room for it.
    mutating func append(_ call: Call, of tenant: TenantID) -> Bool {
        guard count < Self.capacity else { return false }
        let waiting = calls[tenant]?.count ?? 0
        guard waiting < Self.share else { return false }
        if waiting == 0 { turns.append(tenant) }
        calls[tenant, default: []].append(call)
        count += 1
        return true
    }

    /// Takes as many as there are, up to a limit.
    mutating func take(_ limit: Int) -> [Call] {
        var taken: [Call] = []
        taken.reserveCapacity(min(limit, count))
        while taken.count < limit, let tenant = turns.popFirst(), var own = calls.removeValue(forKey: tenant) {
            let number = min(Self.turn, limit - taken.count, own.count)
            taken += own.prefix(number)
            own.removeFirst(number)
            guard !own.isEmpty else { continue }
            calls[tenant] = own
            turns.append(tenant)
        }
        count -= taken.count
        return taken
    }
}
